"""Pictures that differ in one small place, drawn: what people keep in datasets of documents, inspection and cameras.

Each family draws a picture from a seed, and the same picture with one thing changed. ``EDITS`` are single small changes
for pictures of any size. Seeds below ``HELD_OUT`` are for setting limits; figures are taken on those from there on.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

#: The first seed that no limit was set on.
HELD_OUT = 1000

Box = tuple[int, int, int, int]
Colour = tuple[int, int, int]
INK: Colour = (25, 25, 35)
SYLLABLES = [
    "ka",
    "lo",
    "mi",
    "ter",
    "van",
    "sol",
    "ber",
    "ni",
    "dra",
    "fe",
    "gu",
    "hol",
    "pin",
    "ros",
    "ta",
    "wen",
    "zu",
    "eck",
    "mar",
    "lin",
]


@dataclass(frozen=True)
class LookAlikes:
    """Two pictures that are no copies of one another, and the box (left, top, right, bottom) in which they differ."""

    original: Image.Image
    edited: Image.Image
    box: Box


@dataclass(frozen=True)
class Way:
    """A way in which a picture is stored: ``scale`` times its size, as a JPEG of some quality."""

    name: str
    quality: int
    scale: float = 1.0

    def store(self, picture: Image.Image) -> bytes:
        """The picture's bytes."""
        if self.scale != 1:
            size = round(picture.width * self.scale), round(picture.height * self.scale)
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        return jpeg(picture, self.quality)


WAYS = (Way("quality 95", 95), Way("quality 75", 75), Way("quality 50", 50), Way("halved, quality 75", 75, 0.5))


def jpeg(picture: Image.Image, quality: int) -> bytes:
    """A picture as a JPEG with Pillow's default chroma sampling (4:2:0)."""
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


