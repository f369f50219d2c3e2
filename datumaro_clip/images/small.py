"""Makes small pictures for pages, in WebP of a limited size, with boxes drawn on them."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw

Corners = tuple[float, float, float, float]

#: The longest side of a small picture, in pixels.
LARGEST_SIDE = 384
_SMALLEST_SIDE = 16
_QUALITY = 70
# Of a photo in WebP of that quality; a picture that takes more is made smaller.
_BYTES_PER_PIXEL = 0.16


def small_picture(picture: Image.Image, boxes: Iterable[Corners] = (), limit: int = 24_000) -> bytes:
    """Make a small picture in WebP, with boxes (x1, y1, x2, y2), in pixels of the picture, drawn on it.

    If there is one box, and it is small, only its surroundings are shown.

    Parameters
    ----------
    picture : PIL.Image.Image
    boxes : iterable of tuple
        Those that are not finite are left out.
    limit : int
        Most bytes of the result.
    """
    boxes = [box for box in boxes if np.isfinite(box).all()]
    frame = _shown(picture.size, boxes)
    part = picture.convert("RGB").crop(frame)

    def draw(side: int) -> Image.Image:
        small = part.copy()
        small.thumbnail((side, side))
        _draw_boxes(small, boxes, frame)
        return small

    return _within(limit, draw)


def enlarged(picture: Image.Image, place: tuple[int, int, int, int], limit: int) -> bytes:
    """Enlarge a place (x, y, w, h) of a picture, with pixels as squares, in WebP of at most ``limit`` bytes."""
    x, y, w, h = place
    part = picture.convert("RGB").crop((x, y, x + w, y + h))

    def draw(side: int) -> Image.Image:
        scale = side / max(part.size)
        size = max(1, round(part.width * scale)), max(1, round(part.height * scale))
        return part.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX)

    return _within(limit, draw)


def _within(limit: int, draw: Callable[[int], Image.Image]) -> bytes:
    """Encode what is drawn at the largest side at which it has at most ``limit`` bytes."""
    side = min(LARGEST_SIDE, math.isqrt(round(limit / _BYTES_PER_PIXEL)))
    while True:
        out = io.BytesIO()
        draw(max(side, _SMALLEST_SIDE)).save(out, "WEBP", quality=_QUALITY, method=2)
        if out.tell() <= limit or side <= _SMALLEST_SIDE:
            return out.getvalue()
        side = int(side * min(math.sqrt(limit / out.tell()), 0.9))


def _draw_boxes(small: Image.Image, boxes: Iterable[Corners], frame: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = frame
    scale = np.array([small.width / (right - left), small.height / (bottom - top)] * 2)
    draw = ImageDraw.Draw(small)
    for box in boxes:
        x1, y1, x2, y2 = ((np.asarray(box) - (left, top, left, top)) * scale).tolist()
        # White beside black shows on every picture.
        for reach, colour in ((2, "black"), (1, "white"), (0, "white")):
            draw.rectangle((x1 - reach, y1 - reach, max(x2, x1) + reach, max(y2, y1) + reach), outline=colour)


def _shown(size: tuple[int, int], boxes: Sequence[Corners]) -> tuple[int, int, int, int]:
    """Return the part of a picture to show: all of it, or a square of four times the side of its only, small box."""
    whole = (0, 0, *size)
    if len(boxes) != 1:
        return whole
    x1, y1, x2, y2 = boxes[0]
    side = max(4 * max(x2 - x1, y2 - y1), LARGEST_SIDE / 2)
    if side >= max(size):
        return whole
    left, top = (
        min(max(round(middle - side / 2), 0), max(round(length - side), 0))
        for middle, length in (((x1 + x2) / 2, size[0]), ((y1 + y2) / 2, size[1]))
    )
    return left, top, min(left + round(side), size[0]), min(top + round(side), size[1])
