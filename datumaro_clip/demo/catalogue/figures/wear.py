"""To wear and to carry: bag, hat, shoe, sock, T-shirt."""

from __future__ import annotations

from datumaro_clip.demo.catalogue.shapes import Part, arc, box, ellipse, polygon, smooth, stroke


def bag() -> list[Part]:
    """A handbag with one handle and a clasp."""
    return [
        Part("deep", stroke(arc(0.5, 0.38, 0.24, 0.33, 180, 360), 0.05)),
        Part(
            "body",
            (
                smooth(
                    [
                        (0.14, 0.36),
                        (0.5, 0.35),
                        (0.86, 0.36),
                        (0.93, 0.65),
                        (0.94, 0.93),
                        (0.5, 0.95),
                        (0.06, 0.93),
                        (0.07, 0.65),
                    ]
                ),
            ),
        ),
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
