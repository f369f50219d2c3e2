"""The small pictures of a report, each no larger than its share of the page."""

from __future__ import annotations

import io
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from datumaro_clip.curate.item import Item
from datumaro_clip.curate.near.threads import workers
from datumaro_clip.embedding import ImageRequest
from datumaro_clip.errors import ImageError
from datumaro_clip.images import decode
from datumaro_clip.report.plan import Subject
from datumaro_clip.vectors import ItemKey

Corners = tuple[float, float, float, float]

#: The longest side of a small picture, in pixels.
LARGEST_SIDE = 384
_SMALLEST_SIDE = 16
_QUALITY = 70
# What a photo takes in WebP of that quality; where one takes more, it is made smaller.
_BYTES_PER_PIXEL = 0.16


def thumbnails_of(
    items: Iterable[Item], wanted: Mapping[Subject, int]
) -> tuple[dict[Subject, bytes], dict[Subject, str]]:
    """Small WebP pictures of what is wanted, an object's box drawn on its picture, a place enlarged.

    Parameters
    ----------
    items : iterable of Item
    wanted : mapping
        The bytes that a picture may have, by what it is of.

    Returns
    -------
    pictures : dict
        By what they are of.
    failures : dict
        Why there is none, in a sentence.
    """
    parts: dict[tuple[ItemKey, int], list[Subject]] = defaultdict(list)
    for subject in wanted:
        parts[subject.key, subject.occurrence].append(subject)
    asked: dict[Item, list[Subject]] = {}
    seen: Counter[ItemKey] = Counter()
    for item in items:
        if subjects := parts.get((item.key, seen[item.key])):
            asked[item] = subjects
        seen[item.key] += 1

    def look(task: tuple[Item, ImageRequest]) -> dict[Subject, bytes] | str:
        item, request = task
        try:
            return dict(_small_pictures(item, request, {subject: wanted[subject] for subject in asked[item]}))
        except ImageError as exc:
            return str(exc)

    pictures: dict[Subject, bytes] = {}
    failures: dict[Subject, str] = {}
    with workers() as pool:
        # A picture is asked for when its turn comes: a video is read in order by one reader.
        for item, made in zip(asked, pool.map(look, ((item, item.request()) for item in asked)), strict=True):
            if isinstance(made, str):
                failures |= dict.fromkeys(asked[item], made)
            else:
                pictures |= made
    return pictures, failures


def _small_pictures(
    item: Item, request: ImageRequest, wanted: Mapping[Subject, int]
) -> Iterator[tuple[Subject, bytes]]:
    boxes = {box.annotation: box.bbox for box in item.boxes}
    # Where a box is drawn or a place is cut out, the picture's own size has to be known.
    exact = any(isinstance(subject.part, tuple) or subject.part in boxes for subject in wanted)
    picture = decode(request.fetch(), target=None if exact else LARGEST_SIDE)
    for subject, limit in wanted.items():
        if isinstance(subject.part, tuple):
            yield subject, _enlarged(picture, subject.part, limit)
        else:
            drawn = [boxes[subject.part]] if subject.part is not None and subject.part in boxes else []
            yield subject, small_picture(picture, drawn, limit)


def small_picture(picture: Image.Image, boxes: Iterable[Corners] = (), limit: int = 24_000) -> bytes:
    """A picture as a small one in WebP, with boxes (x1, y1, x2, y2) in pixels of the picture drawn on it.

    Of a picture with one small box, its surroundings are shown.

    Parameters
    ----------
    picture : PIL.Image.Image
    boxes : iterable of tuple
        Those that are not finite are left out.
    limit : int
        Bytes that it may have.
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


def _enlarged(picture: Image.Image, place: tuple[int, int, int, int], limit: int) -> bytes:
    """A place (x, y, w, h) of a picture, its pixels as squares."""
    x, y, w, h = place
    part = picture.convert("RGB").crop((x, y, x + w, y + h))

    def draw(side: int) -> Image.Image:
        scale = side / max(part.size)
        size = max(1, round(part.width * scale)), max(1, round(part.height * scale))
        return part.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX)

    return _within(limit, draw)


def _within(limit: int, draw: Callable[[int], Image.Image]) -> bytes:
    """What is drawn at the largest side at which it has no more bytes than it may have."""
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
        # White beside black is seen on every picture.
        for reach, colour in ((2, "black"), (1, "white"), (0, "white")):
            draw.rectangle((x1 - reach, y1 - reach, max(x2, x1) + reach, max(y2, y1) + reach), outline=colour)


def _shown(size: tuple[int, int], boxes: Sequence[Corners]) -> tuple[int, int, int, int]:
    """The part of a picture to show: all of it, or a square of four times the side of its one small box."""
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
