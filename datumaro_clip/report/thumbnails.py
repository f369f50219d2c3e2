"""The small pictures of a report."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from datumaro_clip.curate.decisions import Place
from datumaro_clip.curate.item import Item
from datumaro_clip.errors import ImageError
from datumaro_clip.images import decode
from datumaro_clip.report.plan import Subject
from datumaro_clip.vectors import ItemKey

# Twice what a high-resolution display shows of a thumbnail.
_SIDE = 240


def thumbnails_of(items: Iterable[Item], wanted: Collection[Subject]) -> dict[Subject, bytes]:
    """Small JPEGs of what is wanted, an object's box drawn on its picture, a place enlarged.

    What cannot be decoded is left out.
    """
    annotations: dict[ItemKey, list[int | Place | None]] = defaultdict(list)
    for key, annotation in wanted:
        annotations[key].append(annotation)
    found: dict[Subject, bytes] = {}
    for item in items:
        if not (shown := annotations.pop(item.key, [])):
            continue
        boxes = {box.annotation: box.bbox for box in item.boxes if box.annotation in shown}
        try:
            # Where a box is drawn or a place is cut out, the picture's own size has to be known.
            exact = bool(boxes) or any(isinstance(one, tuple) for one in shown)
            picture = decode(item.request().fetch(), target=None if exact else _SIDE)
        except ImageError:  # the report shows a frame with the reason instead
            continue
        for annotation in shown:
            if isinstance(annotation, tuple):
                found[item.key, annotation] = _enlarged(picture, annotation)
                continue
            drawn = [boxes[annotation]] if annotation is not None and annotation in boxes else []
            found[item.key, annotation] = small_jpeg(picture, drawn)
    return found


def small_jpeg(picture: Image.Image, boxes: Iterable[tuple[float, float, float, float]] = ()) -> bytes:
    """A picture as a small JPEG, with boxes (x1, y1, x2, y2) in pixels of the picture drawn on it.

    Of a picture with one small box, its surroundings are shown.
    """
    boxes = [box for box in boxes if np.isfinite(box).all()]
    left, top, right, bottom = _shown(picture.size, boxes)
    small = picture.convert("RGB").crop((left, top, right, bottom))
    small.thumbnail((_SIDE, _SIDE))
    scale = np.array([small.width / (right - left), small.height / (bottom - top)] * 2)
    draw = ImageDraw.Draw(small)
    for box in boxes:
        x1, y1, x2, y2 = ((np.asarray(box) - (left, top, left, top)) * scale).tolist()
        # White beside black is seen on every picture.
        for reach, colour in ((2, "black"), (1, "white"), (0, "white")):
            draw.rectangle((x1 - reach, y1 - reach, max(x2, x1) + reach, max(y2, y1) + reach), outline=colour)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=72)
    return out.getvalue()


def _enlarged(picture: Image.Image, place: Place) -> bytes:
    """A place (x, y, w, h) of a picture, its pixels as squares."""
    x, y, w, h = place
    part = picture.convert("RGB").crop((x, y, x + w, y + h))
    scale = _SIDE / max(part.size)
    size = max(1, round(part.width * scale)), max(1, round(part.height * scale))
    out = io.BytesIO()
    part.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX).save(out, "JPEG", quality=90)
    return out.getvalue()


def _shown(size: tuple[int, int], boxes: Sequence[tuple[float, float, float, float]]) -> tuple[int, int, int, int]:
    """The part of a picture to show: all of it, or a square of four times the side of its one small box."""
    whole = (0, 0, *size)
    if len(boxes) != 1:
        return whole
    x1, y1, x2, y2 = boxes[0]
    side = max(4 * max(x2 - x1, y2 - y1), _SIDE / 2)
    if side >= max(size):
        return whole
    left, top = (
        min(max(round(middle - side / 2), 0), max(round(length - side), 0))
        for middle, length in (((x1 + x2) / 2, size[0]), ((y1 + y2) / 2, size[1]))
    )
    return left, top, min(left + round(side), size[0]), min(top + round(side), size[1])
