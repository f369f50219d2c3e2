"""Draws pictures of no kind of thing: a page of print, a bar chart, a night sky, a test card."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def draw_outlier(seed: int, size: tuple[int, int]) -> Image.Image:
    """Draw one of four sorts of picture that do not belong into a catalogue: RGB, ``size`` = (width, height)."""
    rng = np.random.default_rng(seed)
    return OUTLIERS[int(rng.integers(len(OUTLIERS)))](size, rng)


def page(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Lines of print, too small to read."""
    width, height = size
    picture = Image.new("RGB", size, (250, 248, 242))
    pen = ImageDraw.Draw(picture)
    step = height / 30
    for row in range(2, 28):
        x, stop = width * 0.1, width * (0.9 if row % 6 else rng.uniform(0.3, 0.6))
        while x < stop:
            word = width * rng.uniform(0.02, 0.09)
            pen.rectangle((x, row * step, min(x + word, stop), row * step + step * 0.45), fill=(70, 70, 78))
            x += word + width * 0.015
    return picture


def chart(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Bars between two axes."""
    width, height = size
    picture = Image.new("RGB", size, (255, 255, 255))
    pen = ImageDraw.Draw(picture)
    for line in np.linspace(0.15, 0.85, 8):
        pen.line((width * 0.1, height * line, width * 0.95, height * line), fill=(222, 224, 228))
    for place, tall in zip(np.linspace(0.13, 0.85, 9), rng.uniform(0.1, 0.7, 9), strict=True):
        bar = (width * place, height * (0.85 - tall), width * (place + 0.06), height * 0.85)
        pen.rectangle(bar, fill=(70, 130, 180))
    pen.line((width * 0.1, height * 0.1, width * 0.1, height * 0.85, width * 0.95, height * 0.85), (60, 60, 60), 3)
    return picture


def night_sky(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Stars and a moon on dark blue."""
    width, height = size
    picture = Image.new("RGB", size, (14, 18, 44))
    pen = ImageDraw.Draw(picture)
    for x, y, glow in rng.uniform(0, 1, (260, 3)):
        radius, grey = 0.4 + 1.8 * glow**4, round(120 + 130 * glow)
        centre_x, centre_y = width * x, height * y
        star = (centre_x - radius, centre_y - radius, centre_x + radius, centre_y + radius)
        pen.ellipse(star, fill=(grey, grey, min(255, grey + 20)))
    x, y, radius = width * rng.uniform(0.2, 0.8), height * rng.uniform(0.15, 0.4), min(size) * 0.09
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(244, 240, 214))
    return picture.filter(ImageFilter.GaussianBlur(0.6))


def test_card(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Colour bars over a ramp of greys."""
    width, height = size
    bars = [(192, 192, 192), (192, 192, 0), (0, 192, 192), (0, 192, 0), (192, 0, 192), (192, 0, 0), (0, 0, 192)]
    bars = [bars[i] for i in rng.permutation(len(bars))]
    row = np.repeat(np.array(bars, np.uint8), -(-width // len(bars)), axis=0)[:width]
    ramp = np.linspace(0, 255, width).astype(np.uint8)[:, None].repeat(3, axis=1)
    split = round(height * rng.uniform(0.6, 0.8))
    return Image.fromarray(np.stack([row] * split + [ramp] * (height - split)))


OUTLIERS = (page, chart, night_sky, test_card)
