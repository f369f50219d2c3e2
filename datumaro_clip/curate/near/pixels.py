"""Compares the pixels of two thumbnails: what rules.py needs to tell altered copies from look-alikes; with OpenCV."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from datumaro_clip.curate.near.alignment import (
    Mask,
    align_halves,
    best_alignment,
    correlation,
    half_grey,
    shared_region,
    slopes,
    warp,
    warp_half,
)
from datumaro_clip.curate.near.photometry import ALL_NOISES, WITHOUT_NOISE, channel_mean, fit_light
from datumaro_clip.curate.near.rings import SIDE, Map, Orientation, Thumbnail, frame_map
from datumaro_clip.vectors import FloatArray

# Copies have at least these; measuring the rest takes ten times as long.
_LEAST_CORRELATION = 0.8
_LEAST_DETAIL = 0.8
#: The largest difference that a copy may have; the largest of the true copies in the collection of rules.py was 0.11.
LARGEST_PEAK = 0.13
# The same where noise is not modelled: the largest of the true copies was 0.2.
_HOPELESS_PEAK = 0.24
# Least detail at half the size: once aligned, none of 1,300 altered copies was below 0.8, and 3 of 4 look-alikes were.
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
    """Measures of a pair over the region that both pictures show, the second warped to the first.

    Attributes
    ----------
    correlation : float
        Of the grey levels, from -1 to 1.
    detail : float
        Mean correlation in small windows, weighted by their contrast, from -1 to 1.
    evidence : float
        Share of what a two-coloured silhouette leaves unexplained that the other picture explains, at most 1.
    peak : float
        The largest smoothed difference that neither a change of light nor a third of a pixel's shift explains,
        from 0 to 1: large where one picture was edited.
    colour_peak : float
        The same of the colour alone, without lightness.
    grain : float
        Standard deviation of the differences that are finer: noise, compression, resampling.
    light : float
        How much the light changed: 0 where it did not.
    plainness : float
        Share of the picture away from the outline of its silhouette, from 0 to 1; high for a plain object on a plain
        background.
    unmoved : float
        Share of the picture that is the same in both before a change of light is removed, from 0 to 1.
    displaced : float
        How far the map moves the farthest corner, in sides: 0 in the same frame.
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
    """Compare two pictures by a map between them.

    Parameters
    ----------
    first, second : numpy.ndarray
        Shape (96, 96, 3), uint8 RGB.
    where : numpy.ndarray
        Shape (2, 3): maps pixels of the first to pixels of the second.

    Returns
    -------
    PixelMatch
        :data:`NO_MATCH` as soon as one measure rules a copy out.
    """
    inside = shared_region(where)
    if inside is None:
        return NO_MATCH
    one, two = _soft(first), _soft(warp(second, where))
    grey_one, grey_two = channel_mean(one), channel_mean(two)
    whole = correlation(grey_one[inside], grey_two[inside])
    if whole < _LEAST_CORRELATION:
        return NO_MATCH
    shown = _SharedRegion(inside)
    detail = _windowed_correlation(grey_one, grey_two, shown)
    if detail < _LEAST_DETAIL:
        return NO_MATCH
    pixels_one, pixels_two = one[inside], two[inside]
    # Without noise first: a quarter of the work, and enough to rule out most look-alikes.
    for noises, largest in ((WITHOUT_NOISE, _HOPELESS_PEAK), (ALL_NOISES, LARGEST_PEAK)):
        forth, back = fit_light(pixels_one, pixels_two, noises), fit_light(pixels_two, pixels_one, noises)
        source, target, light = (one, two, forth) if forth.error <= back.error else (two, one, back)
        predicted = target.copy()
        predicted[inside] = light.predicted
        residual = target - predicted
        smooth = shown.mean_near(residual, 2.0)
        peak = _peak(smooth, channel_mean(predicted)[..., None], shown)
        if peak > largest:
            return NO_MATCH
    silhouette = _silhouette(source, inside)
    cores = [cv2.erode(part.astype(np.uint8), _SQUARE, iterations=2).sum() for part in silhouette]
    moved = _CORNERS @ where[:, :2].T + where[:, 2] - _CORNERS
    return PixelMatch(
        correlation=whole,
        detail=detail,
        evidence=_evidence(target, residual, silhouette, shown),
        peak=peak,
        colour_peak=_peak(_colour(smooth), _colour(predicted), shown),
        grain=float((residual - smooth)[inside].std()),
        light=light.change,
        plainness=float(sum(cores) / max(inside.sum(), 1)),
        unmoved=float((np.abs(one - two)[inside].max(axis=1) < _SAME).mean()),
        displaced=float(np.linalg.norm(moved, axis=1).max() / SIDE),
        where=tuple(where.ravel().tolist()),
    )


def match(first: Thumbnail, second: Thumbnail, orientation: Orientation) -> PixelMatch:
    """Align a pair, starting from its orientation, and compare it.

    At half the size, where aligning takes a quarter of the time, most look-alikes are ruled out.
    """
    start = frame_map(orientation)
    one, two = half_grey(first), half_grey(second)
    if _half_detail(one, two, start) < _LEAST_HALF_DETAIL:
        start = align_halves(one, two, start)
        if _half_detail(one, two, start) < _LEAST_HALF_DETAIL:
            return NO_MATCH
    return compare(first, second, best_alignment(first, second, start))


