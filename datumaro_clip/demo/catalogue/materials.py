"""Colours of the things and of what they are made of, as sRGB triples."""

from __future__ import annotations

RGB = tuple[int, int, int]

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
    """Flat colour of a part with ``role`` on a thing of ``colour``."""
    if role in MATERIALS:
        return MATERIALS[role]
    base = PAINTS[colour]
    if role == "deep":
        return mix(base, (30, 24, 34), 0.28)
    if role == "hollow":
        return mix(base, (20, 16, 24), 0.5)
    return mix(base, (255, 255, 255), 0.22) if role == "pale" else base


def ink_of(colour: str) -> RGB:
    """Colour of the stripes, dots, ... on a thing of ``colour``."""
    return INK_ON_WHITE if colour == "white" else INK


def mix(one: RGB, other: RGB, share: float) -> RGB:
    """``one`` with ``share`` (0 to 1) of ``other`` stirred in."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue
