"""JSON lines and JSON lists: values keep their types, rows their lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datumaro_clip.errors import TableError
from datumaro_clip.tables.json_rows import JsonLinesTable, JsonTable, write_json
from datumaro_clip.tables.rows import Refused, Row

KINDS = {"jsonl": JsonLinesTable, "json": JsonTable}


@pytest.mark.parametrize(("kind", "content"), [("jsonl", ""), ("json", "[]"), ("json", " \n[ ]\n")])
def test_a_table_of_no_rows(kind: str, content: str, tmp_path: Path):
    (tmp_path / "a").write_text(content)
    table = KINDS[kind](tmp_path / "a")
    assert (table.columns, list(table)) == ((), [])


def test_rows_of_a_list_have_the_lines_that_they_begin_on(tmp_path: Path):
    (tmp_path / "a.json").write_text('\ufeff[\n  {"a": 1,\n   "b": "x\\ny"},\n\n {"a": null}, {"c": [1.5, true]}]\n')
    table = JsonTable(tmp_path / "a.json")
    assert list(table) == [Row(2, {"a": 1, "b": "x\ny"}), Row(5, {"a": None}), Row(5, {"c": [1.5, True]})]
    assert table.columns == ("a", "b", "c")


def test_a_list_longer_than_the_buffer_is_read_to_its_end(tmp_path: Path):
    rows = [{"n": n, "text": "é" * (n % 300)} for n in range(2_000)]
    rows[1000]["text"] = "x" * 200_000
    with write_json(tmp_path / "a.json", in_list=True) as write_row:
        for row in rows:
            write_row(row)
    assert [row.values for row in JsonTable(tmp_path / "a.json")] == rows


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"a": 1', "not_json"),
        ("[1]", "not_an_object"),
        ('{"a": "\\ud800"}', "encoding"),
        ("[" * 100_000, "not_json"),
        ("nonsense", "not_json"),
    ],
)
def test_a_damaged_line_is_refused_and_the_others_stay(line: str, reason: str, tmp_path: Path):
    (tmp_path / "a.jsonl").write_text(f'{{"a": 0}}\n\n{line}\n{{"a": 2}}\n')
    first, refused, last = JsonLinesTable(tmp_path / "a.jsonl")
    assert (first.line, refused.line, refused.reason, last) == (1, 3, reason, Row(4, {"a": 2}))


def test_bytes_that_are_no_text_cost_their_line(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(b'{"a": "\xff"}\n{"a": "b"}\n')
    refused, row = JsonLinesTable(tmp_path / "a.jsonl")
    assert (refused.reason, row.values) == ("encoding", {"a": "b"})


@pytest.mark.parametrize("content", ['[{"a": 1}, {"a": ', '[{"a": 1} {"a": 2}]', '[{"a": 1}'])
def test_a_list_that_breaks_off_keeps_what_came_before(content: str, tmp_path: Path):
    (tmp_path / "a.json").write_text(content)
    first, last = JsonTable(tmp_path / "a.json")
    assert first == Row(1, {"a": 1})
    assert isinstance(last, Refused)
    assert (last.reason, last.line) == ("cut_off", 1)


@pytest.mark.parametrize("content", ["", '{"a": 1}', "x"])
def test_what_is_no_list_is_an_error(content: str, tmp_path: Path):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(TableError, match="is no list of JSON objects"):
        JsonTable(tmp_path / "a.json")


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.text(max_size=4), VALUE, max_size=4), max_size=5), st.booleans())
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, rows, in_list: bool):
    path = tmp_path_factory.mktemp("tables") / "a"
    with write_json(path, in_list=in_list) as write_row:
        for row in rows:
            write_row(row)
    assert [row.values for row in (JsonTable if in_list else JsonLinesTable)(path)] == rows
