"""Samples of a dataset that a model is calibrated and judged on."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from itertools import islice

from datumaro_clip.curate.item import Item
from datumaro_clip.errors import ImageError, OptionError
from datumaro_clip.host.items import label_names, neutral
from datumaro_clip.host.sources import open_dataset
from datumaro_clip.images import decode
from datumaro_clip.model.making.certificate import Sample

log = logging.getLogger(__name__)


def image_text_samples(spec: str, limit: int) -> list[Sample]:
    """Pictures of a dataset with their captions and labels, in an order that is drawn, the same each time.

    Parameters
    ----------
    spec : str
        ``DATASET`` or ``DATASET:FORMAT``, as ``datum`` takes it.
    limit : int
        Most samples. Pictures that cannot be decoded are passed over, and counted in the log.

    Raises
    ------
    OptionError
        If the dataset cannot be read, or has no picture that can be decoded.
    """
    dataset = open_dataset(spec)
    classes = label_names(dataset.categories())
    items = [item for each in dataset if (item := neutral(each, classes)).picture is not None]
    random.Random(0).shuffle(items)
    samples = list(islice(_readable(items), limit))
    if not samples:
        raise OptionError(f"{spec} has no picture that can be decoded")
    return samples


def _readable(items: list[Item]) -> Iterator[Sample]:
    """Samples of the items whose picture can be decoded."""
    failed = 0
    try:
        for item in items:
            try:
                picture = item.request().fetch()
                decode(picture)
            except ImageError as exc:
                failed += 1
                log.debug("passed over %s: %s", item.key, exc)
                continue
            yield Sample(picture, tuple(caption.text for caption in item.captions), item.label)
    finally:
        if failed:
            log.warning("%d pictures that cannot be decoded were passed over", failed)
