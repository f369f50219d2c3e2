"""Draws one picture: backdrop, shadow, figure, badge, light and noise."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from datumaro_clip.demo.catalogue.backdrops import BACKDROPS
from datumaro_clip.demo.catalogue.figures import FIGURES
from datumaro_clip.demo.catalogue.materials import PATTERN_FIELDS, ink_of, paint_of
from datumaro_clip.demo.catalogue.shapes import Part, Polygon, arc, ellipse, stroke
from datumaro_clip.demo.catalogue.spec import ItemSpec

FINENESS = 2
Box = tuple[int, int, int, int]


class Painting(NamedTuple):
    """A drawn picture, and the bounding box (left, top, right, bottom), in pixels, of the visible part of the thing."""

    image: Image.Image
    box: Box


class Stage(NamedTuple):
    """The square of the picture that a figure fills, and how its unit square maps to it."""

    origin: tuple[int, int]
    size: tuple[int, int]
    middle: tuple[float, float]
    turn: np.ndarray
    side: float

    def place(self, shape: Polygon) -> Polygon:
        """Map the corners of ``shape`` from the unit square to pixels of the stage."""
        placed: Polygon = (shape - 0.5) @ self.turn * self.side + np.asarray(self.middle)
        return placed


def draw_item(spec: ItemSpec, size: int | tuple[int, int]) -> Image.Image:
    """Draw ``spec`` as an RGB picture of ``size`` pixels, a side or (width, height)."""
    return paint(spec, (size, size) if isinstance(size, int) else size).image


def paint(spec: ItemSpec, size: tuple[int, int]) -> Painting:
    """Draw ``spec`` at ``size`` = (width, height) pixels, and find the thing's bounding box."""
    rng = np.random.default_rng(spec.seed)
    stage = _stage(spec, size)
    picture = BACKDROPS[spec.background](*size, rng)
    parts = _parts(spec.kind)
    masks = [_mask(part, stage) for part in parts]
    outline = functools.reduce(ImageChops.lighter, masks)
    _cast_shadow(picture, outline, stage)
    figure = _figure(spec, stage, parts, masks, outline)
    picture.paste(figure, stage.origin, outline)
    if spec.audience == "children":
        _stick_badge(picture, stage)
    return Painting(_expose(picture, spec, rng), _visible(outline.getbbox(), stage.origin, size))


@functools.cache
def _parts(kind: str) -> list[Part]:
    return FIGURES[kind]()


def _stage(spec: ItemSpec, size: tuple[int, int]) -> Stage:
    """Return the stage of a figure: a square wide enough for every rotation."""
    side = spec.scale * min(size)
    x, y = spec.centre[0] * size[0], spec.centre[1] * size[1]
    reach = side * 0.72
    left, top = round(x - reach), round(y - reach)
    cos, sin = np.cos(np.radians(spec.angle)), np.sin(np.radians(spec.angle))
    turn = np.array([[cos, sin], [-sin, cos]])
    if spec.mirrored:
        turn = np.diag([-1.0, 1.0]) @ turn
    across = round(2 * reach)
    return Stage((left, top), (across, across), (x - left, y - top), turn, side)


def _mask(part: Part, stage: Stage) -> Image.Image:
    """Draw the coverage of ``part`` on the stage, "L", 0 to 255, antialiased by drawing it larger."""
    fine = Image.new("L", (stage.size[0] * FINENESS, stage.size[1] * FINENESS))
    pen = ImageDraw.Draw(fine)
    for shapes, level in ((part.covers, 255), (part.cuts, 0)):
        for shape in shapes:
            pen.polygon((stage.place(shape) * FINENESS).ravel().tolist(), fill=level)
    return fine.reduce(FINENESS)


