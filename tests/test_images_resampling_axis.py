"""One axis resized: weights that make up a whole, and sums rounded as exact ones are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL.Image import Resampling

from datumaro_clip.images.resampling import AxisFilter, taps_of

STEPS = 1 << 22  # Pillow's weights are whole multiples of 1/STEPS.


def axis(inputs: int, outputs: int, resample: Resampling) -> tuple[AxisFilter, np.ndarray, np.ndarray]:
    """A filter for all outputs, the first input of each, and its weights in whole steps."""
    first, taps = taps_of(inputs, outputs, np.arange(outputs), resample)
    return AxisFilter(inputs, inputs / outputs, first, taps), first, np.rint(taps * STEPS).astype(np.int64)


def in_integers(levels: np.ndarray, first: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """What Pillow's integers make of levels (inputs, M): halves up, and nothing lost before."""
    padded = np.pad(levels.astype(np.int64), ((weights.shape[1], weights.shape[1]), (0, 0)))
    windows = padded[(first + weights.shape[1])[:, None] + np.arange(weights.shape[1])]
    return np.clip((np.einsum("nt,ntm->nm", weights, windows) + STEPS // 2) // STEPS, 0, 255)


@settings(max_examples=200, database=None)
@given(st.integers(1, 400), st.integers(1, 300), st.sampled_from(list(Resampling)), st.integers(0, 2**32 - 1))
@example(448, 224, Resampling.BILINEAR, 0)
@example(112, 224, Resampling.BICUBIC, 0)
def test_it_sums_as_integers_do(inputs: int, outputs: int, resample: Resampling, seed: int) -> None:
    """Halving and doubling have weights of few bits: many sums are halves exactly, and none may go down."""
    makes, first, weights = axis(inputs, outputs, resample)
    levels = np.random.default_rng(seed).integers(0, 256, (inputs, 5, 3), np.uint8)
    got = makes(levels[makes.start : makes.stop])
    np.testing.assert_array_equal(got.reshape(outputs, -1), in_integers(levels.reshape(inputs, -1), first, weights))


@given(st.integers(1, 2000), st.integers(1, 500), st.sampled_from(list(Resampling)))
def test_a_plain_picture_stays_what_it_is(inputs: int, outputs: int, resample: Resampling) -> None:
    """Each output's weights make up one, but for the rounding of each."""
    weights = axis(inputs, outputs, resample)[2]
    assert np.abs(weights.sum(axis=1) - STEPS).max() <= weights.shape[1]


def test_few_sums_are_made_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """None, and the rounding of float32 would be seen; many, and nothing would be gained."""
    makes, *_ = axis(1001, 305, Resampling.BICUBIC)
    made_again: list[int] = []
    exact = AxisFilter._exact
    monkeypatch.setattr(AxisFilter, "_exact", lambda self, *at: made_again.append(len(at[0])) or exact(self, *at))
    outputs = makes(np.random.default_rng(0).integers(0, 256, (1001, 300, 3), np.uint8))
    assert 0 < sum(made_again) < outputs.size / 500


@pytest.mark.parametrize("inputs", [1, 100, 500, 2000, 10_000, 100_000])
def test_what_is_worked_on_at_a_time_is_bounded(inputs: int) -> None:
    """The inputs and the outputs of a step, as float32; however large a picture is, one pixel of it is made."""
    step = axis(inputs, 224, Resampling.BICUBIC)[0].step
    assert step >= 1
    assert (inputs + 224) * step * 3 * 4 < 8e6
