"""Furniture: chair, clock, lamp, sofa, wardrobe."""

from __future__ import annotations

from datumaro_clip.demo.catalogue.shapes import Part, arc, box, ellipse, polygon, stroke


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