def _cast_shadow(picture: Image.Image, outline: Image.Image, stage: Stage) -> None:
    """Cast a soft shadow on the backdrop, a little below and beside the thing."""
    small = outline.resize((max(1, stage.size[0] // 4), max(1, stage.size[1] // 4)))
    soft = small.filter(ImageFilter.GaussianBlur(stage.side / 4 * 0.035)).resize(stage.size)
    shift = (stage.origin[0] + round(stage.side * 0.02), stage.origin[1] + round(stage.side * 0.035))
    picture.paste((40, 34, 40), (*shift, shift[0] + stage.size[0], shift[1] + stage.size[1]), soft.point(_share(0.42)))


def _figure(
    spec: ItemSpec, stage: Stage, parts: list[Part], masks: list[Image.Image], outline: Image.Image
) -> Image.Image:
    """Paint and shade all parts of the thing on an empty stage."""
    figure = Image.new("RGB", stage.size)
    cloth = _cloth(spec, stage)
    for part, mask in zip(parts, masks, strict=True):
        frame = _framed(mask, round(stage.side * 0.05))
        cut = mask.crop(frame)
        figure.paste(cloth.crop(frame) if part.role == "body" else paint_of(part.role, spec.colour), frame, cut)
        figure.paste((24, 18, 30), frame, _rim(cut, stage.side).point(_share(0.5)))
    _round_off(figure, outline, stage)
    return figure


def _framed(mask: Image.Image, margin: int) -> Box:
    """Return the bounding box of what ``mask`` covers, plus a margin."""
    left, top, right, bottom = mask.getbbox() or (0, 0, 1, 1)
    width, height = mask.size
    return max(0, left - margin), max(0, top - margin), min(width, right + margin), min(height, bottom + margin)


def _cloth(spec: ItemSpec, stage: Stage) -> Image.Image:
    """Fill a stage with the thing's colour and pattern."""
    cloth = Image.new("RGB", stage.size, paint_of("body", spec.colour))
    if spec.pattern == "plain":
        return cloth
    y, x = np.mgrid[0 : stage.size[1], 0 : stage.size[0]].astype(np.float32)
    back = (stage.turn.T / stage.side).astype(np.float32)
    x, y = x - np.float32(stage.middle[0]), y - np.float32(stage.middle[1])
    u, v = x * back[0, 0] + y * back[1, 0], x * back[0, 1] + y * back[1, 1]
    ink = PATTERN_FIELDS[spec.pattern](u, v, 1 / stage.side)
    cloth.paste(ink_of(spec.colour), (0, 0, *stage.size), Image.fromarray((ink * 255).astype(np.uint8)))
    return cloth


def _rim(mask: Image.Image, side: float) -> Image.Image:
    """Return the shade along the inner edge of a part, darkest at the lower right, away from the light."""
    soft = mask.filter(ImageFilter.GaussianBlur(side * 0.016))
    lit = ImageChops.offset(soft, -round(side * 0.01), -round(side * 0.012))
    return ImageChops.multiply(ImageChops.invert(lit), mask)


def _round_off(figure: Image.Image, outline: Image.Image, stage: Stage) -> None:
    """Light the whole thing from the upper left, and shade it towards the lower right."""
    left, top, right, bottom = outline.getbbox() or (0, 0, 1, 1)
    slope = Image.linear_gradient("L").rotate(45).crop((38, 38, 218, 218)).resize((right - left, bottom - top))
    figure.paste((28, 20, 40), (left, top, right, bottom), slope.point(lambda level: max(0, level - 110) * 0.3))
    figure.paste((255, 252, 244), (left, top, right, bottom), slope.point(lambda level: max(0, 130 - level) * 0.3))


def _stick_badge(picture: Image.Image, stage: Stage) -> None:
    """Put a round sticker with a smile at the thing's upper right: it is for children."""
    side = max(12, round(stage.side * 0.26))
    badge = _badge().resize((side, side), Image.Resampling.LANCZOS)
    x = round(stage.origin[0] + stage.middle[0] + stage.side * 0.26)
    y = round(stage.origin[1] + stage.middle[1] - stage.side * 0.5)
    picture.paste(badge, (x, y), badge)


@functools.cache
def _badge() -> Image.Image:
    """Draw the sticker, RGBA, 256 pixels wide."""
    badge = Image.new("RGBA", (256, 256))
    pen = ImageDraw.Draw(badge)
    pen.ellipse((2, 2, 253, 253), fill=(255, 255, 255, 255))
    pen.ellipse((20, 20, 235, 235), fill=(64, 196, 190, 255))
    smile = stroke(arc(0.5, 0.52, 0.24, 0.22, 20, 160), 0.06)
    for shape in (ellipse(0.38, 0.4, 0.05, 0.065), ellipse(0.62, 0.4, 0.05, 0.065), *smile):
        pen.polygon((shape * 256).ravel().tolist(), fill=(255, 255, 255, 255))
    return badge


def _expose(picture: Image.Image, spec: ItemSpec, rng: np.random.Generator) -> Image.Image:
    """Apply the spec's light, and the noise of a sensor."""
    gain = spec.light * (1 + 0.035 * spec.warmth * np.array([1.0, 0.0, -1.0]))
    curve = np.clip(np.arange(256)[None, :] * gain[:, None], 0, 255).astype(np.uint8)
    lit = np.asarray(picture.point(curve.ravel().tolist()), dtype=np.int16)
    grain = (rng.standard_normal(lit.shape[:2], dtype=np.float32) * spec.noise).astype(np.int16)
    return Image.fromarray(np.clip(lit + grain[:, :, None], 0, 255).astype(np.uint8))


def _share(part: float) -> list[int]:
    """Return the lookup table that scales a mask by ``part``."""
    return [round(level * part) for level in range(256)]


def _visible(box: Box | None, origin: tuple[int, int], size: tuple[int, int]) -> Box:
    """Move ``box`` from the stage to the picture, and clip it: a large rotated thing may reach beyond the edge."""
    left, top, right, bottom = box or (0, 0, 0, 0)
    (x, y), (width, height) = origin, size
    return max(0, left + x), max(0, top + y), min(width, right + x), min(height, bottom + y)
