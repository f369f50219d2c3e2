"""The part of a picture that is kept is resized to the very pixels that Pillow makes."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from datumaro_clip.images.resampling import Window, resize_window

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
