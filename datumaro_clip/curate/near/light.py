"""Finds the change of light between two aligned pictures at full resolution; with OpenCV."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from datumaro_clip.curate.near.overlay import Inside, Pixels, subsample
from datumaro_clip.curate.near.photometry import fit_light
from datumaro_clip.vectors import FloatArray

_PLACES = 8_000
_FEWEST = 50
# A change of light must reduce the error to this share of what it is without a change.
_WORTHWHILE = 0.95
_TRIMMED = 0.9
_LEVELS, _FEWEST_OF_LEVEL = 32, 20
_CLIPPED = 0.02
_DARK, _LIGHT = 1, 254
_LEAST_RANGE, _LEAST_GAIN = 0.1, 0.3
_UNIT = np.float32(1 / 255)


class Change(NamedTuple):
    """A change of light by gain, offset and saturation, with clipping; where ``back``, the inverse of one."""

    gain: float
    offset: float
    saturation: float
    back: bool

    def of(self, picture: FloatArray) -> FloatArray:
        """Apply the change to a picture (..., 3), float32 from 0 to 1."""
        gain, offset, saturation = map(np.float32, self[:3])
        if not self.back:
            picture = gain * picture + offset
        if saturation != 1:
            mean = picture.mean(axis=-1, keepdims=True)
            picture = mean + (picture - mean) * (1 / saturation if self.back else saturation)
        if self.back:
            picture = (picture - offset) / gain
        return np.asarray(np.clip(picture, 0, 1), np.float32)

    def lit(self, warped: Pixels, target: Pixels) -> Pixels | FloatArray:
        """Return the warped picture in the target's light: floats from 0 to 255; itself where nothing changes.

        Pixels that are clipped to white or black take the target's value where that lies beyond: theirs is lost.
        """
        if self == NO_CHANGE:
            return warped
        lit: FloatArray = self.of(_UNIT * warped.astype(np.float32)) * np.float32(255)
        np.copyto(lit, np.maximum(lit, target), where=warped >= _LIGHT)
        np.copyto(lit, np.minimum(lit, target), where=warped <= _DARK)
        return lit


NO_CHANGE = Change(1.0, 0.0, 1.0, False)


def find_change(warped: Pixels, target: Pixels, inside: Inside) -> Change:
    """Find the change of light, or the inverse of one, that brings the warped picture closest to the target.

    Parameters
    ----------
    warped, target : numpy.ndarray
        Shape (H, W, 3), uint8 RGB: the warped picture, and the one it was warped to.
    inside : numpy.ndarray
        Shape (H, W), uint8: 1 where both show something.
    """
    thin, shown = subsample(inside, _PLACES)
    if shown.sum() < _FEWEST:
        return NO_CHANGE
    one, two = (_UNIT * each[thin][shown].astype(np.float32) for each in (warped, target))
    soft_one, soft_two = (_UNIT * cv2.blur(each, (3, 3))[thin][shown].astype(np.float32) for each in (warped, target))
    changes = [NO_CHANGE, *_by_medians(one, two, False), *_by_medians(two, one, True)]
    for back, light in enumerate((fit_light(soft_one, soft_two), fit_light(soft_two, soft_one))):
        changes.append(Change(light.gain, light.offset, light.saturation, bool(back)))
    errors = [_error(change.of(one), two) for change in changes]
    best = int(np.argmin(errors))
    return changes[best] if errors[best] < _WORTHWHILE * errors[0] else NO_CHANGE


def _error(lit: FloatArray, target: FloatArray) -> float:
    """Return the mean difference without the largest tenth, so that an edit does not count as a change of light."""
    differences = np.abs(lit - target).ravel()
    most = int(_TRIMMED * (len(differences) - 1))
    return float(np.partition(differences, most)[:most].mean())


def _by_medians(source: FloatArray, aim: FloatArray, back: bool) -> list[Change]:
    """Fit gain and offset to the medians of what each of 32 levels became; no change where they do not suffice.

    This is for text on white. Least squares over all pixels would take the ringing around letters, which is clipped at
    white, for a loss of contrast.
    """
    values, wanted = source.ravel(), aim.ravel()
    levels = np.minimum((_LEVELS * values).astype(np.int64), _LEVELS - 1)
    order = np.argsort(levels, kind="stable")
    parts = np.split(order, np.searchsorted(levels[order], np.arange(1, _LEVELS)))
    parts = [part for part in parts if len(part) >= _FEWEST_OF_LEVEL]
    x, y = (np.array([np.median(each[part]) for part in parts]) for each in (values, wanted))
    unclipped = (y > _CLIPPED) & (y < 1 - _CLIPPED)
    if unclipped.sum() < 2 or np.ptp(x[unclipped]) < _LEAST_RANGE:
        return []
    weights = np.sqrt([len(part) for part in parts])[unclipped]
    gain, offset = np.polyfit(x[unclipped], y[unclipped], 1, w=weights)
    return [Change(float(gain), float(offset), 1.0, back)] if gain > _LEAST_GAIN else []
