"""Judges at full resolution whether a pair are copies, or one of them has a small edit; with OpenCV.

One picture is brought to the other's place, resolution and light. What still differs, and cannot come from JPEG
encoding, is averaged over small squares, and each average compared with the noise and resampling that the pair shows
elsewhere. ``docs/copies.md`` explains it with figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from datumaro_clip.curate.near.alignment import roughness, slopes
from datumaro_clip.curate.near.light import Change, find_change
from datumaro_clip.curate.near.overlay import (
    Inside,
    Overlay,
    Picture,
    Pixels,
    full_map,
    grey,
    least_squares,
    scale_of,
    subsample,
    warp_to_target,
)
from datumaro_clip.curate.near.rings import Map
from datumaro_clip.vectors import FloatArray

# The limit: how many times as large as the pair's own noise explains a difference may be in a copy (docs/copies.md has
# the figures). If the pixels were taken as they are, or the whole picture was resized, it is a multiple of the ratio
# that one place in a thousand exceeds, within bounds. If the picture was interpolated, so that edges may be off by a
# pixel, it is one number.
_TAIL, _LEAST_LIMIT, _MOST_LIMIT, _INTERPOLATED_LIMIT = 3.5, 4.0, 10.0, 12.5

Box = tuple[int, int, int, int]

# Between this and its inverse two pictures have the same scale, and their encoding says which one is the copy.
_SAME_SCALE = 0.95
# Side of the place that a report shows, in pixels.
_SHOWN = 64
_BLOCK = 8
_EVEN = 2 * _BLOCK
_SQUARE = np.ones((3, 3), np.uint8)
_STATISTICS = 60_000
_MOST_MISFIT = 0.35
_JAGGED = 0.25
_MOST_CONTRAST = 0.1
_STEEP = 2.0


class Difference(NamedTuple):
    """The place at which two pictures differ most beyond what their noise explains.

    Attributes
    ----------
    levels : float
        The difference there, in grey levels of 255, without what changes of place, resolution, light and encoding
        explain.
    explained : float
        The difference that the pair's own noise, resampling and edges explain there, in grey levels of 255.
    limit : float
        How many times as large as ``explained`` the difference may be in a copy.
    boxes : tuple
        The place in the first and in the second picture: ``(x, y, w, h)`` in whole pixels of the pictures as stored.
    """

    levels: float
    explained: float
    limit: float
    boxes: tuple[Box, Box]

    @property
    def ratio(self) -> float:
        """The difference as a multiple of what is explained."""
        return self.levels / self.explained

    @property
    def allowed(self) -> float:
        """The difference that a copy may have at that place, in grey levels of 255."""
        return self.limit * self.explained

    @property
    def is_edit(self) -> bool:
        """Whether the difference is too large for a copy."""
        return self.levels > self.allowed

    @property
    def centres(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The middle of the place in the first and in the second picture, in pixels."""
        (x, y, w, h), (a, b, c, d) = self.boxes
        return (x + w // 2, y + h // 2), (a + c // 2, b + d // 2)


#: Stands for the difference to a picture that could not be read.
UNKNOWN = Difference(255.0, 1.0, 1.0, ((0, 0, 0, 0), (0, 0, 0, 0)))


class _Scale(NamedTuple):
    """A square over which differences are averaged: its side in pixels, and the grey levels that nobody would see."""

    side: int
    signed: bool
    unseen: float


# A root mean square keeps the differences of thin strokes, which have either sign; in a signed mean noise averages out.
_SCALES = (_Scale(3, False, 2.5), _Scale(5, True, 1.4), _Scale(11, True, 1.0))


def judge(first: Picture, second: Picture, where: Map) -> Difference:
    """Find the largest difference between two pictures whose thumbnails pass for copies.

    They are compared at the resolution of the coarser one.

    Parameters
    ----------
    first, second : Picture
    where : numpy.ndarray
        Shape (2, 3): maps pixels of the first one's thumbnail to pixels of the second one's.
    """
    start = full_map(where, first, second)
    target, above, swapped = first, second, False
    scale = scale_of(start)
    if scale < _SAME_SCALE or (scale < 1 / _SAME_SCALE and _target_key(second) > _target_key(first)):
        target, above, swapped = second, first, True
        start = np.asarray(np.linalg.inv(start))
    overlay = _overlay(above.pixels, target.pixels, start)
    levels, explained, limit, place = _largest(target, overlay)
    here = _box(place, target, np.eye(3), target)
    there = _box(place, target, overlay.where, above)
    return Difference(levels, explained, limit, (there, here) if swapped else (here, there))


def _overlay(above: Pixels, target: Pixels, start: npt.NDArray[np.float64]) -> Overlay:
    """Warp one picture to the other; the change of light is fitted once, after the first warp."""
    change: list[Change] = []

    def lightness_of(warped: Pixels, inside: Inside) -> FloatArray:
        if not change:
            change.append(find_change(warped, target, inside))
        return grey(change[0].lit(warped, target))

    return warp_to_target(above, target, start, lightness_of)


def _target_key(picture: Picture) -> tuple[float, float]:
    """Sort key for two pictures of the same scale: the higher one (coarser JPEG encoding, then smoother) is the target.

    The mean quantisation step of lightness, 0 where it is not known, and the negative roughness.
    """
    return 0.0 if picture.tables is None else float(picture.tables.lightness.mean()), -roughness(picture.pixels)


def _box(place: tuple[float, float], target: Picture, where: npt.NDArray[np.float64], picture: Picture) -> Box:
    """Return the square around a place of the target, mapped to a picture and clipped to that picture as stored."""
    corners = np.array([[x, y, 1.0] for x in (-_SHOWN / 2, _SHOWN / 2) for y in (-_SHOWN / 2, _SHOWN / 2)])
    corners[:, :2] += place
    found = (corners @ where.T)[:, :2] * (np.array(picture.size) / picture.pixels.shape[1::-1])
    low = np.clip(np.floor(found.min(axis=0)), 0, np.array(picture.size) - 1).astype(int)
    high = np.clip(np.ceil(found.max(axis=0)), low + 1, picture.size).astype(int)
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])


