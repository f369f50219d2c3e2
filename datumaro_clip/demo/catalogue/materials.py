"""Colours, materials and patterns of the things; colours are sRGB triples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

RGB = tuple[int, int, int]
Field = NDArray[np.floating[Any]]

PAINTS: dict[str, RGB] = {
    "red": (208, 38, 44),
    "orange": (245, 132, 24),
    "yellow": (250, 208, 40),
    "green": (46, 150, 70),
    "blue": (36, 92, 196),
    "purple": (122, 56, 160),
    "pink": (246, 140, 182),
    "brown": (120, 74, 42),
    "black": (38, 38, 42),
    "white": (246, 246, 244),
}
INK_ON_WHITE: RGB = (158, 164, 174)
INK: RGB = (252, 249, 240)
MATERIALS: dict[str, RGB] = {
    "metal": (172, 178, 186),
    "wood": (190, 148, 104),
    "wood_dark": (104, 78, 58),
    "dark": (52, 52, 58),
    "white": (250, 250, 248),
    "glow": (255, 238, 170),
    "stem": (104, 132, 84),
}


def paint_of(role: str, colour: str) -> RGB:
    """Return the flat colour of a part with ``role`` on a thing of ``colour``."""
    if role in MATERIALS:
        return MATERIALS[role]
    base = PAINTS[colour]
    if role == "deep":
        return mix(base, (30, 24, 34), 0.28)
    if role == "hollow":
        return mix(base, (20, 16, 24), 0.5)
    return mix(base, (255, 255, 255), 0.22) if role == "pale" else base


def ink_of(colour: str) -> RGB:
    """Return the colour of the pattern on a thing of ``colour``."""
    return INK_ON_WHITE if colour == "white" else INK


def mix(one: RGB, other: RGB, share: float) -> RGB:
    """Mix ``share`` (0 to 1) of ``other`` into ``one``."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _triangle(x: Field) -> Field:
    """Triangle wave of period 1, from 0 at whole numbers to 0.5 between them."""
    return np.abs(x - np.round(x))


def _edge(depth: Field, softness: float) -> Field:
    """Step from 0 to 1 where ``depth`` passes 0, softened over ``softness``."""
    inside: Field = np.clip(depth / softness + 0.5, 0, 1)
    return inside


def stripes(u: Field, v: Field, pixel: float) -> Field:
    """Upright bands, two fifths of them ink."""
    return _edge(0.2 - _triangle(u * 8), 8 * pixel)


def dots(u: Field, v: Field, pixel: float) -> Field:
    """Round dots in staggered rows."""
    x, y = u * 6.5, v * 7.5
    x = x + 0.5 * (np.round(y) % 2)
    return _edge(0.28 - np.hypot(_triangle(x), _triangle(y)), 7 * pixel)


def checks(u: Field, v: Field, pixel: float) -> Field:
    """Gingham: half ink where one band runs, whole ink where two cross."""
    across, down = (_edge(0.25 - _triangle(x * 6), 6 * pixel) for x in (u, v))
    return 0.5 * (across + down)


def zigzag(u: Field, v: Field, pixel: float) -> Field:
    """Level bands that go up and down."""
    return _edge(0.19 - _triangle(v * 6 + 1.5 * _triangle(u * 5)), 9 * pixel)


def stars(u: Field, v: Field, pixel: float) -> Field:
    """Five-pointed stars in staggered rows."""
    y = v * 4.4
    x = u * 4.0 + 0.5 * (np.round(y) % 2)
    x, y = x - np.round(x), y - np.round(y)
    spoke = np.abs((np.arctan2(x, -y) * (5 / (2 * np.pi)) + 0.5) % 1 - 0.5)
    reach = 0.42 / (1 + 3.1 * spoke)
    return _edge(reach - np.hypot(x, y), 5 * pixel)


#: Returns each pattern's share of ink, 0 to 1, with soft edges, given coordinates in the thing's unit square (x to the
#: right, y down; float32 of one shape), and the width of a pixel there.
PATTERN_FIELDS: dict[str, Callable[[Field, Field, float], Field]] = {
    "stripes": stripes,
    "dots": dots,
    "checks": checks,
    "zigzag": zigzag,
    "stars": stars,
}
