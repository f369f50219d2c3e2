"""Metadata made alike: what a rule says and nothing else, told in a table, or told only."""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import Any

import pytest
from datumaro.components.annotation import Bbox, Caption
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image

from datumaro_clip.curate.mapping import AttributeRule
from datumaro_clip.curate.metadata import CAPTION_RULES, alike_attributes, clean_captions
from datumaro_clip.errors import OptionError
from datumaro_clip.host.items import label_names
from datumaro_clip.host.normalize import ClipNormalize


def test_no_captions_and_no_rules_change_nothing():
    assert clean_captions([], CAPTION_RULES) == ([], [])
    assert clean_captions([" a ", ""], ()) == ([" a ", ""], [])


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        ("unescape", "a &amp; b", "a & b"),
        ("nfc", "cafe\u0301", "café"),
        ("spaces", "  a\n b\t", "a b"),
        ("quotes", "“it’s” – so…", '"it\'s" - so...'),
        ("empty", " ", None),
        ("clean", "&nbsp;a&amp;b ", "a&b"),
        ("clean", "&nbsp;", None),
    ],
)
def test_a_rule_changes_what_it_says(rule: str, before: str, after: str | None):
    texts, changes = clean_captions([before], [rule])
    assert texts == [after]
    assert changes[-1].after == after


def test_of_equal_captions_the_first_stays():
    assert clean_captions(["a", " a", "b"], ["clean"])[0] == ["a", None, "b"]
    assert clean_captions([" ", " "], ["repeated"])[0] == [" ", None]


@pytest.mark.parametrize(
    ("value", "kind", "new"),
    [
        ("7", "int", 7),
        (7.0, "int", 7),
        ("1e2", "float", 100.0),
        (3, "text", "3"),
        ("Yes", "bool", True),
        (None, "int", None),
    ],
)
def test_attributes_get_names_and_types(value: Any, kind: str, new: Any):
    told, _, problems = alike_attributes({"W": value, "k": 1}, [AttributeRule("W", "width", kind)])
    assert told == {"k": 1, "width": new}
    assert type(told["width"]) is type(new)
    assert problems == []


@pytest.mark.parametrize(("value", "kind"), [("many", "int"), (7.5, "int"), ("perhaps", "bool"), ([1], "float")])
def test_a_value_that_is_not_of_its_type_stays_and_is_told(value: Any, kind: str):
    told, _, problems = alike_attributes({"W": value}, [AttributeRule("W", "W", kind)])
    assert (told, len(problems)) == ({"W": value}, 1)


@pytest.mark.parametrize(("name", "target"), [("W", "width"), ("width", "W")])
def test_a_name_that_is_taken_is_not_taken_again(name: str, target: str):
    told, changes, problems = alike_attributes({"W": 1, "width": 2}, [AttributeRule(name, target)])
    assert (told, changes) == ({"W": 1, "width": 2}, [])
    assert problems == [f"{name}: there is a {target} already"]


@pytest.fixture
def source(tmp_path: Path) -> Dataset:
    notes = [
        Caption(" A  hat ", attributes={"column": "title"}),
        Caption("A hat"),
        Bbox(1, 1, 5, 5, label=0),
        Bbox(1, 1, 5, 5, label=1),
    ]
    items = [DatasetItem("a", annotations=notes, attributes={"W": "7"})]
    return Dataset.from_iterable(items, categories=["Cat", "cat", "Dog"], media_type=Image)


def test_everything_at_once_with_a_table_of_what_changed(
    source: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    mapping = "format: datumaro-clip mapping\nversion: 1\nattributes: [{from: W, to: width, type: int}]\n"
    (tmp_path / "m.yaml").write_text(mapping)
    caplog.set_level(logging.INFO)
    options = {"captions": ["clean"], "labels": "lower", "mapping": str(tmp_path / "m.yaml")}
    told = ClipNormalize(source, report=str(tmp_path / "r.csv"), **options)
    [found] = told
    assert label_names(told.categories()) == ["cat", "dog"]
    [caption, box] = found.annotations
    assert (caption.caption, caption.attributes, box.label) == ("A hat", {"column": "title"}, 0)
    assert found.attributes == {"width": 7}
    with (tmp_path / "r.csv").open(encoding="utf-8") as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file)]
    assert rows == [
        ("a", "default", "caption", "spaces", " A  hat ", "A hat"),
        ("a", "default", "caption", "repeated", "A hat", ""),
        ("a", "default", "label", "case", "Cat", "cat"),
        ("a", "default", "attribute", "name", "W", "width"),
        ("a", "default", "attribute", "type int", "'7'", "7"),
    ]
    assert "caption repeated                1" in caplog.text


def test_a_dry_run_tells_and_changes_nothing(source: Dataset, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    told = ClipNormalize(source, captions=["clean"], labels="lower", dry_run=True)
    assert list(told) == list(source)
    assert told.categories() == source.categories()
    assert "clip_normalize (dry run): changes" in caplog.text


def test_what_is_no_rule_is_refused(source: Dataset):
    with pytest.raises(OptionError):
        list(ClipNormalize(source, captions=["nope"]))


def test_of_many_values_that_stay_ten_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    mapping = "format: datumaro-clip mapping\nversion: 1\nattributes: [{from: W, type: int}]\n"
    (tmp_path / "m.yaml").write_text(mapping)
    items = [DatasetItem(str(n), attributes={"W": "many"}) for n in range(12)]
    list(ClipNormalize(Dataset.from_iterable(items, media_type=Image), mapping=str(tmp_path / "m.yaml")))
    assert caplog.text.count("'many' is no int") == 10
    assert "and 2 more values that stay as they are" in caplog.text
