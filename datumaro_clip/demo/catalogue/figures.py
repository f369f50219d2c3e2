"""The things that the catalogue sells, each a list of parts in the unit square."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from datumaro_clip.demo.catalogue.shapes import Part, Polygon, arc, box, ellipse, polygon, smooth, stroke

# Furniture


def chair() -> list[Part]:
    """A kitchen chair with an upholstered back and seat."""
    far_legs = (*stroke([(0.32, 0.6), (0.34, 0.9)], 0.035), *stroke([(0.68, 0.6), (0.66, 0.9)], 0.035))
    posts = (*stroke([(0.29, 0.3), (0.27, 0.6)], 0.045), *stroke([(0.71, 0.3), (0.73, 0.6)], 0.045))
    legs = (*stroke([(0.21, 0.66), (0.17, 0.97)], 0.05), *stroke([(0.79, 0.66), (0.83, 0.97)], 0.05))
    seat = polygon([(0.24, 0.52), (0.76, 0.52), (0.86, 0.64), (0.14, 0.64)])
    return [
        Part("wood_dark", far_legs),
        Part("wood", (*posts, *legs)),
        Part("body", (box(0.23, 0.03, 0.77, 0.43, 0.07),)),
        Part("body", (seat,)),
        Part("deep", (box(0.14, 0.64, 0.86, 0.69, 0.02),)),
    ]


def clock() -> list[Part]:
    """An alarm clock with two bells and a broad frame."""
    feet = (*stroke([(0.3, 0.86), (0.22, 0.97)], 0.05), *stroke([(0.7, 0.86), (0.78, 0.97)], 0.05))
    bells = (ellipse(0.27, 0.17, 0.13, 0.1), ellipse(0.73, 0.17, 0.13, 0.1))
    ticks = [stroke(arc(0.5, 0.56, 0.2, 0.2, turn, turn, 2), 0.022) for turn in range(0, 360, 30)]
    hands = (*stroke([(0.5, 0.56), (0.5, 0.42)], 0.025), *stroke([(0.5, 0.56), (0.6, 0.62)], 0.03))
    return [
        Part("metal", (*feet, *bells, *stroke([(0.5, 0.06), (0.5, 0.2)], 0.04))),
        Part("body", (ellipse(0.5, 0.56, 0.41, 0.41),)),
        Part("white", (ellipse(0.5, 0.56, 0.245, 0.245),)),
        Part("dark", (*(piece for tick in ticks for piece in tick), *hands)),
    ]


def lamp() -> list[Part]:
    """A table lamp: shade, stem, round foot."""
    return [
        Part("metal", (*stroke([(0.5, 0.45), (0.5, 0.93)], 0.04), ellipse(0.5, 0.93, 0.2, 0.045))),
        Part("glow", (ellipse(0.5, 0.49, 0.33, 0.05),)),
        Part("body", (polygon([(0.33, 0.05), (0.67, 0.05), (0.86, 0.48), (0.14, 0.48)]),)),
        Part("deep", (box(0.13, 0.465, 0.87, 0.49, 0.01), box(0.325, 0.04, 0.675, 0.06, 0.01))),
    ]


def sofa() -> list[Part]:
    """A two-seater with rolled arms."""
    feet = (box(0.1, 0.74, 0.15, 0.82), box(0.85, 0.74, 0.9, 0.82))
    return [
        Part("wood_dark", feet),
        Part("body", (box(0.08, 0.24, 0.92, 0.62, 0.09),)),
        Part("pale", (box(0.12, 0.48, 0.5, 0.63, 0.04), box(0.5, 0.48, 0.88, 0.63, 0.04))),
        Part("body", (box(0.06, 0.61, 0.94, 0.76, 0.03),)),
        Part("plain", (box(0.0, 0.4, 0.15, 0.77, 0.06), box(0.85, 0.4, 1.0, 0.77, 0.06))),
    ]


def wardrobe() -> list[Part]:
    """A wardrobe with two doors, a cornice and a drawer."""
    knobs = (ellipse(0.465, 0.42, 0.016, 0.016), ellipse(0.535, 0.42, 0.016, 0.016), ellipse(0.5, 0.83, 0.018, 0.018))
    return [
        Part("wood_dark", (box(0.22, 0.9, 0.29, 0.98), box(0.71, 0.9, 0.78, 0.98))),
        Part("deep", (box(0.18, 0.05, 0.82, 0.93, 0.01),)),
        Part("body", (box(0.205, 0.09, 0.495, 0.735, 0.01),)),
        Part("body", (box(0.505, 0.09, 0.795, 0.735, 0.01),)),
        Part("body", (box(0.205, 0.755, 0.795, 0.905, 0.01),)),
        Part("plain", (box(0.15, 0.01, 0.85, 0.065, 0.015),)),
        Part("metal", knobs),
    ]


# For the house


def bottle() -> list[Part]:
    """A tall drinking bottle with a screw cap."""
    shoulders = [(0.43, 0.14), (0.57, 0.14), (0.57, 0.24), (0.66, 0.36), (0.67, 0.6)]
    foot = [(0.66, 0.93), (0.6, 0.98), (0.4, 0.98), (0.34, 0.93), (0.33, 0.6), (0.34, 0.36), (0.43, 0.24)]
    return [
        Part("body", (smooth(shoulders + foot),)),
        Part("metal", (box(0.42, 0.14, 0.58, 0.18, 0.01),)),
        Part("dark", (box(0.425, 0.02, 0.575, 0.14, 0.02),)),
    ]


def bucket() -> list[Part]:
    """A pail with its handle up."""
    wall = polygon([(0.14, 0.36), (0.86, 0.36), (0.74, 0.96), (0.26, 0.96)])
    return [
        Part("metal", stroke(arc(0.5, 0.38, 0.35, 0.34, 180, 360), 0.03)),
        Part("body", (wall, ellipse(0.5, 0.95, 0.24, 0.04))),
        Part("plain", (ellipse(0.5, 0.36, 0.38, 0.075),)),
        Part("hollow", (ellipse(0.5, 0.36, 0.345, 0.055),)),
    ]


def mug() -> list[Part]:
    """A mug with its handle to the right."""
    right = [(0.7, 0.17), (0.7, 0.5), (0.67, 0.85), (0.55, 0.92)]
    left = [(0.25, 0.92), (0.13, 0.85), (0.1, 0.5)]
    bowl = smooth([(0.1, 0.17), (0.4, 0.19), *right, *left])
    return [
        Part("plain", (ellipse(0.72, 0.52, 0.23, 0.24),), (ellipse(0.72, 0.52, 0.145, 0.155),)),
        Part("body", (bowl,)),
        Part("plain", (ellipse(0.4, 0.17, 0.305, 0.07),)),
        Part("hollow", (ellipse(0.4, 0.17, 0.27, 0.052),)),
    ]


def teapot() -> list[Part]:
    """A round teapot, the spout to the left."""
    spout = smooth([(0.26, 0.52), (0.14, 0.44), (0.08, 0.3), (0.02, 0.28), (0.05, 0.42), (0.12, 0.64), (0.28, 0.76)])
    return [
        Part("plain", (ellipse(0.83, 0.55, 0.16, 0.19),), (ellipse(0.83, 0.55, 0.1, 0.13),)),
        Part("plain", (spout,)),
        Part("deep", (box(0.36, 0.83, 0.66, 0.89, 0.02),)),
        Part("body", (ellipse(0.51, 0.58, 0.33, 0.28),)),
        Part("plain", (arc(0.51, 0.34, 0.2, 0.12, 180, 360),)),
        Part("deep", (ellipse(0.51, 0.19, 0.045, 0.045), box(0.3, 0.33, 0.72, 0.36, 0.015))),
    ]


def vase() -> list[Part]:
    """A bulging vase with three white blossoms."""
    stems = [[(0.5, 0.5), (0.34, 0.16)], [(0.5, 0.5), (0.5, 0.1)], [(0.5, 0.5), (0.67, 0.18)]]
    heads = [petal for x, y in ((0.33, 0.15), (0.5, 0.08), (0.68, 0.17)) for petal in _blossom(x, y)]
    right = [(0.62, 0.38), (0.57, 0.46), (0.76, 0.66), (0.7, 0.86), (0.6, 0.97)]
    left = [(0.4, 0.97), (0.3, 0.86), (0.24, 0.66), (0.43, 0.46), (0.38, 0.38)]
    return [
        Part("stem", tuple(piece for stem in stems for piece in stroke(stem, 0.018))),
        Part("white", tuple(heads)),
        Part("glow", tuple(ellipse(x, y, 0.022, 0.022) for x, y in ((0.33, 0.15), (0.5, 0.08), (0.68, 0.17)))),
        Part("body", (smooth(right + left),)),
        Part("hollow", (ellipse(0.5, 0.385, 0.115, 0.022),)),
    ]


def _blossom(x: float, y: float) -> list[Polygon]:
    """Five petals around (x, y)."""
    return [ellipse(px, py, 0.04, 0.04, 20) for px, py in arc(x, y, 0.045, 0.045, 0, 288, 5)]


# For play and outdoors


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


# To wear and to carry


def bag() -> list[Part]:
    """A handbag with one handle and a clasp."""
    top = [(0.14, 0.36), (0.5, 0.35), (0.86, 0.36), (0.93, 0.65)]
    bottom = [(0.94, 0.93), (0.5, 0.95), (0.06, 0.93), (0.07, 0.65)]
    return [
        Part("deep", stroke(arc(0.5, 0.38, 0.24, 0.33, 180, 360), 0.05)),
        Part("body", (smooth(top + bottom),)),
        Part("deep", (box(0.12, 0.34, 0.88, 0.41, 0.03),)),
        Part("metal", (box(0.44, 0.36, 0.56, 0.47, 0.03),)),
    ]


def hat() -> list[Part]:
    """A round hat with a broad brim and a band."""
    crown = smooth(
        [(0.25, 0.62), (0.26, 0.36), (0.37, 0.21), (0.5, 0.24), (0.63, 0.21), (0.74, 0.36), (0.75, 0.62), (0.5, 0.68)]
    )
    band = polygon([(0.247, 0.54), (0.753, 0.54), (0.755, 0.64), (0.5, 0.69), (0.245, 0.64)])
    return [
        Part("plain", (ellipse(0.5, 0.66, 0.49, 0.12),)),
        Part("body", (crown,)),
        Part("deep", (band,)),
    ]


def shoe() -> list[Part]:
    """A trainer, the toe to the right."""
    upper = [(0.04, 0.3), (0.16, 0.34), (0.3, 0.32), (0.4, 0.26), (0.52, 0.38), (0.68, 0.5), (0.86, 0.54), (0.97, 0.64)]
    under = [(0.97, 0.72), (0.7, 0.75), (0.3, 0.75), (0.04, 0.74), (0.03, 0.5)]
    laces = [stroke([(x, y), (x + 0.075, y - 0.085)], 0.022) for x, y in ((0.39, 0.42), (0.46, 0.475), (0.53, 0.53))]
    return [
        Part("body", (smooth(upper + under),)),
        Part("deep", (smooth([(0.03, 0.3), (0.15, 0.35), (0.13, 0.55), (0.03, 0.6)]),)),
        Part("white", (box(0.02, 0.7, 0.99, 0.8, 0.04), *(piece for lace in laces for piece in lace))),
        Part("dark", (box(0.03, 0.775, 0.98, 0.805, 0.015),)),
    ]


def sock() -> list[Part]:
    """A long sock, the toe to the right."""
    leg = [(0.25, 0.06), (0.6, 0.06), (0.6, 0.35), (0.6, 0.56), (0.74, 0.67), (0.9, 0.76)]
    foot = [(0.92, 0.88), (0.8, 0.96), (0.6, 0.95), (0.4, 0.89), (0.26, 0.76), (0.25, 0.5), (0.25, 0.3)]
    return [
        Part("body", (smooth(leg + foot),)),
        Part("deep", (smooth([(0.76, 0.68), (0.92, 0.76), (0.93, 0.88), (0.8, 0.965), (0.72, 0.95), (0.75, 0.8)]),)),
        Part("deep", (smooth([(0.25, 0.6), (0.36, 0.68), (0.36, 0.8), (0.31, 0.835), (0.24, 0.74)]),)),
        Part("pale", (box(0.225, 0.03, 0.625, 0.17, 0.03),)),
    ]


def t_shirt() -> list[Part]:
    """A T-shirt laid flat."""
    right = [(0.62, 0.08), (0.74, 0.12), (0.98, 0.32), (0.87, 0.46), (0.75, 0.37), (0.75, 0.93)]
    left = [(1 - x, y) for x, y in reversed(right)]
    collar = arc(0.5, 0.08, 0.12, 0.1, 0, 180)
    return [
        Part("body", (polygon(right + left),), (collar,)),
        Part("deep", stroke(collar, 0.028)),
    ]


#: Every kind of thing by its name; catalogues depend on the order.
FIGURES: dict[str, Callable[[], list[Part]]] = {
    "ball": ball,
    "bag": bag,
    "bottle": bottle,
    "bucket": bucket,
    "chair": chair,
    "clock": clock,
    "guitar": guitar,
    "hat": hat,
    "kite": kite,
    "lamp": lamp,
    "mug": mug,
    "shoe": shoe,
    "sock": sock,
    "sofa": sofa,
    "t-shirt": t_shirt,
    "teapot": teapot,
    "torch": torch,
    "umbrella": umbrella,
    "vase": vase,
    "wardrobe": wardrobe,
}
