"""The small pictures of a report."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable

from PIL import Image

from datumaro_clip.curate.item import Item
from datumaro_clip.errors import ImageError
from datumaro_clip.images import decode
from datumaro_clip.vectors import ItemKey

# Twice what a high-resolution display shows of a thumbnail.
_SIDE = 240


def thumbnails_of(items: Iterable[Item], wanted: Collection[ItemKey]) -> dict[ItemKey, bytes]:
    """Small JPEGs of the wanted items, by key; those that cannot be decoded are left out."""
    found: dict[ItemKey, bytes] = {}
    for item in items:
        if item.key in wanted and item.key not in found:
            try:
                found[item.key] = _small_jpeg(decode(item.request().fetch(), target=_SIDE))
            except ImageError:  # the report shows a frame with the reason instead
                continue
    return found


def _small_jpeg(picture: Image.Image) -> bytes:
    small = picture.copy()
    small.thumbnail((_SIDE, _SIDE))
    out = io.BytesIO()
    small.convert("RGB").save(out, "JPEG", quality=72)
    return out.getvalue()
