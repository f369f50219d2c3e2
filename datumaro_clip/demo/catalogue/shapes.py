"""Builds the polygons of figures in the unit square (x to the right, y down)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]
Points = Sequence[tuple[float, float]]


class Part(NamedTuple):
    """One piece of a figure: its material or paint, the polygons that it covers, and those cut out of it."""

    role: str
    covers: tuple[Polygon, ...]
    cuts: tuple[Polygon, ...] = ()


def polygon(points: Points) -> Polygon:
    """Make a polygon with straight edges: float64 (N, 2)."""
    return np.asarray(points, dtype=np.float64)


def ellipse(x: float, y: float, rx: float, ry: float, steps: int = 48) -> Polygon:
    """Make an ellipse about (x, y) with the radii ``rx`` and ``ry``: float64 (steps, 2)."""
    return arc(x, y, rx, ry, 0.0, 360.0, steps)


def arc(x: float, y: float, rx: float, ry: float, start: float, stop: float, steps: int = 32) -> Polygon:
    """Return points along an ellipse from ``start`` to ``stop`` degrees, clockwise from the right: (steps, 2)."""
    turn = np.radians(np.linspace(start, stop, steps))
    return np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], axis=1)


def box(x0: float, y0: float, x1: float, y1: float, radius: float = 0.0) -> Polygon:
    """Make a rectangle with corners rounded by ``radius``: float64 (N, 2)."""
    if radius <= 0:
        return polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    corners = ((x1, y1, 0), (x0, y1, 90), (x0, y0, 180), (x1, y0, 270))
    return np.concatenate([_corner(x, y, start, radius) for x, y, start in corners])


def _corner(x: float, y: float, start: float, radius: float) -> Polygon:
    """Return the quarter circle that rounds the corner at (x, y)."""
    towards = np.radians(start + 45)
    middle_x, middle_y = x - radius * np.sign(np.cos(towards)), y - radius * np.sign(np.sin(towards))
    return arc(middle_x, middle_y, radius, radius, start, start + 90, 8)


def smooth(points: Points, steps: int = 8) -> Polygon:
    """Make a closed Catmull-Rom curve through ``points``: float64 (steps * len(points), 2)."""
    p1 = polygon(points)
    p0, p2, p3 = np.roll(p1, 1, axis=0), np.roll(p1, -1, axis=0), np.roll(p1, -2, axis=0)
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    curve = 2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * (p1 - p2) + p3 - p0) * t**3
    flat: Polygon = (0.5 * curve).transpose(1, 0, 2).reshape(-1, 2)
    return flat


def stroke(points: Points | Polygon, width: float) -> tuple[Polygon, ...]:
    """Make a line of ``width`` along ``points``, with round ends and joints, as polygons that overlap."""
    line, half, segments = np.asarray(points, dtype=np.float64), width / 2, []
    for start, stop in pairwise(line):
        along = stop - start
        across = np.array([-along[1], along[0]]) * half / max(float(np.hypot(*along)), 1e-9)
        segments.append(np.stack([start + across, stop + across, stop - across, start - across]))
    return (*segments, *(ellipse(x, y, half, half, 16) for x, y in line))
