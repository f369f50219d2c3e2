"""The pictures of items, for the checks that look at pixels."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import TypeVar

import numpy as np
from datumaro.components.dataset_base import DatasetItem
from PIL import Image

from datumaro_clip.embedding import ImageRequest
from datumaro_clip.embedding.workers import Workers
from datumaro_clip.errors import ImageError
from datumaro_clip.host.apply import key_of
from datumaro_clip.host.images import fail, has_picture, image_request
from datumaro_clip.images import ImageLike, decode
from datumaro_clip.system.files import blake2b_bytes, blake2b_file
from datumaro_clip.system.processors import available_processors
from datumaro_clip.vectors import ItemKey

_Seen = TypeVar("_Seen")

# Twice what a high-resolution display shows of a report's thumbnail.
_REPORT_SIDE = 240


def picture_request(item: DatasetItem) -> ImageRequest:
    """Ask for an item's picture; for an item without one, the answer is an :class:`ImageError`."""
    if not has_picture(item):
        return ImageRequest(partial(fail, ImageError("no_image", f"item '{key_of(item)}' has no picture")))
    return image_request(item)


def seen_by(look: Callable[[DatasetItem, ImageRequest], _Seen], items: Iterable[DatasetItem]) -> Iterator[_Seen]:
    """What a function makes of each item and its picture, in the items' order.

    A thread for each processor calls it; pictures are asked for in the caller's, a few ahead, since a video is read in
    order by one reader.
    """
    threads = available_processors()
    workers: Workers[tuple[DatasetItem, ImageRequest], _Seen] = Workers(lambda task: look(*task), threads)
    try:
        with closing(workers.map(((item, picture_request(item)) for item in items), 2 * threads)) as seen:
            yield from seen
    finally:
        workers.stop()


def open_picture(item: DatasetItem, target: int | None = None) -> Image.Image:
    """An item's picture, upright RGB; ``target`` (shortest side wanted) lets large JPEGs be decoded smaller.

    Raises
    ------
    ImageError
        Whatever is wrong with it; the reason says which.
    """
    return decode(picture_request(item).fetch(), target=target)


def source_digest(source: ImageLike) -> bytes:
    """A digest of an encoded picture, 32 bytes, or of an array's shape and values."""
    if isinstance(source, str | os.PathLike):
        return blake2b_file(source)
    if isinstance(source, bytes):
        return blake2b_bytes(source)
    pixels = np.ascontiguousarray(np.asarray(source))
    return blake2b_bytes(str(pixels.shape).encode() + pixels.tobytes())


def thumbnails_of(items: Iterable[DatasetItem], wanted: Collection[ItemKey]) -> dict[ItemKey, bytes]:
    """Small JPEGs of the wanted items; those that cannot be decoded are left out."""
    found: dict[ItemKey, bytes] = {}
    for item in items:
        key = key_of(item)
        if key in wanted and key not in found:
            try:
                found[key] = _small_jpeg(open_picture(item, target=_REPORT_SIDE))
            except ImageError:  # the report shows a frame with the reason instead
                continue
    return found


def _small_jpeg(picture: Image.Image) -> bytes:
    small = picture.copy()
    small.thumbnail((_REPORT_SIDE, _REPORT_SIDE))
    out = io.BytesIO()
    small.convert("RGB").save(out, "JPEG", quality=72)
    return out.getvalue()
