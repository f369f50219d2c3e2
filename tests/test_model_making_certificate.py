"""Requirements as a person writes them."""

from __future__ import annotations

import pytest

from datumaro_clip.errors import OptionError
from datumaro_clip.model.making.certificate import DEFAULT_REQUIREMENT, Requirement

FIGURES = {"mean_cosine": 0.995, "overlap@10": 0.9, "duplicates_changed": 3.0}


@pytest.mark.parametrize(
    ("text", "missed"),
    [
        ("", []),
        (" , ", []),
        ("mean_cosine>=0.99", []),
        ("mean_cosine>=0.995,overlap@10>=0.9", []),
        (" mean_cosine > 0.995 ", ["mean_cosine>0.995 (is 0.995)"]),
        ("overlap@10>=.95,duplicates_changed<=2", ["overlap@10>=0.95 (is 0.9)", "duplicates_changed<=2 (is 3)"]),
        ("duplicates_changed<4e0", []),
    ],
)
def test_what_is_missed_is_named_with_its_figure(text: str, missed: list[str]) -> None:
    assert Requirement.parse(text).missed(FIGURES) == missed


@pytest.mark.parametrize(
    "text", ["mean_cosine", "mean_cosine=0.9", ">=0.9", "mean_cosine>=", "mean_cosine>=x", "mean_cosine>=1.2.3"]
)
def test_what_is_no_requirement_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="is no requirement"):
        Requirement.parse(text)


def test_a_metric_that_was_not_measured_is_refused_with_those_that_were() -> None:
    with pytest.raises(OptionError, match=r"zero_shot_top1 was not measured; there are: mean_cosine, overlap@10"):
        Requirement.parse("zero_shot_top1>=0.5").missed(FIGURES)


def test_a_metric_that_there_is_not_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(OptionError, match=r"no metric is called recall; there are: min_cosine, .*zero_shot_top1"):
        Requirement.parse("mean_cosine>=0.9,recall>=0.5")


def test_the_default_is_a_requirement() -> None:
    assert Requirement.parse(DEFAULT_REQUIREMENT).missed({"mean_cosine": 0.9, "overlap@10": 1.0}) == [
        "mean_cosine>=0.99 (is 0.9)"
    ]


def test_a_figure_that_is_not_a_number_meets_nothing() -> None:
    assert Requirement.parse("p1_cosine>=0,p1_cosine<=0").missed({"p1_cosine": float("nan")}) != []
