"""Single small changes, for photos of any size."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from PIL import Image, ImageDraw

from benchmarks.drawing import INK, Colour, LookAlikes, digits, font, other_character

# Draws something at a place of a picture, with contrast to what is there; the changed version if told.
Edit = Callable[[Image.Image, tuple[int, int], bool, Random], None]


def _character(height: int) -> Edit:
    """A letter of some height, on a card; the changed picture shows another."""

    def put(picture: Image.Image, at: tuple[int, int], changed: bool, rng: Random) -> None:
        shown, other = rng.sample("ABDEGHKLMNPRSTXZ2345678", 2)
        _card(picture, at, 2 * height)
        # Capitals are 0.72 of the type's size.
        ImageDraw.Draw(picture).text(at, other if changed else shown, INK, font(round(height / 0.72)), anchor="mm")

    return put


def _digit(picture: Image.Image, at: tuple[int, int], changed: bool, rng: Random) -> None:
    number = digits(rng, 5)
    _card(picture, at, 60)
    shown = other_character(number, rng) if changed else number
    ImageDraw.Draw(picture).text(at, shown, INK, font(20), anchor="mm")


def _figure(picture: Image.Image, at: tuple[int, int], changed: bool, rng: Random) -> None:
    x, y = at[0] + 20 * changed, at[1]
    pen, coat = ImageDraw.Draw(picture), _apart(picture, at, rng)
    pen.rectangle((x - 6, y - 6, x + 5, y + 15), coat)
    pen.ellipse((x - 4, y - 15, x + 3, y - 7), (215, 175, 150))


def _part(picture: Image.Image, at: tuple[int, int], changed: bool, rng: Random) -> None:
    if not changed:
        ImageDraw.Draw(picture).rectangle((at[0] - 5, at[1] - 5, at[0] + 4, at[1] + 4), _apart(picture, at, rng))


def _lamp(picture: Image.Image, at: tuple[int, int], changed: bool, rng: Random) -> None:
    """Red or green, about as light as one another."""
    colour = (60, 160, 60) if changed else (225, 60, 50)
    ImageDraw.Draw(picture).ellipse((at[0] - 6, at[1] - 6, at[0] + 6, at[1] + 6), colour, (40, 40, 40))


def _hand(picture: Image.Image, at: tuple[int, int], changed: bool, rng: Random) -> None:
    """The hand of a dial of 60 pixels, moved by five minutes."""
    angle = rng.uniform(0, 2 * math.pi) + changed * math.pi / 6
    pen = ImageDraw.Draw(picture)
    pen.ellipse((at[0] - 30, at[1] - 30, at[0] + 30, at[1] + 30), (245, 245, 240), INK, 2)
    pen.line((*at, at[0] + 25 * math.sin(angle), at[1] - 25 * math.cos(angle)), INK, 3)


def _watermark(picture: Image.Image, at: tuple[int, int], changed: bool, rng: Random) -> None:
    """Letters of 20 pixels, a quarter opaque."""
    if changed:
        layer = picture.copy()
        fill = "white" if sum(picture.getpixel(at)) < 384 else "black"  # type: ignore[arg-type]
        ImageDraw.Draw(layer).text(at, "PREVIEW", fill, font(28), anchor="mm")
        picture.paste(Image.blend(picture, layer, 0.25))


def _card(picture: Image.Image, at: tuple[int, int], side: int) -> None:
    half = side // 2 + 4
    ImageDraw.Draw(picture).rectangle((at[0] - half, at[1] - half, at[0] + half, at[1] + half), (245, 244, 240))


def _apart(picture: Image.Image, at: tuple[int, int], rng: Random) -> Colour:
    """A colour at least 60 grey levels away from what is at a place."""
    there = picture.getpixel(at)
    while True:
        found = (rng.randint(10, 245), rng.randint(10, 245), rng.randint(10, 245))
        if abs(sum(found) - sum(there)) >= 180:  # type: ignore[arg-type]
            return found


EDITS: dict[str, Edit] = {
    "another character, 12 pixels": _character(12),
    "another digit of five, 14 pixels": _digit,
    "a figure of 12×30 pixels has moved": _figure,
    "a part of 10 pixels is missing": _part,
    "a lamp of 12 pixels, green for red": _lamp,
    "a hand of 25 pixels has moved": _hand,
    "a watermark, a quarter opaque": _watermark,
}


def edited_photo(photo: Image.Image, edit: str, side: int, seed: int) -> LookAlikes:
    """A photo brought to a longest side, with an edit somewhere."""
    rng = Random(seed)
    scale = side / max(photo.size)
    size = round(photo.width * scale), round(photo.height * scale)
    ground = photo.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    at = rng.randrange(45, size[0] - 45), rng.randrange(45, size[1] - 45)
    versions = []
    for changed in (False, True):
        picture = ground.copy()
        EDITS[edit](picture, at, changed, Random(seed + 1))
        versions.append(picture)
    return LookAlikes(*versions, (at[0] - 45, at[1] - 45, at[0] + 45, at[1] + 45))
