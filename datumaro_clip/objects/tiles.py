"""Large pictures in overlapping tiles, so that what is small in them is seen."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from datumaro_clip.vectors import FloatArray

Window = tuple[int, int, int, int]

#: Share of a tile that it has in common with its neighbour: what is smaller lies whole in one of them.
OVERLAP = 0.25
# Pixels from an inner edge within which a box is taken for cut off there.
_EDGE = 2.0


def tiles_of(size: tuple[int, int], side: int) -> list[Window]:
    """Tiles (left, top, right, bottom) that cover a picture of (width, height) pixels; none where it is one tile."""
    columns, rows = (_starts(length, side) for length in size)
    if len(columns) == len(rows) == 1:
        return []
    width, height = size
    return [(x, y, min(x + side, width), min(y + side, height)) for y in rows for x in columns]


def _starts(length: int, side: int) -> list[int]:
    """Where the tiles of an axis begin, evenly."""
    if length <= side:
        return [0]
    count = math.ceil((length - side) / (side * (1 - OVERLAP))) + 1
    return [round(n * (length - side) / (count - 1)) for n in range(count)]


def inside(boxes: FloatArray, window: Window, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Which boxes, (N, 4) in pixels of a tile, do not touch an edge of it that lies inside the picture.

    What touches one may be cut off there: the neighbour, or the look at the whole picture, shows it whole.
    """
    left, top, right, bottom = window
    width, height = size
    x1, y1, x2, y2 = boxes.T
    cut: npt.NDArray[np.bool_] = (left > 0) & (x1 < _EDGE) | (top > 0) & (y1 < _EDGE)
    cut |= (right < width) & (x2 > right - left - _EDGE) | (bottom < height) & (y2 > bottom - top - _EDGE)
    return ~cut
