"""Pictures of filled rectangles, for detectors that find them, and the figure of how well they do."""

from __future__ import annotations

import numpy as np
from PIL import Image

COLOURS = {"red": (230, 20, 30), "green": (10, 220, 40), "blue": (20, 30, 240)}

Box = tuple[int, int, int, int]


def drawn(size: tuple[int, int], boxes: dict[str, Box]) -> Image.Image:
    """A grey picture of (width, height) with a rectangle (x1, y1, x2, y2) of each colour."""
    pixels = np.full((size[1], size[0], 3), 120, np.uint8)
    for colour, (x1, y1, x2, y2) in boxes.items():
        pixels[y1:y2, x1:x2] = COLOURS[colour]
    return Image.fromarray(pixels)


def scene(seed: int) -> tuple[tuple[int, int], dict[str, Box]]:
    """A picture's size, and rectangles that do not cover one another; the same for the same seed."""
    random = np.random.default_rng(seed)
    width, height = (int(side) for side in random.integers(90, 400, 2))
    third = width // 3
    boxes = {}
    for column, colour in enumerate(random.permutation(list(COLOURS)).tolist()):
        w, h = int(random.integers(third // 2, third - 4)), int(random.integers(height // 4, height - 4))
        x, y = column * third + int(random.integers(0, third - w)), int(random.integers(0, height - h))
        boxes[colour] = (x, y, x + w, y + h)
    return (width, height), boxes


def iou(one: np.ndarray | Box, other: np.ndarray | Box) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2."""
    (a1, b1, a2, b2), (c1, d1, c2, d2) = one, other
    inner = max(min(a2, c2) - max(a1, c1), 0) * max(min(b2, d2) - max(b1, d1), 0)
    return inner / ((a2 - a1) * (b2 - b1) + (c2 - c1) * (d2 - d1) - inner)
