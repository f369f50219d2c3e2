"""Maps of a whole frame on a whole frame: turned and mirrored ones are told, squeezed and singular ones are none."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from datumaro_clip.curate.near.overlay import _NEARLY_WHOLE, _frame, _whole_frame

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
