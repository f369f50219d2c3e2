"""Whether one picture is an altered copy of another, decided by their pixels; with OpenCV."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from datumaro_clip.curate.near.alignment import (
    Map,
    Mask,
    align_halves,
    best_alignment,
    correlation,
    half_grey,
    halves_laid_on,
    laid_on,
    shared_region,
)
from datumaro_clip.curate.near.photometry import ALL_NOISES, WITHOUT_NOISE, Light, fit_light
from datumaro_clip.curate.near.rings import SIDE, Orientation, Thumbnail, frame_map
from datumaro_clip.vectors import FloatArray

# What a copy has at least; to look further costs ten times as much.
_LEAST_CORRELATION = 0.8
_LEAST_DETAIL = 0.8
#: The largest difference that a copy may have; of true ones in the collection of rules.py it was 0.11.
LARGEST_PEAK = 0.13
# The same where noise was not thought of: of true ones it was 0.2.
_HOPELESS_PEAK = 0.24
# The same at half the size: of 1,300 altered copies none was below 0.8, once aligned, and three in four look-alikes.
_LEAST_HALF_DETAIL = 0.75
_SHIFT = 0.3
# Five of 255 levels.
_SAME = 0.02
_CORNERS = SIDE * np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float64)
_SQUARE = np.ones((3, 3), np.uint8)
_BLACK = np.zeros(3, np.float32)
_STRUCTURE = 4e-4
_STRUCTURE_CAP = 1e-2


class PixelMatch(NamedTuple):
    """What comparing the pixels of a pair showed, over what both show, the second laid on the first.

    Attributes
    ----------
    correlation : float
        Of the greys, from -1 to 1.
    detail : float
        Mean correlation in small windows, weighted by how much there is to see in them, from -1 to 1.
    evidence : float
        Share of the picture that its silhouette alone does not explain and the pair's likeness does, at most 1.
    peak : float
        The largest smoothed difference that neither a change of light nor a third of a pixel's shift explains,
        from 0 to 1: where an edit would be.
    colour_peak : float
        The same of the colour alone, lightness left out.
    grain : float
        Standard deviation of the differences too fine for either: noise, compression, resampling.
    light : float
        How much the light changed: 0 where it did not.
    plainness : float
        Share of the picture away from the outline of its silhouette, from 0 to 1; high for a plain thing on a
        plain ground.
    unmoved : float
        Share of the picture that is the same in both before any change of light is taken away, from 0 to 1.
    displaced : float
        How far the farthest corner moves when the second is laid on the first, in sides: 0 in the same frame.
    where : tuple of float
        The map (2, 3), row by row, from pixels of the smoother thumbnail to pixels of the other.
    """

    correlation: float
    detail: float
    evidence: float
    peak: float
    colour_peak: float
    grain: float
    light: float
    plainness: float
    unmoved: float
    displaced: float
    where: tuple[float, ...] = ()


NO_MATCH = PixelMatch(-1.0, -1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0)


def compare(first: Thumbnail, second: Thumbnail, where: Map) -> PixelMatch:
    """Compare two pictures, once the second is laid on the first.

    Parameters
    ----------
    first, second : numpy.ndarray
        Shape (96, 96, 3), uint8 RGB.
    where : numpy.ndarray
        Shape (2, 3): maps pixels of the first to pixels of the second.
    """
    inside = shared_region(where)
    if inside is None:
        return NO_MATCH
    one, two = _soft(first), _soft(laid_on(second, where))
    grey_one, grey_two = _grey(one), _grey(two)
    whole = correlation(grey_one[inside], grey_two[inside])
    if whole < _LEAST_CORRELATION:
        return NO_MATCH
    shown = _Shown(inside)
    detail = _windowed_correlation(grey_one, grey_two, shown)
    if detail < _LEAST_DETAIL:
        return NO_MATCH
    unexplained = _unexplained(one, two, shown)
    if unexplained is None:
        return NO_MATCH
    return PixelMatch(whole, detail, *unexplained, _displacement(where), tuple(where.ravel().tolist()))


def match(first: Thumbnail, second: Thumbnail, orientation: Orientation) -> PixelMatch:
    """Align a pair from its orientation on, and compare it.

    Look-alikes are told apart at half the size, where aligning takes a quarter of the time: most pairs end there.
    """
    start = frame_map(orientation)
    one, two = half_grey(first), half_grey(second)
    if _half_detail(one, two, start) < _LEAST_HALF_DETAIL:
        start = align_halves(one, two, start)
        if _half_detail(one, two, start) < _LEAST_HALF_DETAIL:
            return NO_MATCH
    return compare(first, second, best_alignment(first, second, start))


def _half_detail(one: FloatArray, two: FloatArray, where: Map) -> float:
    """As ``PixelMatch.detail``, of pictures of half the size."""
    inside = shared_region(where)
    if inside is None:
        return -1.0
    shown = _Shown(np.ascontiguousarray(inside[::2, ::2]))
    return _windowed_correlation(one, halves_laid_on(two, where), shown, 2.0)


def exchanged(found: PixelMatch) -> PixelMatch:
    """The same match with the second picture first."""
    if not found.where:
        return found
    inverse = cv2.invertAffineTransform(np.array(found.where).reshape(2, 3))
    return found._replace(where=tuple(inverse.ravel().tolist()))


def _displacement(where: Map) -> float:
    moved = _CORNERS @ where[:, :2].T + where[:, 2] - _CORNERS
    return float(np.linalg.norm(moved, axis=1).max() / SIDE)


def _soft(picture: Thumbnail) -> FloatArray:
    soft: FloatArray = cv2.GaussianBlur(picture.astype(np.float32) / 255, (0, 0), 1.2)
    return soft


def _grey(picture: FloatArray) -> FloatArray:
    """Mean over the channels; adding them is ten times as fast as asking for it."""
    grey: FloatArray = (picture[..., 0] + picture[..., 1] + picture[..., 2]) / np.float32(3)
    return grey


class _Shown:
    """Where both pictures of a pair are to be trusted, and means over it."""

    def __init__(self, inside: Mask) -> None:
        self.inside = inside
        self.weights = inside.astype(np.float32)
        self.core = cv2.erode(inside.astype(np.uint8), _SQUARE)
        self._planes: dict[tuple[float, int], tuple[FloatArray, FloatArray]] = {}

    def mean_near(self, values: FloatArray, reach: float) -> FloatArray:
        """Gaussian means, of one channel (H, W) or of several (H, W, C)."""
        weights, total = self._weighing(reach, 1 if values.ndim == 2 else values.shape[2])
        means: FloatArray = cv2.GaussianBlur(values * weights, (0, 0), reach)
        means /= total
        return means

    def _weighing(self, reach: float, channels: int) -> tuple[FloatArray, FloatArray]:
        """Weights, and what they come to around each pixel, for as many channels: broadcasting takes far longer."""
        if (reach, channels) not in self._planes:
            planes = self.weights, np.maximum(cv2.GaussianBlur(self.weights, (0, 0), reach), 0.3)
            self._planes[reach, 1] = planes
            if channels > 1:
                self._planes[reach, channels] = cv2.merge([planes[0]] * channels), cv2.merge([planes[1]] * channels)
        return self._planes[reach, channels]


def _windowed_correlation(one: FloatArray, two: FloatArray, shown: _Shown, reach: float = 4.0) -> float:
    """Correlation in windows of some ten pixels, weighted by the contrast of the richer picture, up to a cap."""
    planes = cv2.merge([one, two, one * one, two * two, one * two])
    mean_one, mean_two, square_one, square_two, product = cv2.split(shown.mean_near(planes, reach))
    spread_one, spread_two = square_one - mean_one**2, square_two - mean_two**2
    local = (product - mean_one * mean_two) / np.sqrt(np.maximum(spread_one, 1e-6) * np.maximum(spread_two, 1e-6))
    richer = np.maximum(spread_one, spread_two)
    weights = np.minimum(richer, _STRUCTURE_CAP) * (richer > _STRUCTURE) * shown.inside
    return float((np.clip(local, -1, 1) * weights).sum() / max(float(weights.sum()), 1e-9))


class _Unexplained(NamedTuple):
    evidence: float
    peak: float
    colour_peak: float
    grain: float
    light: float
    plainness: float
    unmoved: float


def _unexplained(one: FloatArray, two: FloatArray, shown: _Shown) -> _Unexplained | None:
    """What is left of the one picture when the other, in the best light, is taken away; None where that is too much."""
    inside = shown.inside
    # Without noise first, which is a quarter of the work, and far enough off for most look-alikes.
    for noises, largest in ((WITHOUT_NOISE, _HOPELESS_PEAK), (ALL_NOISES, LARGEST_PEAK)):
        source, target, light = _best_light(one, two, inside, noises)
        predicted = target.copy()
        predicted[inside] = light.predicted
        left = target - predicted
        smooth = shown.mean_near(left, 2.0)
        peak = _peak(smooth, _grey(predicted)[..., None], shown)
        if peak > largest:
            return None
    parts = _silhouette(source, inside)
    return _Unexplained(
        _evidence(target, left, parts, shown),
        peak,
        _peak(_colour(smooth), _colour(predicted), shown),
        float((left - smooth)[inside].std()),
        light.change,
        _plainness(parts, inside),
        float((np.abs(one - two)[inside].max(axis=1) < _SAME).mean()),
    )


def _best_light(one: FloatArray, two: FloatArray, inside: Mask, noises: int) -> tuple[FloatArray, FloatArray, Light]:
    """The picture that explains the other better, the other, and how."""
    pixels_one, pixels_two = one[inside], two[inside]
    forth, back = fit_light(pixels_one, pixels_two, noises), fit_light(pixels_two, pixels_one, noises)
    return (one, two, forth) if forth.error <= back.error else (two, one, back)


def _colour(picture: FloatArray) -> FloatArray:
    colour: FloatArray = picture - _grey(picture)[..., None]
    return colour


def _peak(smooth: FloatArray, picture: FloatArray, shown: _Shown) -> float:
    """The largest difference, less what a shift by a third of a pixel makes at the picture's edges."""
    slopes = [shown.mean_near(_slope(channel, shown), 2.0) ** 2 for channel in np.moveaxis(picture, -1, 0)]
    sizes = np.sqrt(_grey(smooth**2))
    return float(np.maximum(sizes - _SHIFT * np.sqrt(np.sum(slopes, axis=0)), 0)[shown.inside].max())


