"""Parts of drawn look-alikes: words and figures from a seed, and pictures as a camera sees them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random

import numpy as np
from PIL import Image, ImageFilter, ImageFont

Box = tuple[int, int, int, int]
Colour = tuple[int, int, int]
INK: Colour = (25, 25, 35)
SYLLABLES = (
    "ka", "lo", "mi", "ter", "van", "sol", "ber", "ni", "dra", "fe", "gu", "hol", "pin", "ros", "ta", "wen", "zu",
    "eck", "mar", "lin",
)  # fmt: skip


@dataclass(frozen=True)
class LookAlikes:
    """Two pictures that are no copies of one another, and the box (left, top, right, bottom) in which they differ."""

    original: Image.Image
    edited: Image.Image
    box: Box


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
    """Return the text with one digit, or if it has none one letter, replaced by another."""
    kind = "0123456789" if any(each.isdigit() for each in text) else "abcdefghijklmnopqrstuvwxyz"
    place = rng.choice([at for at, each in enumerate(text) if each in kind])
    return text[:place] + rng.choice([each for each in kind if each != text[place]]) + text[place + 1 :]


def sensor(picture: Image.Image, seed: int, noise: float) -> Image.Image:
    """Return the picture as a camera sees it: a little soft, with noise."""
    soft = np.asarray(picture.filter(ImageFilter.GaussianBlur(0.6)), np.float32)
    grain = np.random.default_rng(seed).normal(0, noise, soft.shape).astype(np.float32)
    return Image.fromarray(np.clip(soft + grain + 0.5, 0, 255).astype(np.uint8))


def shade(rng: Random, size: tuple[int, int], low: int = 60, high: int = 200) -> Image.Image:
    """A soft gradient between four colours."""
    corners = np.array([[[rng.randint(low, high) for _ in range(3)] for _ in range(2)] for _ in range(2)], np.uint8)
    return Image.fromarray(corners).resize(size, Image.Resampling.BICUBIC)