@lru_cache(maxsize=64)
def font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own typeface: the same on every machine."""
    return ImageFont.load_default(size)  # type: ignore[return-value]


def word(rng: Random) -> str:
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 3)))


def words(rng: Random, count: int) -> str:
    return " ".join(word(rng) for _ in range(count))


def digits(rng: Random, count: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(count))


def other_character(text: str, rng: Random) -> str:
    """The text with one digit, or else one letter, exchanged for another."""
    kind = "0123456789" if any(each.isdigit() for each in text) else "abcdefghijklmnopqrstuvwxyz"
    place = rng.choice([at for at, each in enumerate(text) if each in kind])
    return text[:place] + rng.choice([each for each in kind if each != text[place]]) + text[place + 1 :]


def sensor(picture: Image.Image, seed: int, noise: float) -> Image.Image:
    """The picture as a camera sees it: a little soft, with noise of its own."""
    soft = np.asarray(picture.filter(ImageFilter.GaussianBlur(0.6)), np.float32)
    grain = np.random.default_rng(seed).normal(0, noise, soft.shape).astype(np.float32)
    return Image.fromarray(np.clip(soft + grain + 0.5, 0, 255).astype(np.uint8))


def shade(rng: Random, size: tuple[int, int], low: int = 60, high: int = 200) -> Image.Image:
    """A soft gradient between four colours."""
    corners = np.array([[[rng.randint(low, high) for _ in range(3)] for _ in range(2)] for _ in range(2)], np.uint8)
    return Image.fromarray(corners).resize(size, Image.Resampling.BICUBIC)


def form(seed: int, changed: bool) -> Image.Image:
    """A form filled in by typewriter: printed labels, rules, and in each field a name, a date or a number."""
    printed, filled = Random(seed // 4), Random(seed)
    picture = Image.new("RGB", (1240, 1754), "white")
    pen = ImageDraw.Draw(picture)
    pen.text((90, 70), words(printed, 3).upper(), INK, font(40))
    edit = filled.randrange(24)
    for row in range(24):
        y = 180 + 62 * row
        pen.text((90, y), words(printed, 2).capitalize(), (90, 90, 90), font(16))
        pen.line((420, y + 28, 1150, y + 28), (150, 150, 150), 1)
        text = words(filled, 3) if row % 3 else f"{digits(filled, 2)}.{digits(filled, 2)}.19{digits(filled, 2)}"
        if changed and row == edit:
            text = other_character(text, Random(seed + 1))
        pen.text((430, y + 2), text, INK, font(22))
    return picture


def table(seed: int, changed: bool) -> Image.Image:
    """A table of figures in small type."""
    rng = Random(seed)
    picture = Image.new("RGB", (1200, 900), "white")
    pen = ImageDraw.Draw(picture)
    edit = rng.randrange(30), rng.randrange(8)
    for row in range(30):
        y = 30 + 28 * row
        if row % 2:
            pen.rectangle((20, y - 6, 1180, y + 21), (240, 243, 248))
        pen.text((30, y), words(rng, 2), INK, font(15))
        for column in range(8):
            text = f"{digits(rng, rng.randint(1, 4))}.{digits(rng, 2)}"
            if changed and (row, column) == edit:
                text = other_character(text, Random(seed + 1))
            pen.text((380 + 105 * column, y), text, INK, font(15), anchor="ra")
    return picture


def board(seed: int, changed: bool) -> Image.Image:
    """A circuit board under an inspection camera; a part is missing from the changed one."""
    rng = Random(seed)
    green = rng.randint(70, 110)
    picture = Image.new("RGB", (1000, 1000), (20, green, 50))
    pen = ImageDraw.Draw(picture)
    for _ in range(120):
        x, y, length = rng.randrange(1000), rng.randrange(1000), rng.randint(30, 250)
        end = (x + length, y) if rng.random() < 0.5 else (x, y + length)
        pen.line((x, y, *end), (40, green + 35, 75), rng.randint(2, 5))
    parts = [
        (60 * column + rng.randint(5, 15), 60 * row + rng.randint(5, 15)) for row in range(16) for column in range(16)
    ]
    missing = rng.randrange(len(parts))
    for number, (x, y) in enumerate(parts):
        w, h = rng.choice([(10, 18), (18, 10), (14, 26), (34, 14), (30, 30), (12, 12)])
        body = rng.choice([(30, 30, 32), (190, 180, 160), (120, 80, 50), (60, 60, 70)])
        if changed and number == missing:
            continue
        pen.rectangle((x, y, x + w, y + h), body)
        pen.rectangle((x, y, x + max(2, w // 5), y + h), (200, 200, 205))
        pen.rectangle((x + w - max(2, w // 5), y, x + w, y + h), (200, 200, 205))
    return sensor(picture, 2 * seed + changed, 2.0)


def meter(seed: int, changed: bool) -> Image.Image:
    """A counter of rolling digits, or a clock; another digit, or a hand that has moved by two minutes or more."""
    rng = Random(seed)
    picture = shade(rng, (640, 480))
    pen = ImageDraw.Draw(picture)
    if seed % 2:
        number = digits(rng, 6)
        if changed:
            number = other_character(number, Random(seed + 1))
        pen.rounded_rectangle((120, 180, 520, 260), 12, (35, 35, 38))
        for place, digit in enumerate(number):
            x = 136 + 62 * place
            pen.rectangle((x, 192, x + 52, 248), (15, 15, 15) if place < 5 else (140, 30, 30))
            pen.text((x + 26, 220), digit, (235, 235, 225), font(44), anchor="mm")
        pen.text((320, 300), f"No. {digits(rng, 8)}", INK, font(20), anchor="mm")
    else:
        minute = rng.randrange(720)
        shift = Random(seed + 1).randint(2, 20) * changed
        pen.ellipse((120, 40, 520, 440), (245, 245, 240), INK, 6)
        for tick in range(60):
            angle, inner = tick * math.pi / 30, 170 if tick % 5 == 0 else 182
            sine, cosine = math.sin(angle), math.cos(angle)
            pen.line((320 + inner * sine, 240 - inner * cosine, 320 + 192 * sine, 240 - 192 * cosine), INK, 3)
        for length, width, turns in ((95, 9, (minute + shift) / 720), (150, 5, (minute + shift) / 60)):
            sine, cosine = math.sin(2 * math.pi * turns), math.cos(2 * math.pi * turns)
            pen.line((320, 240, 320 + length * sine, 240 - length * cosine), INK, width)
    return sensor(picture, 2 * seed + changed, 2.0)


def scene(seed: int, changed: bool) -> Image.Image:
    """A street that a camera watches; one of the figures in it has walked a few steps, or has gone."""
    rng = Random(seed)
    picture = shade(rng, (1280, 720), 120, 230)
    pen = ImageDraw.Draw(picture)
    for _ in range(14):
        x, w, top = rng.randrange(1280), rng.randint(60, 200), rng.randint(80, 380)
        wall = tuple(rng.randint(70, 190) for _ in range(3))
        pen.rectangle((x, top, x + w, 430), wall)
        for wx in range(x + 8, x + w - 14, 24):
            for wy in range(top + 10, 410, 34):
                pen.rectangle((wx, wy, wx + 10, wy + 16), tuple(each // 2 for each in wall))
    pen.rectangle((0, 430, 1280, 720), (105, 105, 108))
    for x in range(0, 1280, 90):
        pen.rectangle((x, 560, x + 45, 566), (200, 200, 195))
    mover = rng.randrange(5)
    for number in range(5):
        x, y = rng.randrange(40, 1240), rng.randrange(440, 680)
        coat, gone = tuple(rng.randint(10, 90) for _ in range(3)), rng.random() < 0.3
        if changed and number == mover:
            x += Random(seed + 1).choice([-1, 1]) * Random(seed + 2).randint(12, 60)
            if gone:
                continue
        pen.rectangle((x - 6, y - 20, x + 5, y + 9), coat)
        pen.ellipse((x - 4, y - 28, x + 3, y - 20), (215, 175, 150))
    return sensor(picture, 2 * seed + changed, 2.5)


def plot(seed: int, changed: bool) -> Image.Image:
    """Three curves with markers; one point of one of them has another value."""
    rng = Random(seed)
    picture = Image.new("RGB", (1000, 700), "white")
    pen = ImageDraw.Draw(picture)
    for tick in range(11):
        pen.line((80, 60 + 56 * tick, 960, 60 + 56 * tick), (225, 225, 225), 1)
        pen.text((70, 60 + 56 * tick), str(100 - 10 * tick), INK, font(15), anchor="rm")
        pen.text((80 + 88 * tick, 630), str(tick * 2), INK, font(15), anchor="ma")
    pen.text((520, 20), words(rng, 4), INK, font(22), anchor="ma")
    edit = rng.randrange(3), rng.randrange(1, 22)
    for curve, colour in enumerate([(31, 119, 180), (255, 127, 14), (44, 160, 44)]):
        level, points = rng.uniform(200, 500), []
        for place in range(23):
            level = min(max(level + rng.uniform(-45, 45), 80), 600)
            shift = rng.choice([-1, 1]) * rng.randint(12, 30)
            points.append((80 + 40 * place, level + shift * (changed and (curve, place) == edit)))
        pen.line(points, colour, 2)
        for x, y in points:
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), colour)
    return picture


def screenshot(seed: int, changed: bool) -> Image.Image:
    """A window with a menu, a list and a panel: one word, one digit or one switch is another."""
    rng = Random(seed)
    picture = Image.new("RGB", (1280, 800), (238, 240, 243))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 0, 1280, 34), (48, 52, 60))
    for place in range(6):
        pen.text((20 + 110 * place, 9), word(rng).capitalize(), (230, 230, 235), font(14))
    pen.rectangle((0, 34, 260, 800), (226, 229, 234))
    edit = rng.randrange(48)
    for row in range(24):
        y = 50 + 30 * row
        pen.rounded_rectangle((14, y, 30, y + 16), 3, tuple(rng.randint(60, 200) for _ in range(3)))
        label, value, on = words(rng, 2), f"{digits(rng, 3)} kB", rng.random() < 0.5
        if changed and edit == row:
            value = other_character(value, Random(seed + 1))
        elif changed and edit == row + 24:
            on = not on
        pen.text((40, y), label, INK, font(14))
        pen.text((300, y), words(rng, 7), INK, font(14))
        pen.text((1050, y), value, (80, 85, 95), font(14), anchor="ra")
        pen.rounded_rectangle((1120, y, 1152, y + 16), 8, (52, 120, 246) if on else (185, 188, 195))
        knob = 1138 if on else 1122
        pen.ellipse((knob, y + 2, knob + 12, y + 14), "white")
    return picture


def music(seed: int, changed: bool) -> Image.Image:
    """A sheet of music; one note stands on another line."""
    rng = Random(seed)
    picture = Image.new("RGB", (1000, 1400), "white")
    pen = ImageDraw.Draw(picture)
    pen.text((500, 40), words(rng, 3).title(), INK, font(36), anchor="ma")
    edit = rng.randrange(9), rng.randrange(20)
    for system in range(9):
        top = 140 + 136 * system
        for line in range(5):
            pen.line((60, top + 12 * line, 940, top + 12 * line), INK, 1)
        for bar in range(0, 5):
            pen.line((60 + 220 * bar, top, 60 + 220 * bar, top + 48), INK, 2)
        for note in range(20):
            x, height = 80 + 43 * note, rng.randrange(9)
            if changed and (system, note) == edit:
                height = (height + Random(seed + 1).choice([1, 2, 3])) % 9
            y = top + 6 * height
            pen.ellipse((x - 7, y - 5, x + 7, y + 5), INK if rng.random() < 0.7 else "white", INK, 2)
            stem = (x + 6, y - 36, x + 6, y) if height >= 4 else (x - 6, y, x - 6, y + 36)
            pen.line(stem, INK, 2)
    return picture


def street_map(seed: int, changed: bool) -> Image.Image:
    """A town map; one street has another name."""
    rng = Random(seed)
    picture = Image.new("RGB", (1000, 1000), (242, 239, 233))
    pen = ImageDraw.Draw(picture)
    for _ in range(8):
        x, y, w, h = rng.randrange(900), rng.randrange(900), rng.randint(60, 240), rng.randint(60, 240)
        pen.rectangle((x, y, x + w, y + h), rng.choice([(200, 225, 190), (175, 210, 235), (225, 215, 205)]))
    streets = [(40 + 80 * number + rng.randint(-15, 15), rng.randint(6, 16)) for number in range(12)]
    for at, width in streets:
        slant = rng.randint(-40, 40)
        pen.line((0, at, 1000, at + slant), (255, 255, 255), width)
        pen.line((at, 0, at + slant, 1000), (250, 220, 150) if width > 13 else (255, 255, 255), width)
    edit = rng.randrange(30)
    for number in range(30):
        x, y, name = rng.randrange(20, 850), rng.randrange(20, 970), word(rng) + word(rng)
        if changed and number == edit:
            name = word(Random(seed + 1)) + word(Random(seed + 2)) + "a"
        pen.text((x, y), name.capitalize(), (70, 70, 75), font(14), stroke_width=2, stroke_fill=(255, 255, 255))
    return picture


FAMILIES: dict[str, Callable[[int, bool], Image.Image]] = {
    "forms": form,
    "tables": table,
    "boards": board,
    "meters": meter,
    "scenes": scene,
    "plots": plot,
    "screenshots": screenshot,
    "music": music,
    "maps": street_map,
}


def pairs(family: str, count: int, first: int) -> Iterator[LookAlikes]:
    """``count`` pairs of a family, from a seed on; seeds whose change does not show are passed over.

    A change that is hidden (a missing part under another one) leaves fewer than 12 pixels that differ by 24 grey
    levels, more than any noise of the camera; the box bounds those.
    """
    seed = first
    while count:
        draw = FAMILIES[family]
        original, edited = draw(seed, False), draw(seed, True)
        box = box_of(original, edited)
        seed += 1
        if box is not None:
            count -= 1
            yield LookAlikes(original, edited, box)


def box_of(one: Image.Image, other: Image.Image) -> Box | None:
    """The bounds of what differs by 24 grey levels and more; None where that is fewer than 12 pixels."""
    apart = np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max(axis=2) >= 24
    if apart.sum() < 12:
        return None
    y, x = np.nonzero(apart)
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


# What is put on a picture, at some place of it, with some contrast to what is there.
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
