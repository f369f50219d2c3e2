"""The texts of a Datumaro item: its captions, or its labels through a prompt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from datumaro.components.annotation import AnnotationType, Caption
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.host.options import EmbeddingOptions


class ItemText(NamedTuple):
    """A text of an item, and which of its annotations it comes from (index into ``item.annotations``)."""

    annotation_index: int
    text: str


def item_texts(item: DatasetItem, categories: Any, options: EmbeddingOptions) -> list[ItemText]:
    """The texts that the options ask for, in the order of the annotations; each label once.

    Parameters
    ----------
    item : DatasetItem
    categories : mapping
        The dataset's categories; labels are looked up there.
    options : EmbeddingOptions
        ``texts`` and ``prompt``.
    """
    if options.texts == "captions":
        return list(_captions(item))
    if options.texts == "labels":
        return list(_prompts(item, categories, options.prompt))
    return []


def _captions(item: DatasetItem) -> Iterator[ItemText]:
    for index, annotation in enumerate(item.annotations):
        if isinstance(annotation, Caption):
            yield ItemText(index, annotation.caption)


def _prompts(item: DatasetItem, categories: Any, prompt: str) -> Iterator[ItemText]:
    names = categories.get(AnnotationType.label)
    seen: set[int] = set()
    for index, annotation in enumerate(item.annotations):
        label = getattr(annotation, "label", None)
        if names is None or label is None or label in seen or not 0 <= label < len(names.items):
            continue
        seen.add(label)
        yield ItemText(index, prompt.replace("{}", names.items[label].name.replace("_", " ")))
