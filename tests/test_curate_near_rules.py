"""Verdicts on what a comparison of pixels showed."""

from __future__ import annotations

import pytest

from datumaro_clip.curate.near.pixels import LARGEST_PEAK, NO_MATCH, PixelMatch
from datumaro_clip.curate.near.rules import ALONE, is_copy, log_odds

# A copy, re-encoded and a little smaller.
COPY = PixelMatch(0.985, 0.96, 0.9, 0.04, 0.015, 0.03, 0.0, 0.66, 0.5, 0.0)
# Two watches on white: a round face on a bracelet, and no more in common.
WATCHES = PixelMatch(0.91, 0.80, -0.34, 0.092, 0.025, 0.026, 0.0, 0.57, 0.4, 0.05)
# A handbag in two colours, in one photo.
HANDBAGS = PixelMatch(0.999, 0.997, 0.929, 0.023, 0.025, 0.005, 0.496, 0.758, 0.62, 0.001)


def test_a_copy_is_one_and_nothing_in_common_is_none() -> None:
    assert is_copy(COPY)
    assert not is_copy(NO_MATCH, confirmed_by_third=True)


def test_a_pair_that_shares_less_than_a_silhouette_is_no_copy() -> None:
    """Whatever its odds: they were learnt from pairs that share more. One that a third vouches for may."""
    assert log_odds(WATCHES) > ALONE
    assert not is_copy(WATCHES)
    assert is_copy(WATCHES, confirmed_by_third=True)


def test_in_one_light_a_copy_has_nearly_all_in_common() -> None:
    alike = WATCHES._replace(evidence=0.3)
    assert not is_copy(alike)
    assert is_copy(alike._replace(light=0.2))
    assert is_copy(alike._replace(evidence=0.7))


@pytest.mark.parametrize(
    "changed",
    [{"peak": LARGEST_PEAK * 1.01}, {"peak": 0.12, "grain": 0.005}, {"colour_peak": 0.08}],
    ids=["edited", "retouched", "recoloured"],
)
def test_a_place_that_differs_is_an_edit(changed: dict[str, float]) -> None:
    assert not is_copy(COPY._replace(**changed), confirmed_by_third=True)


def test_a_plain_thing_in_another_light_is_another_thing() -> None:
    relit = COPY._replace(light=0.6, plainness=0.8, evidence=0.9)
    assert not is_copy(relit)
    assert is_copy(relit._replace(light=0.0, plainness=0.6))


@pytest.mark.parametrize(
    "otherwise",
    [{"light": 0.2, "colour_peak": 0.01}, {"unmoved": 0.1}, {"displaced": 0.1}],
    ids=["hardly lit", "ground lit too", "turned"],
)
def test_a_thing_lit_apart_from_its_ground_is_another_colour_of_it(otherwise: dict[str, float]) -> None:
    assert not is_copy(HANDBAGS)
    assert is_copy(HANDBAGS._replace(**otherwise))
    assert is_copy(HANDBAGS, confirmed_by_third=True)
