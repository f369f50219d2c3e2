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


# Nothing differs, and nothing is known that would speak against it.
LIKE = PixelMatch(1.0, 1.0, 0.9, 0.0, 0.0, 0.01, 0.0, 0.6, 0.0, 0.1)
PLAIN = {"plainness": 0.72, "light": 0.3}
RELIT = {"plainness": 0.6, "light": 0.3, "unmoved": 0.5, "displaced": 0.0}


@pytest.mark.parametrize(
    ("copy", "other"),
    [
        ({"grain": 0.0, "plainness": 0.8, "peak": 0.0078}, {"peak": 0.0082}),
        ({"grain": 0.005, "light": 0.4, "plainness": 0.3, "peak": 0.1}, {"peak": 0.115}),
        ({"grain": 0.005, "light": 0.4, "plainness": 0.3, "peak": 0.1, "colour_peak": 0.0078}, {"colour_peak": 0.0082}),
        ({"grain": 0.005, "plainness": 0.75, "peak": 0.049, "evidence": 0.99}, {"plainness": 0.76}),
        ({"grain": 0.005, "plainness": 0.76, "peak": 0.049, "evidence": 0.995}, {"evidence": 0.993}),
        ({"light": 0.2, "colour_peak": 0.038}, {"colour_peak": 0.039}),
        ({**PLAIN, "evidence": 0.75}, {"evidence": 0.74}),
        ({**PLAIN, "evidence": 0.69, "plainness": 0.698}, {"plainness": 0.702}),
        ({**PLAIN, "evidence": 0.74, "light": 0.249}, {"light": 0.251}),
        ({"evidence": 0.61, "light": 0.09}, {"evidence": 0.59}),
        ({"evidence": 0.59, "light": 0.11}, {"light": 0.09}),
        ({"evidence": 0.01, "light": 0.2}, {"evidence": 0.0}),
        ({**RELIT, "displaced": 0.0201}, {"displaced": 0.0199}),
        ({**RELIT, "unmoved": 0.34}, {"unmoved": 0.36}),
        ({**RELIT, "unmoved": 0.991}, {"unmoved": 0.989}),
        ({**RELIT, "plainness": 0.549}, {"plainness": 0.551}),
        ({**RELIT, "light": 0.249}, {"light": 0.251}),
    ],
)
def test_a_bound_is_where_it_was_set(copy: dict[str, float], other: dict[str, float]) -> None:
    """On the one side of it a copy, on the other none: docs/curation.md has the figures for these bounds."""
    assert is_copy(LIKE._replace(**copy))
    assert not is_copy(LIKE._replace(**{**copy, **other}))


def test_leeway_is_for_places_that_differ() -> None:
    edited, recoloured = LIKE._replace(peak=0.12, plainness=0.3), LIKE._replace(colour_peak=0.04)
    assert not is_copy(edited)
    assert is_copy(edited, leeway=2.0)
    assert not is_copy(recoloured)
    assert is_copy(recoloured, leeway=2.0)


@pytest.mark.parametrize(("found", "odds"), [(COPY, 5.697), (WATCHES, 3.280), (HANDBAGS, 3.167), (LIKE, 11.633)])
def test_odds_are_those_that_were_learnt(found: PixelMatch, odds: float) -> None:
    assert log_odds(found) == pytest.approx(odds, abs=1e-3)


def test_a_third_picture_asks_for_lower_odds() -> None:
    """Odds fall by 26.6 for all of the picture that is plain: here they are 1.6, 1.4, 0.1 and -0.1."""
    plain = [LIKE._replace(light=0.2, plainness=0.6 + (11.633 - odds) / 26.6) for odds in (1.6, 1.4, 0.1, -0.1)]
    assert [is_copy(each) for each in plain] == [True, False, False, False]
    assert [is_copy(each, confirmed_by_third=True) for each in plain] == [True, True, True, False]
