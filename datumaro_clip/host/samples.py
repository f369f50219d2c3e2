"""Samples of a dataset that a model is calibrated and judged on."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from typing import Any

from datumaro.components.annotation import AnnotationType
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.errors import ImageError, OptionError
from datumaro_clip.host.images import has_picture, image_request
from datumaro_clip.host.options import EmbeddingOptions
from datumaro_clip.host.sources import open_dataset
from datumaro_clip.host.texts import item_texts
from datumaro_clip.images import ImageLike, decode
from datumaro_clip.model.making.certificate import Sample

log = logging.getLogger(__name__)

_CAPTIONS = EmbeddingOptions(texts="captions")


def image_text_samples(spec: str, limit: int, seed: int = 0) -> list[Sample]:
    """Pictures of a dataset with their captions and labels, in an order that the seed decides.

    Parameters
    ----------
    spec : str
        ``DATASET`` or ``DATASET:FORMAT``, as ``datum`` takes it.
    limit : int
        Most samples. Pictures that cannot be decoded are passed over, and counted in the log.
    seed : int
        The same seed gives the same samples.

    Raises
    ------
    OptionError
        If the dataset cannot be read, or has no picture that can be decoded.
    """
    dataset = open_dataset(spec)
    items = [item for item in dataset if has_picture(item)]
    random.Random(seed).shuffle(items)
    samples = list(_readable(items, dataset.categories(), limit))
    if not samples:
        raise OptionError(f"{spec} has no picture that can be decoded")
    return samples


def _readable(items: list[DatasetItem], categories: Any, limit: int) -> Iterator[Sample]:
    """Samples of the first items whose picture can be decoded."""
    found = failed = 0
    for item in items:
        if found == limit:
            break
        try:
            yield _sample(item, categories)
            found += 1
        except ImageError as exc:
            failed += 1
            log.debug("passed over %s@%s: %s", item.id, item.subset, exc)
    if failed:
        log.warning("%d pictures that cannot be decoded were passed over", failed)


def _sample(item: DatasetItem, categories: Any) -> Sample:
    """One item; raises ImageError if its picture cannot be decoded."""
    request = image_request(item)
    picture: ImageLike = request.image() if callable(request.image) else request.image
    decode(picture)
    captions = tuple(text.text for text in item_texts(item, categories, _CAPTIONS))
    return Sample(picture, captions, _label(item, categories))


def _label(item: DatasetItem, categories: Any) -> str | None:
    """The name of the item's class, where its annotations name exactly one."""
    names = categories.get(AnnotationType.label)
    found = (getattr(annotation, "label", None) for annotation in item.annotations)
    indices = {int(label) for label in found if label is not None}
    if names is None or len(indices) != 1:
        return None
    (index,) = indices
    return str(names.items[index].name) if 0 <= index < len(names.items) else None