def _largest(target: Picture, overlay: Overlay) -> tuple[float, float, float, tuple[float, float]]:
    """Find the difference that is largest in proportion to its limit.

    Returns its levels, the levels that are explained there, the limit, and the place (x, y) in the target.
    """
    best = 0.0, 1.0, _LEAST_LIMIT, (target.pixels.shape[1] / 2, target.pixels.shape[0] / 2)
    lit = find_change(overlay.pixels, target.pixels, overlay.inside).lit(overlay.pixels, target.pixels)
    jagged = False
    for number, (aim, warped, inside, shrink) in enumerate(_channels(target.pixels, lit, overlay.inside)):
        steps = None
        if target.tables is not None and (number == 0 or target.tables.halved):
            steps = target.tables.colour if number else target.tables.lightness
        squares = np.minimum(_steepness(aim), _steepness(warped)) * inside
        predicted = _sharpened(aim, warped, inside)
        residual = _residual(aim - predicted, steps, inside)
        if number == 0 and not overlay.on_grid:
            window = (_SCALES[0].side,) * 2
            noise = _Noise.of(_root(cv2.blur(residual * residual, window)), _root(cv2.blur(squares, window)), inside)
            jagged = noise.share > _JAGGED
        if jagged:
            low, high = cv2.erode(predicted, _SQUARE), cv2.dilate(predicted, _SQUARE)
            residual = _residual(aim - np.clip(aim, low, high), steps, inside)
        for scale in _SCALES:
            window = (scale.side, scale.side)
            size = np.abs(cv2.blur(residual, window)) if scale.signed else _root(cv2.blur(residual * residual, window))
            steepness = _root(cv2.blur(squares, window))
            explained = _Noise.of(size, steepness, inside).explained(steepness, scale.unseen)
            ratio = size / explained
            limit = _limit(ratio, inside) if overlay.on_grid else _INTERPOLATED_LIMIT
            at = int(ratio.argmax())
            if ratio.flat[at] / limit > best[0] / best[1] / best[2]:
                y, x = divmod(at, ratio.shape[1])
                place = (x + 0.5) * shrink - 0.5, (y + 0.5) * shrink - 0.5
                best = float(size.flat[at]), float(explained.flat[at]), limit, place
    return best


def _limit(ratio: FloatArray, inside: Inside) -> float:
    """Return the ratio above which a place stands out from all others."""
    thin, chosen = subsample(inside, _STATISTICS)
    if not chosen.any():
        return _MOST_LIMIT
    return float(np.clip(_TAIL * np.quantile(ratio[thin][chosen], 0.999), _LEAST_LIMIT, _MOST_LIMIT))


def _channels(
    target: Pixels, warped: Pixels | FloatArray, inside: Inside
) -> Iterator[tuple[FloatArray, FloatArray, Inside, int]]:
    """Yield lightness, then both chroma channels at half the size: of the target, of the other; the mask; the scale.

    The channels are JPEG's own (ITU-R BT.601). Pictures are padded to whole blocks; the mask leaves the padding out.
    """
    more = (-target.shape[0] % _EVEN, -target.shape[1] % _EVEN)
    both = [
        cv2.cvtColor(cv2.copyMakeBorder(each, 0, more[0], 0, more[1], cv2.BORDER_REPLICATE), cv2.COLOR_RGB2YCrCb)
        for each in (target, warped)
    ]
    inside = np.asarray(cv2.copyMakeBorder(inside, 0, more[0], 0, more[1], cv2.BORDER_CONSTANT, value=0))
    half = inside.shape[1] // 2, inside.shape[0] // 2
    half_inside = (cv2.resize(255 * inside, half, interpolation=cv2.INTER_AREA) == 255).astype(np.uint8)
    for number in range(3):
        aim, found = (cv2.extractChannel(each, number).astype(np.float32) for each in both)
        if number == 0:
            yield aim, found, inside, 1
        else:
            aim, found = (cv2.resize(each, half, interpolation=cv2.INTER_AREA) for each in (aim, found))
            yield aim, found, half_inside, 2


