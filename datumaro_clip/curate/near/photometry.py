"""Fits the change of light between two thumbnails: gain, offset and saturation, with noise and clipping."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.float32]
Levels = npt.NDArray[np.float64]

# Within these bounds a pair counts as one picture in another light.
_GAIN = (0.4, 2.2)
_OFFSET = (-0.35, 0.35)
_SATURATION = (0.5, 1.6)
_NOISE = (0.0, 0.12, 0.22, 0.35)
#: How many noise levels to try, the lowest first.
WITHOUT_NOISE, ALL_NOISES = 1, len(_NOISE)
_MARGIN = 0.02
_FEWEST = 12
_LEVELS = np.linspace(-1.5, 2.5, 4001)
_LEVELS_A_UNIT = (len(_LEVELS) - 1) / (_LEVELS[-1] - _LEVELS[0])
# A change of light must reduce the error to this share of what it is without a change.
_WORTHWHILE = 0.95
# Every fifth of some thousand neighbouring pixels is enough.
_STRIDE = 5


class Light(NamedTuple):
    """A change of light, the prediction that it makes of the second picture, and its mean squared error."""

    gain: float
    offset: float
    saturation: float
    error: float
    predicted: Pixels

    @property
    def change(self) -> float:
        """How much the light changed: 0 for no change, 0.7 for a brightness that was doubled or raised by 0.7."""
        return abs(math.log(self.gain)) + abs(self.offset) + 0.3 * abs(math.log(self.saturation))


def fit_light(source: Pixels, target: Pixels, noises: int = ALL_NOISES) -> Light:
    """Fit the change of light that turns the pixels of one picture into those of another.

    The model is ``target = E[clip(gain * source + offset + noise)]`` with one of a few levels of noise: noise on white
    can only darken, so that the mean of many pixels is a curve, not a line.

    Parameters
    ----------
    source, target : numpy.ndarray
        Shape (P, 3), float32 from 0 to 1: RGB at the same places.
    noises : int
        How many of the levels of noise to try, the lowest first.
    """
    some, aim = np.ascontiguousarray(source[::_STRIDE]), np.ascontiguousarray(target[::_STRIDE])
    best, light = _error(some, aim), (1.0, 0.0, 1.0, _CURVES[0])
    unchanged = _relit(some, 1.0, 0.0, 1.0)
    for curve in _CURVES[:noises]:
        unclipped = _Unclipped(some, aim, curve)
        for change in ((1.0, 0.0, 1.0), unclipped.exposed(), unclipped.solve()):
            lit = unchanged if change == (1.0, 0.0, 1.0) else _relit(some, *change)
            error = _error(curve(lit), aim)
            if error < best * _WORTHWHILE:
                best, light = error, (*change, curve)
    gain, offset, saturation, curve = light
    predicted = curve(_relit(source, gain, offset, saturation))
    return Light(gain, offset, saturation, _error(predicted, target), predicted)


class _Curve:
    """Mean of ``clip(level + noise, 0, 1)`` over normal noise, for each of ``_LEVELS``."""

    def __init__(self, noise: float) -> None:
        self._noise = noise
        self._means = _clipped_means(noise)
        self._rounded = self._means.astype(np.float32)
        black, white = np.interp([0.0, 1.0], _LEVELS, self._means)
        self.low, self.high = float(black) + _MARGIN, float(white) - _MARGIN

    def inverse(self, values: Pixels) -> Levels:
        """Return the level that has each value as its mean."""
        return np.interp(values, self._means, _LEVELS)

    def __call__(self, levels: Pixels) -> Pixels:
        """Return the mean of each level, looked up at the nearest of the evenly spaced ``_LEVELS``."""
        if not self._noise:
            return np.asarray(np.clip(levels, 0, 1))
        places = np.subtract(levels, _LEVELS[0])
        places *= _LEVELS_A_UNIT
        # A step is a quarter of a grey level.
        np.rint(places, out=places)
        return np.asarray(self._rounded.take(places.astype(np.int64), mode="clip"))


def _clipped_means(noise: float) -> Levels:
    if not noise:
        return np.clip(_LEVELS, 0, 1)
    low, high = (0 - _LEVELS) / noise, (1 - _LEVELS) / noise
    below, under = _normal(low), _normal(high)
    density = np.exp(-(low**2) / 2) - np.exp(-(high**2) / 2)
    return _LEVELS * (under - below) + noise * density / math.sqrt(2 * math.pi) + 1 - under


def _normal(values: Levels) -> Levels:
    """Cumulative normal distribution."""
    return np.array([0.5 * (1 + math.erf(value / math.sqrt(2))) for value in values.tolist()])


_CURVES = tuple(_Curve(noise) for noise in _NOISE)


class _Unclipped:
    """The pixels of a pair that a curve does not clip, as levels of light."""

    def __init__(self, source: Pixels, target: Pixels, curve: _Curve) -> None:
        self._source = source
        self._inside = (target > curve.low) & (target < curve.high)
        self._levels = np.zeros(target.shape)
        self._levels[self._inside] = curve.inverse(target[self._inside])

    def exposed(self) -> tuple[float, float, float]:
        """Fit the gain alone, as of a longer exposure, by least squares over the values that are not clipped."""
        x = self._source[self._inside]
        if len(x) < _FEWEST:
            return 1.0, 0.0, 1.0
        y = self._levels[self._inside]
        return _within((x * y).sum() / ((x * x).sum() + 1e-5), *_GAIN), 0.0, 1.0

    def solve(self) -> tuple[float, float, float]:
        """Fit gain, offset and saturation by least squares over the pixels that are not clipped."""
        inside = self._inside[:, 0] & self._inside[:, 1] & self._inside[:, 2]
        x = self._source[inside]
        if len(x) < _FEWEST:
            return 1.0, 0.0, 1.0
        y = self._levels[inside]
        grey_x, grey_y = channel_mean(x), channel_mean(y)
        spread = grey_x - grey_x.mean()
        together = (spread * (grey_y - grey_y.mean())).mean()
        gain = _within(together / (grey_x.var() + 1e-5), *_GAIN)
        offset = _within(grey_y.mean() - gain * grey_x.mean(), *_OFFSET)
        colour_x, colour_y = x - grey_x[:, None], y - grey_y[:, None]
        colour = (colour_x * colour_y).sum() / ((colour_x * colour_x).sum() + 1e-3)
        return gain, offset, _within(colour / gain, *_SATURATION)


def channel_mean(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the mean over the three channels of floats (..., 3); ten times as fast as ``mean``."""
    grey: npt.NDArray[Any] = (pixels[..., 0] + pixels[..., 1] + pixels[..., 2]) / np.float32(3)
    return grey


def _within(value: float, low: float, high: float) -> float:
    return float(min(max(value, low), high))


def _relit(source: Pixels, gain: float, offset: float, saturation: float) -> Pixels:
    """Apply a change of light, without clipping or noise."""
    lit: Pixels = np.float32(gain) * source
    lit += np.float32(offset)
    grey = channel_mean(lit)[:, None]
    lit -= grey
    lit *= np.float32(saturation)
    lit += grey
    return lit


def _error(predicted: Pixels, target: Pixels) -> float:
    """Mean squared error."""
    difference = (predicted - target).ravel()
    return float(difference @ difference) / max(len(difference), 1)
