"""Maps that features find: which are believed, and how a mirrored picture's is turned back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from datumaro_clip.curate.near.features import _plausible, features, locate, mirror
from datumaro_clip.curate.near.rings import SIDE


def scaled(x: float, y: float, degrees: float = 0.0) -> np.ndarray:
    turn = np.radians(degrees)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.hstack([rotation @ np.diag([x, y]), [[5.0], [7.0]]])


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        (scaled(1, 1), True),
        (scaled(1, 1, 137), True),
        (scaled(2.9, 2.9), True),
        (scaled(3.1, 3.1), False),
        (scaled(0.35, 0.35), True),
        (scaled(0.32, 0.32), False),
        (scaled(1.9, 1, 30), True),
        (scaled(2.1, 1, 30), False),
        (scaled(-1, 1), False),
    ],
)
def test_maps_that_mirror_squeeze_or_scale_too_much_are_not_believed(where: np.ndarray, wanted: bool) -> None:
    assert _plausible(where) is wanted


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_shift_is_found_of_a_picture_and_of_its_mirror_image(mirrored: bool) -> None:
    """What lies at (x, y) of the first lies at (x - 6, y - 4) of the second, or at that place from the right."""
    coarse = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    large = cv2.resize(coarse, (SIDE + 20, SIDE + 20), interpolation=cv2.INTER_CUBIC)
    first, second = large[:SIDE, :SIDE], large[4 : SIDE + 4, 6 : SIDE + 6]
    second = mirror(second) if mirrored else second
    where = locate(features(first), features(mirror(second) if mirrored else second), mirrored=mirrored)
    assert where is not None
    x, y = where @ [50, 40, 1]
    assert (x, y) == pytest.approx((SIDE - 1 - 44 if mirrored else 44, 36), abs=0.3)


def test_a_plain_picture_is_located_nowhere() -> None:
    plain = features(np.zeros((SIDE, SIDE, 3), np.uint8))
    assert len(plain.keypoints) == 0
    assert locate(plain, plain) is None