def _sharpened(aim: FloatArray, warped: FloatArray, inside: Inside) -> FloatArray:
    """Give a channel of the warped picture the target's sharpness, contrast and brightness, the same everywhere.

    The light was matched before. If the contrast is still far off, an edit of a plain area causes it: it is not fitted.
    """
    blur = cv2.Laplacian(warped, cv2.CV_32F)
    terms = [np.ones_like(warped), blur, cv2.Laplacian(blur, cv2.CV_32F), warped]
    weights = least_squares(terms, aim - warped, inside)
    if abs(weights[-1]) > _MOST_CONTRAST:
        terms.pop()
        weights = least_squares(terms, aim - warped, inside)
    predicted: FloatArray = warped.copy()
    for weight, term in zip(weights.tolist(), terms, strict=True):
        cv2.scaleAdd(term, weight, predicted, predicted)
    return predicted


_FREQUENCIES, _SAMPLES = np.mgrid[:_BLOCK, :_BLOCK]
_DCT = (np.cos((2 * _SAMPLES + 1) * _FREQUENCIES * math.pi / 16) / 2).astype(np.float32)
_DCT[0] /= np.float32(math.sqrt(2))


def _residual(difference: FloatArray, steps: FloatArray | None, inside: Inside) -> FloatArray:
    """Return the part of a difference that JPEG encoding of the target does not explain, inside.

    The encoder rounds each DCT coefficient to a whole number of steps: up to half a step is explained. What remains is
    the smallest change of the other picture that would make the encoder produce the target.
    """
    if steps is None:
        return difference * inside
    height, width = difference.shape
    blocks = difference.reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK).swapaxes(1, 2)
    found = _DCT @ blocks @ _DCT.T
    found -= np.clip(found, -steps / 2, steps / 2)
    residual: FloatArray = (_DCT.T @ found @ _DCT).swapaxes(1, 2).reshape(height, width) * inside
    return residual


def _root(squares: FloatArray) -> FloatArray:
    """Square root of means, which OpenCV's running sums may leave a little below 0."""
    return np.asarray(np.sqrt(np.maximum(squares, 0)))


def _steepness(channel: FloatArray) -> FloatArray:
    """Squared gradient of a slightly blurred channel."""
    across, down = slopes(cv2.GaussianBlur(channel, (3, 3), 0.8))
    return np.asarray(across * across + down * down)


class _Noise(NamedTuple):
    """The differences that noise and resampling cause in a pair, as the pair itself shows them.

    Attributes
    ----------
    flat : float
        The 0.9 quantile of the differences in the flattest two fifths of the picture, in grey levels.
    share : float
        The 0.95 quantile of how much more they are at edges, as a share of the edges' steepness: from a shift by part
        of a pixel, another filter, rounding.
    most : float
        The same in grey levels: the most that a steep edge explains.
    """

    flat: float
    share: float
    most: float

    @classmethod
    def of(cls, size: FloatArray, steepness: FloatArray, inside: Inside) -> _Noise:
        """Measure it, given the differences and the steepness, both (H, W)."""
        thin, chosen = subsample(inside, _STATISTICS)
        if not chosen.any():
            return cls(math.inf, 0.0, 0.0)
        sizes, steep = size[thin][chosen], steepness[thin][chosen]
        flattest, steepest = np.quantile(steep, (0.4, 0.6))
        flat = float(np.quantile(sizes[steep <= flattest], 0.9))
        edges = steep >= max(float(steepest), _STEEP)
        if not edges.any():
            return cls(flat, 0.0, 0.0)
        more = np.maximum(sizes[edges] - flat, 0)
        return cls(flat, float(np.quantile(more / steep[edges], 0.95)), float(np.quantile(more, 0.95)))

    def explained(self, steepness: FloatArray, unseen: float) -> FloatArray:
        """Return what is explained at each place (H, W), and ``unseen`` levels, which nobody would see, on top."""
        explained: FloatArray = np.minimum(np.float32(min(self.share, _MOST_MISFIT)) * steepness, np.float32(self.most))
        explained += np.float32(self.flat + unseen)
        return explained
