"""Windows are resized to the very pixels that Pillow makes; along each axis, sums are rounded as exact ones are."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from datumaro_clip.images.resampling import AxisFilter, Window, resize_window, taps_of

FILTERS = list(Image.Resampling)


def noise(width: int, height: int, levels: int = 256) -> Image.Image:
    """A picture of nothing but detail, in so many levels from black to white."""
    chance = np.random.default_rng(width * 7919 + height)
    steps = chance.integers(0, levels, (height, width, 3)) * 255 // (levels - 1)
    return Image.fromarray(steps.astype(np.uint8))


def assert_pillow_agrees(
    picture: Image.Image, size: tuple[int, int], window: Window, resample: Image.Resampling
) -> None:
    ours = resize_window(picture, size, window, resample)
    np.testing.assert_array_equal(ours, np.asarray(picture.resize(size, resample).crop(window)))
    assert ours.flags.c_contiguous
    assert ours.flags.writeable


@st.composite
def windows(draw: st.DrawFn) -> tuple[tuple[int, int], Window]:
    """A size, and a window within it."""
    width, height = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return (width, height), (left, top, draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height)))


@settings(max_examples=300, database=None)
@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from([2, 3, 256]), windows(), st.sampled_from(FILTERS))
@example(1, 1, 2, ((1, 1), (0, 0, 1, 1)), Image.Resampling.BICUBIC)
@example(300, 200, 256, ((300, 200), (20, 0, 100, 200)), Image.Resampling.BICUBIC)
@example(640, 480, 256, ((298, 224), (37, 0, 261, 224)), Image.Resampling.BICUBIC)
@example(3, 650, 256, ((224, 224), (0, 0, 224, 224)), Image.Resampling.BICUBIC)
@example(650, 3, 256, ((224, 224), (100, 3, 224, 5)), Image.Resampling.LANCZOS)
@example(6, 601, 256, ((9, 700), (2, 600, 9, 700)), Image.Resampling.BILINEAR)
def test_every_filter_makes_pillows_pixels(
    width: int, height: int, levels: int, part: tuple[tuple[int, int], Window], resample: Image.Resampling
) -> None:
    assert_pillow_agrees(noise(width, height, levels), *part, resample)


def test_a_large_picture_is_made_strip_by_strip() -> None:
    """The whole of it in float32 would be 96 MB."""
    picture = noise(4000, 2000)
    tracemalloc.start()
    try:
        assert_pillow_agrees(picture, (448, 224), (112, 0, 336, 224), Image.Resampling.BICUBIC)
        assert tracemalloc.get_traced_memory()[1] < 12e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [(1, 100_000), (100_000, 1)])
def test_only_the_window_is_made(size: tuple[int, int]) -> None:
    """A sliver's shortest edge resized to 224, it would have five thousand million pixels."""
    whole = (224 * size[0], 224 * size[1])
    left, top = whole[0] // 2, whole[1] // 2
    assert resize_window(noise(*size), whole, (left, top, left + 9, top + 7), FILTERS[3]).shape == (7, 9, 3)


# One axis


STEPS = 1 << 22  # Pillow's weights are whole multiples of 1/STEPS.


def axis(inputs: int, outputs: int, resample: Image.Resampling) -> tuple[AxisFilter, np.ndarray, np.ndarray]:
    """A filter for all outputs, the first input of each, and its weights in whole steps."""
    first, taps = taps_of(inputs, outputs, np.arange(outputs), resample)
    return AxisFilter(inputs, inputs / outputs, first, taps), first, np.rint(taps * STEPS).astype(np.int64)


def in_integers(levels: np.ndarray, first: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """What Pillow's integers make of levels (inputs, M): halves up, and nothing lost before."""
    padded = np.pad(levels.astype(np.int64), ((weights.shape[1], weights.shape[1]), (0, 0)))
    windows = padded[(first + weights.shape[1])[:, None] + np.arange(weights.shape[1])]
    return np.clip((np.einsum("nt,ntm->nm", weights, windows) + STEPS // 2) // STEPS, 0, 255)


@settings(max_examples=200, database=None)
@given(st.integers(1, 400), st.integers(1, 300), st.sampled_from(list(Image.Resampling)), st.integers(0, 2**32 - 1))
@example(448, 224, Image.Resampling.BILINEAR, 0)
@example(112, 224, Image.Resampling.BICUBIC, 0)
def test_it_sums_as_integers_do(inputs: int, outputs: int, resample: Image.Resampling, seed: int) -> None:
    """Halving and doubling have weights of few bits: many sums are halves exactly, and none may go down."""
    makes, first, weights = axis(inputs, outputs, resample)
    levels = np.random.default_rng(seed).integers(0, 256, (inputs, 5, 3), np.uint8)
    got = makes(levels[makes.start : makes.stop])
    np.testing.assert_array_equal(got.reshape(outputs, -1), in_integers(levels.reshape(inputs, -1), first, weights))


@given(st.integers(1, 2000), st.integers(1, 500), st.sampled_from(list(Image.Resampling)))
def test_a_plain_picture_stays_what_it_is(inputs: int, outputs: int, resample: Image.Resampling) -> None:
    """Each output's weights make up one, but for the rounding of each."""
    weights = axis(inputs, outputs, resample)[2]
    assert np.abs(weights.sum(axis=1) - STEPS).max() <= weights.shape[1]


def test_few_sums_are_made_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """None, and the rounding of float32 would be seen; many, and nothing would be gained."""
    makes, *_ = axis(1001, 305, Image.Resampling.BICUBIC)
    made_again: list[int] = []
    exact = AxisFilter._exact
    monkeypatch.setattr(AxisFilter, "_exact", lambda self, *at: made_again.append(len(at[0])) or exact(self, *at))
    outputs = makes(np.random.default_rng(0).integers(0, 256, (1001, 300, 3), np.uint8))
    assert 0 < sum(made_again) < outputs.size / 500


@pytest.mark.parametrize("inputs", [1, 100, 500, 2000, 10_000, 100_000])
def test_what_is_worked_on_at_a_time_is_bounded(inputs: int) -> None:
    """The inputs and the outputs of a step, as float32; however large a picture is, one pixel of it is made."""
    step = axis(inputs, 224, Image.Resampling.BICUBIC)[0].step
    assert step >= 1
    assert (inputs + 224) * step * 3 * 4 < 8e6
