"""Means of noisy pixels that clip: a look-up of a quarter of a grey level a step, and its way back."""

from __future__ import annotations

import math

import numpy as np
import pytest

from datumaro_clip.curate.near import photometry
from datumaro_clip.curate.near.photometry import _CURVES, _LEVELS, _Curve

NOISY = [curve for curve in _CURVES if curve._noise]


@pytest.mark.parametrize("curve", NOISY)
def test_each_level_has_the_mean_that_is_worked_out_for_it(curve: _Curve) -> None:
    """A look-up that is one step off would move every picture's light."""
    np.testing.assert_array_equal(curve(_LEVELS), curve._means.astype(np.float32))
    between = np.linspace(0, 1, 500)
    np.testing.assert_allclose(curve(between), np.interp(between, _LEVELS, curve._means), atol=0.6 / 1020)


@pytest.mark.parametrize("curve", NOISY)
def test_noise_brightens_black_and_darkens_white_by_the_same(curve: _Curve) -> None:
    """By the mean of a normal deviate above zero, sigma / sqrt(2 pi)."""
    lift = curve._noise / math.sqrt(2 * math.pi)
    assert curve.low - photometry._MARGIN == pytest.approx(lift, abs=1e-3)
    assert curve.high + photometry._MARGIN == pytest.approx(1 - lift, abs=1e-3)


@pytest.mark.parametrize("curve", NOISY)
def test_the_way_back_finds_the_level(curve: _Curve) -> None:
    levels = np.linspace(0.05, 0.95, 50)
    np.testing.assert_allclose(curve.inverse(np.interp(levels, _LEVELS, curve._means)), levels, atol=1e-9)


def test_without_enough_pixels_that_do_not_clip_nothing_is_changed() -> None:
    white = np.ones((5000, 3), np.float32)
    few = np.concatenate([white[:-3], 0.5 * white[-3:]])
    for pixels in (white[:0], white, few):
        unclipped = photometry._Unclipped(pixels, pixels, NOISY[0])
        assert unclipped.exposed() == unclipped.solve() == (1.0, 0.0, 1.0)


def test_without_noise_a_level_is_its_own_mean() -> None:
    [plain] = [curve for curve in _CURVES if not curve._noise]
    assert plain(np.array([-0.5, 0.25, 1.5])).tolist() == [0, 0.25, 1]
