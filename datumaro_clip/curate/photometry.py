"""How one picture's brightness became another's: gain, offset, saturation, noise, and the clipping after each."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.float32]

# Bounds of what still counts as the same picture in another light.
_GAIN = (0.4, 2.2)
_OFFSET = (-0.35, 0.35)
_SATURATION = (0.5, 1.6)
_NOISE = (0.0, 0.12, 0.22, 0.35)
_MARGIN = 0.02
_FEWEST = 12
_LEVELS = np.linspace(-1.5, 2.5, 4001)
# A change of light has to explain clearly more than no change does.
_WORTHWHILE = 0.95
# Three thousand neighbouring pixels say no more than every fifth of them.
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
        """How much the light changed, 0 where it did not: a brightness doubled, or raised by 0.7, gives 0.7."""
        return abs(math.log(self.gain)) + abs(self.offset) + 0.3 * abs(math.log(self.saturation))


def fit_light(source: Pixels, target: Pixels) -> Light:
    """Explain the pixels of one picture by those of another.

    The model is ``target = E[clip(gain * source + offset + noise)]``, its noise one of a few levels: noise on white
    can only darken, which makes the mean of many pixels a curve, not a line.

    Parameters
    ----------
    source, target : numpy.ndarray
        Shape (P, 3), float32 from 0 to 1: RGB at the same places.
    """
    some, aim = source[::_STRIDE], target[::_STRIDE]
    best, light = _error(some, aim), (1.0, 0.0, 1.0, _CURVES[0])
    for curve in _CURVES:
        for change in ((1.0, 0.0, 1.0), _exposed(some, aim, curve), _solve(some, aim, curve)):
            error = _error(_lit(some, curve, *change), aim)
            if error < best * _WORTHWHILE:
                best, light = error, (*change, curve)
    gain, offset, saturation, curve = light
    predicted = _lit(source, curve, gain, offset, saturation)
    return Light(gain, offset, saturation, _error(predicted, target), predicted)


def _clipped_mean(noise: float) -> npt.NDArray[np.float64]:
    """Mean of ``clip(level + noise, 0, 1)`` over normal noise, for each of ``_LEVELS``."""
    if not noise:
        return np.clip(_LEVELS, 0, 1)
    low, high = (0 - _LEVELS) / noise, (1 - _LEVELS) / noise
    below, under = _normal(low), _normal(high)
    density = np.exp(-(low**2) / 2) - np.exp(-(high**2) / 2)
    mean: npt.NDArray[np.float64] = _LEVELS * (under - below) + noise * density / math.sqrt(2 * math.pi) + 1 - under
    return mean


def _normal(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Cumulative normal distribution."""
    return np.array([0.5 * (1 + math.erf(value / math.sqrt(2))) for value in values.tolist()])


_CURVES = tuple(_clipped_mean(noise) for noise in _NOISE)


def _exposed(source: Pixels, target: Pixels, curve: npt.NDArray[Any]) -> tuple[float, float, float]:
    """Gain alone, as of a longer exposure: by least squares over the values that are not clipped."""
    low, high = np.interp([0.0, 1.0], _LEVELS, curve)
    inside = (target > low + _MARGIN) & (target < high - _MARGIN)
    if inside.sum() < _FEWEST:
        return 1.0, 0.0, 1.0
    x, y = source[inside], np.interp(target[inside], curve, _LEVELS)
    return float(np.clip((x * y).sum() / ((x * x).sum() + 1e-5), *_GAIN)), 0.0, 1.0


def _solve(source: Pixels, target: Pixels, curve: npt.NDArray[Any]) -> tuple[float, float, float]:
    """Gain, offset and saturation by least squares over the pixels that are not clipped."""
    low, high = np.interp([0.0, 1.0], _LEVELS, curve)
    inside = ((target > low + _MARGIN) & (target < high - _MARGIN)).all(axis=1)
    if inside.sum() < _FEWEST:
        return 1.0, 0.0, 1.0
    x, y = source[inside], np.interp(target[inside], curve, _LEVELS)
    grey_x, grey_y = x.mean(axis=1), y.mean(axis=1)
    together = ((grey_x - grey_x.mean()) * (grey_y - grey_y.mean())).mean()
    gain = float(np.clip(together / (grey_x.var() + 1e-5), *_GAIN))
    offset = float(np.clip(grey_y.mean() - gain * grey_x.mean(), *_OFFSET))
    colour_x, colour_y = x - grey_x[:, None], y - grey_y[:, None]
    colour = (colour_x * colour_y).sum() / ((colour_x * colour_x).sum() + 1e-3)
    return gain, offset, float(np.clip(colour / gain, *_SATURATION))


def _lit(source: Pixels, curve: npt.NDArray[Any], gain: float, offset: float, saturation: float) -> Pixels:
    """The source in another light."""
    lit = np.float32(gain) * source + np.float32(offset)
    grey = ((lit[:, 0] + lit[:, 1] + lit[:, 2]) / np.float32(3))[:, None]
    coloured = grey + np.float32(saturation) * (lit - grey)
    if curve is _CURVES[0]:
        clipped: Pixels = np.clip(coloured, 0, 1).astype(np.float32)
        return clipped
    # The levels are evenly spaced, so that a look-up needs no search; a step is a quarter of a grey level.
    places = (coloured - _LEVELS[0]) * ((len(_LEVELS) - 1) / (_LEVELS[-1] - _LEVELS[0]))
    looked_up: Pixels = curve[np.clip(places.round(), 0, len(_LEVELS) - 1).astype(np.int64)].astype(np.float32)
    return looked_up


def _error(predicted: Pixels, target: Pixels) -> float:
    """Mean squared error."""
    difference = (predicted - target).ravel()
    return float(difference @ difference) / max(len(difference), 1)
