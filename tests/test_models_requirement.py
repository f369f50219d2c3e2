"""Requirements as a person writes them."""

from __future__ import annotations

import pytest

from datumaro_clip.errors import OptionError
from datumaro_clip.models.requirement import Requirement

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
    "text", ["mean_cosine", "mean_cosine=0.9", ">=0.9", "mean_cosine>=", "mean_cosine>=x", "a>=1.2.3"]
)
def test_what_is_no_requirement_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="is no requirement"):
        Requirement.parse(text)


def test_a_metric_that_was_not_measured_is_refused_with_those_that_were() -> None:
    with pytest.raises(OptionError, match=r"recall was not measured; there are: mean_cosine, overlap@10"):
        Requirement.parse("recall>=0.5").missed(FIGURES)


def test_a_figure_that_is_not_a_number_meets_nothing() -> None:
    assert Requirement.parse("a>=0,a<=0,a>0,a<0").missed({"a": float("nan")}) != []
