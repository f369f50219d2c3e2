"""Backdrops: a studio, a parquet, a lawn, a brick wall."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from datumaro_clip.demo.catalogue.materials import RGB, mix

HORIZON = 0.66


def _ramp(width: int, height: int, top: RGB, bottom: RGB) -> Image.Image:
    """Draw a vertical gradient from ``top`` to ``bottom``."""
    steps = np.linspace(0, 1, max(height, 1))[:, None]
    column = (np.asarray(top) * (1 - steps) + np.asarray(bottom) * steps).round().astype(np.uint8)
    return Image.fromarray(column[:, None, :]).resize((width, len(column)), Image.Resampling.NEAREST)


def _room(width: int, height: int, wall: tuple[RGB, RGB], floor: tuple[RGB, RGB]) -> tuple[Image.Image, int]:
    """Draw a wall above a floor, each a gradient; also return the row where they meet."""
    edge = round(height * HORIZON)
    picture = _ramp(width, height, *wall)
    picture.paste(_ramp(width, height - edge, *floor), (0, edge))
    return picture, edge


def studio(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """A seamless white roll of paper."""
    picture, _ = _room(width, height, ((238, 239, 241), (250, 250, 250)), ((247, 247, 247), (232, 233, 235)))
    return picture.filter(ImageFilter.BoxBlur(height * 0.06))


def parquet(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Floorboards that run towards a cream wall."""
    picture, edge = _room(width, height, ((236, 228, 214), (244, 238, 227)), ((196, 158, 116), (214, 176, 132)))
    pen = ImageDraw.Draw(picture)
    fan = np.linspace(-1.2, 1.2, 15) * width
    for near, far, tint in zip(fan[:-1], fan[1:], rng.uniform(-1, 1, 14), strict=True):
        _board(pen, (near, far), (width, height, edge), tint)
    pen.rectangle((0, edge - height * 0.035, width, edge), fill=(250, 246, 238))
    pen.line((0, edge, width, edge), fill=(150, 116, 84), width=max(1, height // 200))
    return picture


def _board(pen: ImageDraw.ImageDraw, sides: tuple[float, float], room: tuple[int, int, int], tint: float) -> None:
    """Draw a floorboard between two lines that run to the vanishing point."""
    width, height, edge = room
    middle = width / 2
    left, right = (middle + side * 0.55 for side in sides)
    corners = [(left, edge), (right, edge), (middle + sides[1], height), (middle + sides[0], height)]
    wood = mix((206, 166, 122), (160, 118, 80) if tint < 0 else (226, 192, 150), abs(tint) * 0.55)
    pen.polygon(corners, fill=wood)
    pen.line([corners[0], corners[3]], fill=mix(wood, (90, 60, 40), 0.45), width=max(1, height // 240))


def lawn(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Mown grass under a pale sky, a hedge between them."""
    picture, edge = _room(width, height, ((196, 222, 242), (236, 243, 246)), ((134, 178, 104), (112, 160, 84)))
    pen = ImageDraw.Draw(picture)
    for x in np.linspace(-0.05, 1.05, 14):
        rise = height * rng.uniform(0.03, 0.075)
        pen.ellipse((width * x - rise * 1.9, edge - rise, width * x + rise * 1.9, edge + rise), fill=(126, 162, 112))
    picture.paste(_ramp(width, height - edge, (140, 184, 108), (112, 160, 84)), (0, edge))
    _blades(ImageDraw.Draw(picture), (width, height, edge), rng)
    return picture.filter(ImageFilter.BoxBlur(height * 0.004))


def _blades(pen: ImageDraw.ImageDraw, garden: tuple[int, int, int], rng: np.random.Generator) -> None:
    """Draw short blades of grass, longer towards the viewer."""
    width, height, edge = garden
    depth = rng.uniform(0, 1, 420) ** 0.8
    for x, near, tint in zip(rng.uniform(0, width, 420), depth, rng.uniform(0, 1, 420), strict=True):
        y, tall = edge + near * (height - edge), height * (0.008 + 0.024 * near)
        green = mix((98, 146, 72), (158, 200, 120), tint)
        pen.line((x, y, x + tall * (tint - 0.5), y - tall), fill=green, width=max(1, round(height / 260)))


def brick(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """A pale brick wall above a concrete floor."""
    picture, edge = _room(width, height, ((214, 204, 198), (214, 204, 198)), ((188, 188, 186), (206, 206, 204)))
    pen = ImageDraw.Draw(picture)
    tall = height * HORIZON / 10
    for row in range(10):
        _course(pen, row, tall, width, rng)
    pen.line((0, edge, width, edge), fill=(140, 132, 128), width=max(1, height // 160))
    return picture


def _course(pen: ImageDraw.ImageDraw, row: int, tall: float, width: int, rng: np.random.Generator) -> None:
    """Draw a row of bricks; every second row is shifted by half a brick."""
    long, gap = tall * 2.4, max(1.0, tall * 0.09)
    for x in np.arange(-(row % 2) * long / 2, width, long):
        clay = mix((196, 140, 118), (216, 172, 152), float(rng.uniform(0, 1)))
        pen.rectangle((x + gap, row * tall + gap, x + long - gap, (row + 1) * tall - gap), fill=clay)


#: Draws an RGB picture of each background, given its width and height in pixels.
BACKDROPS: dict[str, Callable[[int, int, np.random.Generator], Image.Image]] = {
    "studio": studio,
    "parquet": parquet,
    "lawn": lawn,
    "brick": brick,
}