def _slope(channel: FloatArray, shown: _Shown) -> FloatArray:
    """Change per pixel."""
    channel = np.ascontiguousarray(channel)
    across, down = (cv2.Sobel(channel, cv2.CV_32F, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1)))
    slope: FloatArray = np.hypot(across, down) * shown.core
    return slope


def _silhouette(picture: FloatArray, inside: Mask) -> tuple[Mask, Mask]:
    """The light and the dark part of a picture, split where they part best (Otsu, 1979)."""
    grey = (_grey(picture) * 255).astype(np.uint8)
    level, _ = cv2.threshold(grey[inside][:, None], 0, 255, cv2.THRESH_OTSU)
    return (grey > level) & inside, (grey <= level) & inside


def _evidence(target: FloatArray, left: FloatArray, parts: tuple[Mask, Mask], shown: _Shown) -> float:
    """One less the error of the pair's likeness over that of a silhouette filled with two colours."""
    light, dark = (target[part].mean(axis=0) if part.any() else _BLACK for part in parts)
    by_silhouette = target - np.where(parts[0][..., None], light, dark)
    without = (shown.mean_near(by_silhouette, 1.5)[shown.inside] ** 2).sum()
    with_likeness = (shown.mean_near(left, 1.5)[shown.inside] ** 2).sum()
    return float(1 - with_likeness / (without + 1e-6))


def _plainness(parts: tuple[Mask, Mask], inside: Mask) -> float:
    cores = [cv2.erode(part.astype(np.uint8), _SQUARE, iterations=2).sum() for part in parts]
    return float(sum(cores) / max(inside.sum(), 1))
