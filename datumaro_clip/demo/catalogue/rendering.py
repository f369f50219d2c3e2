"""Renders a planned entry to the bytes of its picture file, with the defects of the picture."""

from __future__ import annotations

import io
import random
from typing import NamedTuple

from PIL import Image

from datumaro_clip.demo.catalogue.outliers import draw_outlier
from datumaro_clip.demo.catalogue.painting import Box, Painting, paint
from datumaro_clip.demo.catalogue.plan import Entry

ERROR_PAGE = b"<!DOCTYPE html>\n<title>404 Not Found</title>\n<p>The picture that you asked for is not here.</p>\n"


class Rendered(NamedTuple):
    """An entry's picture: the file's bytes (None if the file is to be missing), its size, and the box in it."""

    content: bytes | None
    size: tuple[int, int]
    box: Box


def render(entry: Entry) -> Rendered:
    """Draw ``entry``, with the defect of its role; a copy has the spec of its original, and is altered afterwards."""
    if entry.role == "exact_copy" and entry.of:
        return render(entry.of)
    rng = random.Random(entry.id)
    if entry.role == "outlier":
        painting = Painting(draw_outlier(entry.spec.seed, entry.size), (0, 0, *entry.size))
    else:
        painting = paint(entry.spec, entry.size)
    if entry.role in ALTERATIONS:
        painting = ALTERATIONS[entry.role](painting, rng)
    content = _encode(painting.image, entry, rng)
    if entry.role == "unreadable_file":
        # No decoder takes these for a whole picture.
        content = rng.choice((content[: len(content) * 2 // 5], ERROR_PAGE, b""))
    return Rendered(None if entry.role == "missing_file" else content, painting.image.size, painting.box)


def _encode(image: Image.Image, entry: Entry, rng: random.Random) -> bytes:
    """Encode a picture; a re-encoded copy becomes a coarser JPEG than any other picture."""
    file = io.BytesIO()
    if entry.suffix == ".png":
        image.save(file, "PNG", compress_level=3)
    else:
        coarse = entry.role == "reencoded_copy"
        image.save(file, "JPEG", quality=rng.randint(45, 65) if coarse else rng.randint(84, 94))
    return file.getvalue()


def _resized(painting: Painting, rng: random.Random) -> Painting:
    """Resize the picture to 55 to 80 % of its size."""
    share = rng.uniform(0.55, 0.8)
    size = (round(painting.image.width * share), round(painting.image.height * share))
    left, top, right, bottom = (round(edge * share) for edge in painting.box)
    return Painting(painting.image.resize(size, Image.Resampling.LANCZOS), (left, top, right, bottom))


def _cropped(painting: Painting, rng: random.Random) -> Painting:
    """Crop 2 to 6 % of the picture at each side."""
    width, height = painting.image.size
    x0, x1 = (round(width * rng.uniform(0.02, 0.06)) for _ in range(2))
    y0, y1 = (round(height * rng.uniform(0.02, 0.06)) for _ in range(2))
    frame = (x0, y0, width - x1, height - y1)
    left, top, right, bottom = painting.box
    box = (max(left, x0) - x0, max(top, y0) - y0, min(right, frame[2]) - x0, min(bottom, frame[3]) - y0)
    return Painting(painting.image.crop(frame), box)


def _brightened(painting: Painting, rng: random.Random) -> Painting:
    """Brighten the picture by 8 to 16 %."""
    gain = rng.uniform(1.08, 1.16)
    return painting._replace(image=painting.image.point(lambda level: min(255, level * gain)))


ALTERATIONS = {
    "resized_copy": _resized,
    "cropped_copy": _cropped,
    "brightened_copy": _brightened,
}
