"""Filters keep the rows that their page says, and no others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from index_truth import START, Row, make_items, pairs, queries_like, rows_of, true_hits, write_items

from datumaro_clip.errors import OptionError
from datumaro_clip.index import Filter, open_index
from datumaro_clip.index.filters import attribute_text, parse_date
from datumaro_clip.store import Header, Record, create_store, open_store
from datumaro_clip.vectors import ItemKey

DAY_20, DAY_40 = (START + timedelta(days=days) for days in (20, 40))


def of_objects(test: Callable[[str, float], bool]) -> Callable[[Row], bool]:
    """The object itself, or one and the same annotation of the item."""

    def keep(row: Row) -> bool:
        if row.found is not None:
            return test(row.found.class_name, 1.0 if row.found.confidence is None else row.found.confidence)
        return any(test(name, score) for name, score in row.annotations)

    return keep


def attributes(row: Row) -> dict[str, object]:
    return row.record.payload["attributes"]


def added(row: Row) -> datetime | None:
    return parse_date(attributes(row).get("clip_added"))


FILTERS: list[tuple[Filter, Callable[[Row], bool]]] = [
    (Filter(), lambda row: True),
    (Filter(subsets=("val",)), lambda row: row.record.key.subset == "val"),
    (Filter(subsets=("val", "test", "unknown")), lambda row: row.record.key.subset != "train"),
    (Filter(subsets=("unknown",)), lambda row: False),
    (Filter(classes=("dog",)), of_objects(lambda name, score: name == "dog")),
    (Filter(classes=("dog", "cat")), of_objects(lambda name, score: name in ("dog", "cat"))),
    (Filter(min_score=0.5), of_objects(lambda name, score: score >= 0.5)),
    (Filter(classes=("dog",), min_score=0.75), of_objects(lambda name, score: name == "dog" and score >= 0.75)),
    (Filter(tags=("t1",)), lambda row: "t1" in attributes(row).get("tags", [])),
    (Filter(tags=("t1", "common")), lambda row: bool({"t1", "common"} & {*attributes(row).get("tags", [])})),
    (Filter(added_from=DAY_20), lambda row: added(row) is not None and added(row) >= DAY_20),
    (Filter(added_before=DAY_20), lambda row: added(row) is not None and added(row) < DAY_20),
    (
        Filter(added_from=DAY_20.replace(tzinfo=None), added_before=DAY_40),
        lambda row: added(row) is not None and DAY_20 <= added(row) < DAY_40,
    ),
    (Filter(attributes={"weather": "sun"}), lambda row: attributes(row)["weather"] == "sun"),
    (Filter(attributes={"weather": ["sun", None]}), lambda row: attributes(row)["weather"] in ("sun", None)),
    (Filter(attributes={"height": 1}), lambda row: attributes(row)["height"] == 1),
    (Filter(attributes={"night": True, "height": [0, 0.5]}), lambda row: attributes(row)["height"] == 0),
    (
        Filter(subsets=("train",), tags=("common",), classes=("bird", "cat"), min_score=0.25),
        lambda row: (
            row.record.key.subset == "train"
            and "common" in attributes(row).get("tags", [])
            and of_objects(lambda name, score: name in ("bird", "cat") and score >= 0.25)(row)
        ),
    ),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_items(tmp_path_factory.mktemp("filters") / "store", make_items(90))


@pytest.mark.parametrize("target", ["pictures", "objects", "captions"])
@pytest.mark.parametrize(("wanted", "keep"), FILTERS, ids=lambda value: str(value) if isinstance(value, Filter) else "")
def test_a_filter_keeps_what_its_page_says(
    store: Path, tmp_path: Path, target: str, wanted: Filter, keep: Callable[[Row], bool]
):
    """The mask, and what a search finds under it, are those of the records read one by one."""
    index = open_index(store, cache=tmp_path)
    with open_store(store) as reader:
        expected = [keep(row) for row in rows_of(reader, target)]
        assert index.snapshot.mask(wanted, target).tolist() == expected
        queries = queries_like(2)
        found = pairs(index.search(queries, 7, wanted, target=target))
        assert found == true_hits(reader, queries, 7, target, keep)


def test_filters_of_the_table_differ(store: Path, tmp_path: Path):
    """The table would prove little, if most filters kept everything or nothing."""
    snapshot = open_index(store, cache=tmp_path).snapshot
    masks = {snapshot.mask(wanted, "objects").tobytes() for wanted, _ in FILTERS}
    assert len(masks) >= len(FILTERS) - 1


@pytest.mark.parametrize(
    "bad",
    [
        {"subsets": "train"},
        {"classes": ("a", 1)},
        {"min_score": 1.5},
        {"min_score": float("nan")},
        {"attributes": {"a": {"b": 1}}},
        {"attributes": {"a": [[1]]}},
    ],
)
def test_a_filter_that_cannot_hold_is_refused(bad: dict[str, object]):
    with pytest.raises(OptionError):
        Filter(**bad)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        (None, None),
        ("", None),
        ("yesterday", None),
        ("2024-05-01", datetime(2024, 5, 1, tzinfo=timezone.utc)),
        ("2024-05-01T10:00:00", datetime(2024, 5, 1, 10, tzinfo=timezone.utc)),
        ("2024-05-01T10:00:00Z", datetime(2024, 5, 1, 10, tzinfo=timezone.utc)),
        ("2024-05-01T10:00:00+02:00", datetime(2024, 5, 1, 8, tzinfo=timezone.utc)),
    ],
)
def test_dates_are_read_as_utc(text: object, date: datetime | None):
    assert parse_date(text) == date


def test_equal_numbers_are_equal_values():
    assert attribute_text(1.0) == attribute_text(1) != attribute_text(True) != attribute_text("1")
    assert attribute_text({"a": 1}) is None


@pytest.mark.parametrize("tags", [["a", "b"], {"$": "tuple", "v": ["a", "b"]}, {"$": "set", "v": ["b", "a"]}, "b, a,"])
def test_tags_are_any_sequence_or_text_with_commas(tmp_path: Path, tags: object):
    """As the codec writes lists, tuples and sets."""
    header = Header(space=None)
    with create_store(tmp_path / "store", "clip_mmap", header) as writer:
        writer.add(Record(ItemKey("a", "train"), {"attributes": {"tags": tags}}))
        writer.add(Record(ItemKey("b", "train"), {"attributes": {"tags": "aa"}}))
    columns = open_index(tmp_path / "store", cache=tmp_path / "cache").snapshot.columns
    assert columns.mask(Filter(tags=("a",))).tolist() == [True, False]


def test_labels_that_the_header_does_not_name_are_of_no_class(tmp_path: Path):
    with create_store(tmp_path / "store", "clip_mmap", Header(space=None)) as writer:
        writer.add(Record(ItemKey("a", "train"), {"annotations": [{"type": "Label", "label": 3}, 7]}))
    columns = open_index(tmp_path / "store", cache=tmp_path / "cache").snapshot.columns
    assert columns.labels.words == ()
    assert not np.any(columns.labelled(Filter(min_score=0.0)))
