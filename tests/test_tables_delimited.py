"""CSV and TSV: what each row says, on which line it stands, and what damage costs."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datumaro_clip.errors import TableError
from datumaro_clip.tables.delimited import DelimitedTable, write_delimited
from datumaro_clip.tables.rows import Refused, Row


def rows_of(path: Path, **options: str) -> list[Row | Refused]:
    return list(DelimitedTable(path, **options))


def test_a_header_alone_is_a_table_of_no_rows(tmp_path: Path):
    (tmp_path / "a.csv").write_text("a,b\n")
    table = DelimitedTable(tmp_path / "a.csv")
    assert (table.columns, list(table)) == (("a", "b"), [])


def test_cells_stay_the_text_that_they_are(tmp_path: Path):
    (tmp_path / "a.csv").write_text('a,b,c,d\n007,NA,1e5,null\n"two\nlines",,"a ""b""", x \n')
    assert rows_of(tmp_path / "a.csv") == [
        Row(2, {"a": "007", "b": "NA", "c": "1e5", "d": "null"}),
        Row(3, {"a": "two\nlines", "b": "", "c": 'a "b"', "d": " x "}),
    ]


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
def test_the_separator_is_guessed(separator: str, tmp_path: Path):
    lines = [["id", "text"], ["1", "a, b; c"], ["2", "plain"]]
    quoted = "\n".join(separator.join(f'"{cell}"' for cell in line) for line in lines)
    (tmp_path / "a.csv").write_text(quoted)
    table = DelimitedTable(tmp_path / "a.csv")
    assert (table.separator, [row.values["text"] for row in table]) == (separator, ["a, b; c", "plain"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_marks_tell_the_encoding(encoding: str, tmp_path: Path):
    (tmp_path / "a.csv").write_text("à,b\né,ü\n", encoding=encoding)
    assert rows_of(tmp_path / "a.csv") == [Row(2, {"à": "é", "b": "ü"})]


def test_another_encoding_is_named(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes("a,b\né,ü\nx,y\n".encode("cp1252"))
    refused, good = rows_of(tmp_path / "a.csv")
    assert (refused.line, refused.reason, good.line) == (2, "encoding", 3)
    assert "--encoding" in refused.message
    assert rows_of(tmp_path / "a.csv", encoding="cp1252")[0] == Row(2, {"a": "é", "b": "ü"})


def test_a_quotation_mark_that_is_never_closed_costs_one_line(tmp_path: Path):
    (tmp_path / "a.csv").write_text('a,b\n1,2\n3,"open\n' + "5,6\n" * 50_000)
    found = rows_of(tmp_path / "a.csv")
    refused = [row for row in found if isinstance(row, Refused)]
    assert [(row.line, row.reason) for row in refused] == [(3, "quotes")]
    assert len(found) == 50_002
    assert found[-1] == Row(50_003, {"a": "5", "b": "6"})


def test_a_quotation_mark_closed_in_a_later_row_costs_one_line(tmp_path: Path):
    """The text between them is no cell; what follows its first line is read again."""
    (tmp_path / "a.csv").write_text('a,b,c\n1,"2,3\n4,5,6\n7,"8,9\n10,"11\n12",13,14\n')
    assert [(row.line, getattr(row, "reason", "row")) for row in rows_of(tmp_path / "a.csv")] == [
        (2, "quotes"),
        (3, "row"),
        (4, "quotes"),
        (5, "cells"),
        (6, "row"),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [("1", "cells"), ("1,2,3", "cells"), ('"a"b,2', "quotes"), ("a\0,2", "not_text")],
)
def test_a_damaged_row_is_refused_with_its_line(line: str, reason: str, tmp_path: Path):
    (tmp_path / "a.csv").write_text(f'a,b\n"x\ny",2\n{line}\n3,4\n')
    first, refused, last = rows_of(tmp_path / "a.csv")
    assert (first.line, refused.line, refused.reason, last.line) == (2, 4, reason, 5)


def test_a_file_cut_off_in_its_compression_tells_where(tmp_path: Path):
    whole = gzip.compress(b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(20_000)))
    (tmp_path / "a.csv.gz").write_bytes(whole[: len(whole) // 2])
    *rows, last = rows_of(tmp_path / "a.csv.gz")
    assert isinstance(last, Refused)
    assert (last.reason, last.line) == ("cut_off", len(rows) + 2)
    assert all(isinstance(row, Row) for row in rows)


@pytest.mark.parametrize(
    ("content", "words"),
    [("", "is empty"), ("a,a\n", "two columns called 'a'"), ('"a\n', "line 1: quotation marks")],
)
def test_a_header_that_cannot_be_used_is_an_error(content: str, words: str, tmp_path: Path):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(TableError, match=words):
        DelimitedTable(tmp_path / "a.csv")


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@given(st.lists(st.fixed_dictionaries({"a": TEXT, "b": TEXT}), max_size=6), st.sampled_from(",\t;|"))
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, rows, separator: str):
    path = tmp_path_factory.mktemp("tables") / "a.csv"
    with write_delimited(path, ["a", "b"], separator) as write_row:
        for row in rows:
            write_row(row)
    assert [row.values for row in DelimitedTable(path, separator)] == rows
