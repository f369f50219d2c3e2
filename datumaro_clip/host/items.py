"""Datumaro's items as the neutral ones that everything else works on; the only place where they are made."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from functools import partial
from typing import Any

from datumaro.components.annotation import AnnotationType, Caption, Label, LabelCategories
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image, RoIImage, VideoFrame

from datumaro_clip.curate.item import Item, ItemCaption, ItemLabel
from datumaro_clip.host.images import has_picture, image_request
from datumaro_clip.host.objects import class_of, objects_of
from datumaro_clip.vectors import ItemKey


def key_of(item: DatasetItem) -> ItemKey:
    """What identifies an item."""
    return ItemKey(str(item.id), str(item.subset))


def neutral(item: DatasetItem, classes: list[str]) -> Item:
    """An item of Datumaro's as a neutral one, which keeps it as its ``origin``; pictures stay unread.

    Parameters
    ----------
    item : DatasetItem
    classes : list of str
        The dataset's, as :func:`label_names` gives them.
    """
    labels, captions = [], []
    for index, note in enumerate(item.annotations):
        if isinstance(note, Caption):
            captions.append(ItemCaption(note.caption, index))
        name = class_of(note, classes)
        if name is not None:
            labels.append(ItemLabel(name, index, isinstance(note, Label)))
    return Item(
        key_of(item),
        partial(image_request, item) if has_picture(item) else None,
        tuple(labels),
        tuple(captions),
        tuple(objects_of(item, classes)),
        item.attributes,
        str(getattr(item.media, "path", "") or ""),
        len(item.annotations),
        _size_of(item.media),
        item,
    )


def _size_of(media: Any) -> tuple[int, int] | None:
    """The (width, height) that is known of a whole picture, which is not opened for it."""
    size = media._size if isinstance(media, Image) and not isinstance(media, RoIImage | VideoFrame) else None
    return None if size is None or min(size) < 1 else (int(size[1]), int(size[0]))


def label_names(categories: Any) -> list[str]:
    """Names of a dataset's label categories, in their order; of an empty dataset Datumaro may give None for them."""
    found = (categories or {}).get(AnnotationType.label)
    return [] if found is None else [category.name for category in found.items]


def with_labels(categories: Any, names: Iterable[str]) -> dict[Any, Any]:
    """The categories, with the labels at their end that they lacked; what they say of the others stays."""
    known = dict(categories or {})
    there = label_names(known)
    if missing := [name for name in dict.fromkeys(names) if name not in there]:
        known[AnnotationType.label] = labels = deepcopy(known.get(AnnotationType.label, LabelCategories()))
        for name in missing:
            labels.add(name)
    return known
