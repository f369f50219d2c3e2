"""For the house: bottle, bucket, mug, teapot, vase."""

from __future__ import annotations

from datumaro_clip.demo.catalogue.shapes import Part, Polygon, arc, box, ellipse, polygon, smooth, stroke


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
    bowl = smooth(
        [
            (0.1, 0.17),
            (0.4, 0.19),
            (0.7, 0.17),
            (0.7, 0.5),
            (0.67, 0.85),
            (0.55, 0.92),
            (0.25, 0.92),
            (0.13, 0.85),
            (0.1, 0.5),
        ]
    )
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
