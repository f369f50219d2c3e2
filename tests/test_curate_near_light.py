"""Changes of light at full resolution: each is undone by its way back, and found where highlights and shadows clip."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datumaro_clip.curate.near import light
from datumaro_clip.curate.near.light import NO_CHANGE, Change, find_change

GREY = np.random.default_rng(0).uniform(0.45, 0.55, (20, 3)).astype(np.float32)


def photo(seed: int = 0) -> np.ndarray:
    """Smooth shades, (96, 128, 3), uint8, from 40 to 215."""
    coarse = np.random.default_rng(seed).uniform(40, 215, (6, 8, 3)).astype(np.float32)
    return cv2.resize(coarse, (128, 96), interpolation=cv2.INTER_LINEAR).round().astype(np.uint8)


def everywhere(picture: np.ndarray) -> np.ndarray:
    return np.ones(picture.shape[:2], np.uint8)


@given(st.floats(0.6, 1.5), st.floats(-0.1, 0.1), st.floats(0.5, 1.5))
def test_the_way_back_undoes_a_change_that_clips_nothing(gain: float, offset: float, saturation: float) -> None:
    there = Change(gain, offset, saturation, False).of(GREY)
    np.testing.assert_allclose(Change(gain, offset, saturation, True).of(there), GREY, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (Change(2, 0, 1, False), (0.4, 0.8, 1)),
        (Change(1, 0.1, 1, False), (0.3, 0.5, 0.7)),
        (Change(1, 0, 0, False), (0.4, 0.4, 0.4)),
        (Change(2, 0, 1, True), (0.1, 0.2, 0.3)),
        (Change(1, 0.1, 1, True), (0.1, 0.3, 0.5)),
        (Change(1, 0, 2, True), (0.3, 0.4, 0.5)),
    ],
)
def test_a_change_is_gain_then_offset_then_saturation(change: Change, wanted: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(change.of(np.array([[0.2, 0.4, 0.6]], np.float32)), [wanted], atol=1e-6)


def test_nothing_to_compare_and_no_change_are_none() -> None:
    picture = photo()
    assert find_change(picture, picture, np.zeros_like(everywhere(picture))) is NO_CHANGE
    assert find_change(picture, picture, everywhere(picture)) is NO_CHANGE


@pytest.mark.parametrize(
    ("gain", "offset", "saturation"), [(1.4, 0.0, 1.0), (0.7, 0.1, 1.0), (1.1, -0.05, 0.6), (1.0, 0.25, 1.0)]
)
@pytest.mark.parametrize("back", [False, True])
def test_a_change_is_found_either_way(gain: float, offset: float, saturation: float, back: bool) -> None:
    """To what the change makes of a picture, and, back, from it: what clipped there is lost for good."""
    before = photo()
    after = (Change(gain, offset, saturation, False).of(np.float32(1 / 255) * before) * 255).round().astype(np.uint8)
    warped, target = (after, before) if back else (before, after)
    found = find_change(warped, target, everywhere(before))
    off = np.abs(found.lit(warped, target).astype(np.float32) - target)
    assert off.mean() < 1.5


@pytest.mark.parametrize("clips", [0.0, 1.0])
def test_the_levels_that_clip_say_nothing_of_gain_and_offset(clips: float) -> None:
    """Text on white, or on black: most of the picture is what clips, and a line through it would be flat."""
    shades = np.random.default_rng(1).uniform(0.05, 0.95, (6000, 3)).astype(np.float32)
    seen = np.clip(1.8 * shades - (0.8 - 0.8 * clips), 0, 1)
    [found] = light._by_medians(shades, seen, False)
    assert found[:3] == pytest.approx((1.8, -(0.8 - 0.8 * clips), 1), abs=0.01)


def test_levels_too_near_one_another_give_no_change() -> None:
    flat = np.random.default_rng(2).uniform(0.5, 0.55, (6000, 3)).astype(np.float32)
    assert light._by_medians(flat, flat, False) == []
    assert light._by_medians(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), False) == []


def test_white_and_black_may_have_been_anything_beyond() -> None:
    warped = np.array([[[255, 0, 100]]], np.uint8)
    target = np.array([[[255, 0, 100]]], np.uint8)
    assert Change(0.5, 0.2, 1, False).lit(warped, target).round().tolist() == [[[255, 0, 101]]]
    assert NO_CHANGE.lit(warped, target) is warped
