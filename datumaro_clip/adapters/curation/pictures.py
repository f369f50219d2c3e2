"""The pictures of items, for the checks that look at pixels."""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Iterable

import numpy as np
from datumaro.components.dataset_base import DatasetItem
from PIL import Image

from datumaro_clip.adapters.curation.apply import key_of
from datumaro_clip.adapters.images import has_picture, image_request
from datumaro_clip.errors import ImageError
from datumaro_clip.files import blake2b_bytes, blake2b_file
from datumaro_clip.images import ImageLike, decode
from datumaro_clip.vectors import ItemKey

# Twice what a high-resolution display shows of a report's thumbnail.
_REPORT_SIDE = 240


def picture_source(item: DatasetItem) -> ImageLike:
    """A path, encoded bytes or an array, undecoded where possible.

    Raises
    ------
    ImageError
        If the item has no picture.
    """
    if not has_picture(item):
        raise ImageError("no_image", f"item '{key_of(item)}' has no picture")
    image = image_request(item).image
    return image() if callable(image) else image


def open_picture(item: DatasetItem, target: int | None = None) -> Image.Image:
    """An item's picture, upright RGB; ``target`` (shortest side wanted) lets large JPEGs be decoded smaller.

    Raises
    ------
    ImageError
        Whatever is wrong with it; the reason says which.
    """
    return decode(picture_source(item), target=target)


def file_digest(item: DatasetItem) -> bytes:
    """A digest of an item's encoded picture, or of its array's shape and values.

    Raises
    ------
    ImageError
        If the item has no picture.
    """
    source = picture_source(item)
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