def _half_detail(one: FloatArray, two: FloatArray, where: Map) -> float:
    """Return ``PixelMatch.detail`` for pictures of half the size."""
    inside = shared_region(where)
    if inside is None:
        return -1.0
    shown = _SharedRegion(np.ascontiguousarray(inside[::2, ::2]))
    return _windowed_correlation(one, warp_half(two, where), shown, 2.0)


def exchanged(found: PixelMatch) -> PixelMatch:
    """Return the same match with the second picture first."""
    if not found.where:
        return found
    inverse = cv2.invertAffineTransform(np.array(found.where).reshape(2, 3))
    return found._replace(where=tuple(inverse.ravel().tolist()))


def _soft(picture: Thumbnail) -> FloatArray:
    soft: FloatArray = cv2.GaussianBlur(picture.astype(np.float32) / 255, (0, 0), 1.2)
    return soft


class _SharedRegion:
    """The region that both pictures of a pair show, and weighted means over it."""

    def __init__(self, inside: Mask) -> None:
        self.inside = inside
        self.weights = inside.astype(np.float32)
        self.core = cv2.erode(inside.astype(np.uint8), _SQUARE)
        self._planes: dict[tuple[float, int], tuple[FloatArray, FloatArray]] = {}

    def mean_near(self, values: FloatArray, reach: float) -> FloatArray:
        """Return Gaussian means over the region, of one channel (H, W) or of several (H, W, C)."""
        channels = 1 if values.ndim == 2 else values.shape[2]
        if (reach, channels) not in self._planes:
            # Planes are repeated for each channel: broadcasting takes far longer.
            planes = self.weights, np.maximum(cv2.GaussianBlur(self.weights, (0, 0), reach), 0.3)
            self._planes[reach, 1] = planes
            if channels > 1:
                self._planes[reach, channels] = cv2.merge([planes[0]] * channels), cv2.merge([planes[1]] * channels)
        weights, total = self._planes[reach, channels]
        means: FloatArray = cv2.GaussianBlur(values * weights, (0, 0), reach)
        means /= total
        return means


def _windowed_correlation(one: FloatArray, two: FloatArray, shown: _SharedRegion, reach: float = 4.0) -> float:
    """Return the mean correlation in windows of about ten pixels, weighted by the larger contrast, up to a cap."""
    planes = cv2.merge([one, two, one * one, two * two, one * two])
    mean_one, mean_two, square_one, square_two, product = cv2.split(shown.mean_near(planes, reach))
    spread_one, spread_two = square_one - mean_one**2, square_two - mean_two**2
    local = (product - mean_one * mean_two) / np.sqrt(np.maximum(spread_one, 1e-6) * np.maximum(spread_two, 1e-6))
    richer = np.maximum(spread_one, spread_two)
    weights = np.minimum(richer, _STRUCTURE_CAP) * (richer > _STRUCTURE) * shown.inside
    return float((np.clip(local, -1, 1) * weights).sum() / max(float(weights.sum()), 1e-9))


def _colour(picture: FloatArray) -> FloatArray:
    colour: FloatArray = picture - channel_mean(picture)[..., None]
    return colour


def _peak(smooth: FloatArray, picture: FloatArray, shown: _SharedRegion) -> float:
    """Return the largest difference, less what a shift by a third of a pixel makes at the picture's edges."""
    both = (slopes(np.ascontiguousarray(channel)) for channel in np.moveaxis(picture, -1, 0))
    steepness = [shown.mean_near(np.hypot(*each) * shown.core, 2.0) ** 2 for each in both]
    sizes = np.sqrt(channel_mean(smooth**2))
    return float(np.maximum(sizes - _SHIFT * np.sqrt(np.sum(steepness, axis=0)), 0)[shown.inside].max())


def _silhouette(picture: FloatArray, inside: Mask) -> tuple[Mask, Mask]:
    """Split a picture into its light and its dark part (Otsu, 1979)."""
    grey = (channel_mean(picture) * 255).astype(np.uint8)
    level, _ = cv2.threshold(grey[inside][:, None], 0, 255, cv2.THRESH_OTSU)
    return (grey > level) & inside, (grey <= level) & inside


def _evidence(target: FloatArray, residual: FloatArray, parts: tuple[Mask, Mask], shown: _SharedRegion) -> float:
    """Return 1 less the ratio of two errors: of the prediction, and of a silhouette filled with two colours."""
    light, dark = (target[part].mean(axis=0) if part.any() else _BLACK for part in parts)
    by_silhouette = target - np.where(parts[0][..., None], light, dark)
    without = (shown.mean_near(by_silhouette, 1.5)[shown.inside] ** 2).sum()
    with_likeness = (shown.mean_near(residual, 1.5)[shown.inside] ** 2).sum()
    return float(1 - with_likeness / (without + 1e-6))
