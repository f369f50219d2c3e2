"""Patterns: how much ink lies at each point of a thing's surface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]


def ink(pattern: str, u: Field, v: Field, pixel: float) -> Field:
    """Share of ink, 0 to 1, with soft edges.

    Parameters
    ----------
    pattern
        One of ``spec.PATTERNS`` but "plain".
    u, v
        Coordinates in the thing's unit square (x to the right, y down), float32 of one shape.
    pixel
        Width of a pixel in these coordinates; edges are that soft.
    """
    return PATTERN_FIELDS[pattern](u, v, pixel)


def _triangle(x: Field) -> Field:
    """Triangle wave of period 1 between 0 (at whole numbers) and 0.5."""
    wave: Field = np.abs(x - np.round(x))
    return wave


def _edge(depth: Field, softness: float) -> Field:
    """1 where ``depth`` is above 0, 0 below, soft over ``softness``."""
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


PATTERN_FIELDS: dict[str, Callable[[Field, Field, float], Field]] = {
    "stripes": stripes,
    "dots": dots,
    "checks": checks,
    "zigzag": zigzag,
    "stars": stars,
}
