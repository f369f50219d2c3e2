"""For play and outdoors: ball, guitar, kite, torch, umbrella."""

from __future__ import annotations

import numpy as np

from datumaro_clip.demo.catalogue.shapes import Part, Polygon, arc, box, ellipse, polygon, smooth, stroke


def ball() -> list[Part]:
    """A ball with two seams."""
    seams = (*stroke(arc(0.02, 0.5, 0.34, 0.42, -52, 52), 0.016), *stroke(arc(0.98, 0.5, 0.34, 0.42, 128, 232), 0.016))
    return [Part("body", (ellipse(0.5, 0.5, 0.44, 0.44, 72),)), Part("deep", seams)]


def guitar() -> list[Part]:
    """An acoustic guitar, the neck up."""
    right = [(0.5, 0.43), (0.64, 0.45), (0.67, 0.55), (0.62, 0.63), (0.73, 0.76), (0.69, 0.92), (0.5, 0.98)]
    left = [(1 - x, y) for x, y in reversed(right[1:-1])]
    strings = [piece for x in (0.478, 0.493, 0.508, 0.523) for piece in stroke([(x, 0.06), (x, 0.84)], 0.005)]
    return [
        Part("body", (smooth(right + left),)),
        Part("dark", (ellipse(0.5, 0.62, 0.085, 0.085), box(0.42, 0.82, 0.58, 0.86, 0.01))),
        Part("wood", (box(0.462, 0.1, 0.538, 0.56),)),
        Part("wood_dark", (polygon([(0.445, 0.02), (0.555, 0.02), (0.54, 0.14), (0.46, 0.14)]),)),
        Part("white", tuple(strings)),
    ]


def kite() -> list[Part]:
    """A diamond kite with a ribboned tail."""
    tail = _wave((0.5, 0.74), (0.58, 0.99))
    bows = tuple(bow for x, y in (tail[9], tail[17], tail[25]) for bow in _bow(x, y))
    return [
        Part("dark", stroke(tail, 0.012)),
        Part("plain", bows),
        Part("body", (polygon([(0.5, 0.01), (0.83, 0.29), (0.5, 0.76), (0.17, 0.29)]),)),
        Part("deep", (*stroke([(0.5, 0.02), (0.5, 0.75)], 0.014), *stroke([(0.18, 0.29), (0.82, 0.29)], 0.014))),
    ]


def _wave(start: tuple[float, float], stop: tuple[float, float]) -> Polygon:
    """A winding line of 28 points from ``start`` to ``stop``."""
    t = np.linspace(0, 1, 28)
    sway = 0.07 * np.sin(2 * np.pi * t)
    return np.stack([start[0] + (stop[0] - start[0]) * t + sway, start[1] + (stop[1] - start[1]) * t], axis=1)


def _bow(x: float, y: float) -> list[Polygon]:
    """Two triangles that meet at (x, y)."""
    return [polygon([(x, y), (x + side, y - 0.025), (x + side, y + 0.025)]) for side in (-0.055, 0.055)]


def torch() -> list[Part]:
    """A pocket torch lying on its side, the lens to the right."""
    head = polygon([(0.6, 0.4), (0.66, 0.38), (0.84, 0.27), (0.84, 0.73), (0.66, 0.62), (0.6, 0.6)])
    return [
        Part("dark", (box(0.0, 0.42, 0.08, 0.58, 0.03),)),
        Part("body", (box(0.05, 0.39, 0.62, 0.61, 0.02),)),
        Part("metal", (box(0.56, 0.38, 0.61, 0.62, 0.01), box(0.09, 0.385, 0.115, 0.615))),
        Part("body", (head,)),
        Part("metal", (box(0.83, 0.25, 0.89, 0.75, 0.02),)),
        Part("glow", (arc(0.89, 0.5, 0.1, 0.22, -90, 90),)),
        Part("dark", (box(0.32, 0.365, 0.44, 0.41, 0.02),)),
    ]


def umbrella() -> list[Part]:
    """An open umbrella seen from the side."""
    scallops = [arc(0.14 + 0.18 * i, 0.52, 0.09, 0.06, 180, 360, 12)[::-1] for i in (4, 3, 2, 1, 0)]
    canopy = np.concatenate([arc(0.5, 0.52, 0.45, 0.45, 180, 360, 40), *scallops])
    ribs = [
        stroke(arc(0.5, 0.5, rx, 0.42, side, 270, 16), 0.01)
        for rx, side in ((0.1, 182), (0.27, 182), (0.1, 358), (0.27, 358))
    ]
    crook = arc(0.57, 0.89, 0.07, 0.08, 180, 0, 16)
    return [
        Part("metal", (*stroke([(0.5, 0.03), (0.5, 0.85)], 0.022),)),
        Part("wood", (*stroke([(0.5, 0.76), (0.5, 0.89)], 0.04), *stroke(crook, 0.04))),
        Part("body", (canopy,)),
        Part("deep", tuple(piece for rib in ribs for piece in rib)),
    ]
