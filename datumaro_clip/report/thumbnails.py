"""The small pictures of a report."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Collection, Iterable

import numpy as np
from PIL import Image, ImageDraw

from datumaro_clip.curate.item import Item
from datumaro_clip.errors import ImageError
from datumaro_clip.images import decode
from datumaro_clip.report.plan import Subject
from datumaro_clip.vectors import ItemKey

# Twice what a high-resolution display shows of a thumbnail.
_SIDE = 240


def thumbnails_of(items: Iterable[Item], wanted: Collection[Subject]) -> dict[Subject, bytes]:
    """Small JPEGs of what is wanted, an object's box drawn on its picture; what cannot be decoded is left out."""
    annotations: dict[ItemKey, list[int | None]] = defaultdict(list)
    for key, annotation in wanted:
        annotations[key].append(annotation)
    found: dict[Subject, bytes] = {}
    for item in items:
        if not (shown := annotations.pop(item.key, [])):
            continue
        boxes = {box.annotation: box.bbox for box in item.boxes if box.annotation in shown}
        try:
            # Where a box is drawn, the picture's own size has to be known.
            picture = decode(item.request().fetch(), target=None if boxes else _SIDE)
        except ImageError:  # the report shows a frame with the reason instead
            continue
        for annotation in shown:
            drawn = [boxes[annotation]] if annotation is not None and annotation in boxes else []
            found[item.key, annotation] = small_jpeg(picture, drawn)
    return found


def small_jpeg(picture: Image.Image, boxes: Iterable[tuple[float, float, float, float]] = ()) -> bytes:
    """A picture as a small JPEG, with boxes (x1, y1, x2, y2) in pixels of the picture drawn on it."""
    small = picture.convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    scale = np.array([small.width / picture.width, small.height / picture.height] * 2)
    draw = ImageDraw.Draw(small)
    for box in boxes:
        left, top, right, bottom = (np.asarray(box) * scale).tolist()
        # White beside black is seen on every picture.
        for reach, colour in ((2, "black"), (1, "white"), (0, "white")):
            draw.rectangle(
                (left - reach, top - reach, max(right, left) + reach, max(bottom, top) + reach), outline=colour
            )
    out = io.BytesIO()
    small.save(out, "JPEG", quality=72)
    return out.getvalue()
