"""Drawn pictures that differ in one small place, as in datasets of documents, of inspection and of cameras.

Each family draws a picture from a seed, and the same picture with one thing changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.drawing import INK, Box, LookAlikes, digits, font, other_character, sensor, shade, word, words


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
