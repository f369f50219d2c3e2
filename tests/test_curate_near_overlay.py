"""Maps of a whole frame on a whole frame: turned and mirrored ones are told, squeezed and singular ones are none."""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np
import pytest

from datumaro_clip.curate.near.overlay import (
    _NEARLY_WHOLE,
    _RESIZES,
    _correction,
    _frame,
    _opencv,
    _whole_frame,
    resized,
)

TARGET, ABOVE = np.zeros((30, 40, 3), np.uint8), np.zeros((60, 80, 3), np.uint8)


def in_pixels(fractions: np.ndarray) -> np.ndarray:
    """The map of pixels whose map of fractions of the frame this is."""
    return np.linalg.inv(_frame(ABOVE.shape)) @ fractions @ _frame(TARGET.shape)


def about_the_middle(turn: list[list[float]]) -> np.ndarray:
    whole = np.eye(3)
    whole[:2, :2] = turn
    whole[:2, 2] = 0.5 - whole[:2, :2] @ [0.5, 0.5]
    return whole


@pytest.mark.parametrize("signs", product((1, -1), (1, -1)))
@pytest.mark.parametrize("crossed", [False, True])
def test_each_of_the_eight_is_found_though_a_little_off(signs: tuple[int, int], crossed: bool) -> None:
    wanted = about_the_middle([[0, signs[0]], [signs[1], 0]] if crossed else [[signs[0], 0], [0, signs[1]]])
    off = wanted + np.array([[0, 0, 0.5 * _NEARLY_WHOLE], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(_whole_frame(in_pixels(off), TARGET, ABOVE), wanted, atol=1e-9)


@pytest.mark.parametrize("turn", [[[1, 1], [0, 0]], [[0, 0], [1, 1]], [[2, 0], [0, 1]], [[0, 0], [0, 0]]])
def test_what_squeezes_the_frame_is_no_map_of_the_whole(turn: list[list[float]]) -> None:
    assert _whole_frame(in_pixels(about_the_middle(turn)), TARGET, ABOVE) is None


@pytest.mark.parametrize("corner", product((0, 1), (0, 1)))
def test_one_corner_too_far_off_is_enough(corner: tuple[int, int]) -> None:
    """An affine map is off by a + bx + cy: here by the limit and a half at one corner, and by half of it at two."""
    x, y = corner
    step = _NEARLY_WHOLE * np.array([1.0 if x else -1.0, 1.0 if y else -1.0])
    away = np.zeros((3, 3))
    away[0] = [*step, 1.5 * _NEARLY_WHOLE - step @ corner]
    assert _whole_frame(in_pixels(np.eye(3) + away), TARGET, ABOVE) is None
    assert _whole_frame(in_pixels(np.eye(3) + away / 2), TARGET, ABOVE) is not None


@pytest.mark.parametrize(
    "moved", [np.eye(2, 3), [[1.004, 0, -0.3], [0, 1, 0]], [[1, 0.003, 0.2], [-0.002, 0.997, 0.1]]]
)
def test_a_correction_undoes_a_small_move(moved: list[list[float]]) -> None:
    """Scaled, sheared and shifted, about the upper left corner: the other three are where they were, too."""
    coarse = np.random.default_rng(0).uniform(0, 255, (9, 12)).astype(np.float32)
    target = cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC)
    inverse = np.array(moved, np.float32)
    laid = cv2.warpAffine(target, inverse, (160, 120), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    step, off = _correction(laid, target, np.ones((120, 160), np.uint8))
    corners = np.array([[0, 0, 1], [160, 0, 1], [0, 120, 1], [160, 120, 1]], np.float64)
    wanted = np.vstack([inverse, [0, 0, 1]])
    np.testing.assert_allclose(corners @ step.T, corners @ wanted.T, atol=0.08)
    assert off == pytest.approx(np.abs(corners @ (wanted - np.eye(3)).T).max(), abs=0.08)


def test_a_part_is_resized_as_opencv_resizes_what_is_cut_out() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    same = _opencv(cv2.INTER_LINEAR)(picture, (32, 20), (8.0, 4.0, 40.0, 24.0))
    np.testing.assert_array_equal(same, picture[4:24, 8:40])
    larger = _opencv(cv2.INTER_LINEAR)(picture, (64, 60), (8.0, 4.0, 40.0, 24.0))
    wanted = cv2.resize(picture[4:24, 8:40], (64, 60), interpolation=cv2.INTER_LINEAR)
    assert np.abs(larger.astype(int) - wanted)[3:-3, 3:-3].max() <= 5


@pytest.mark.parametrize("number", range(len(_RESIZES)))
def test_the_filter_that_a_picture_was_made_smaller_by_is_found_whatever_the_light(number: int) -> None:
    above = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    smaller = _RESIZES[number](above, (64, 48), (0, 0, 120, 90))
    for target in (smaller, (0.7 * smaller + 20).round().astype(np.uint8)):
        np.testing.assert_array_equal(resized(above, target), smaller)
