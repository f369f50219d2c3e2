"""Parquet: types are kept, pictures inside are read when they are asked for, damage costs its row group."""

from __future__ import annotations

import datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from datumaro_clip.errors import TableError
from datumaro_clip.tables.arrow import (
    ParquetTable,
    dump_schema,
    load_schema,
    make_schema,
    read_blob,
    write_parquet,
)
from datumaro_clip.tables.rows import Refused, Row


def write(path: Path, columns: dict[str, object], **options: object) -> Path:
    parquet.write_table(pa.table(columns), path, **options)
    return path


def test_a_table_of_no_rows(tmp_path: Path):
    table = ParquetTable(write(tmp_path / "a.parquet", {"a": pa.array([], pa.string())}))
    assert (table.columns, list(table)) == (("a",), [])


def test_values_keep_their_types_and_times_become_text(tmp_path: Path):
    columns = {"n": [1, None], "t": ["007", "NA"], "when": [datetime.date(2024, 2, 29), None], "l": [["a"], []]}
    assert list(ParquetTable(write(tmp_path / "a.parquet", columns))) == [
        Row(1, {"n": 1, "t": "007", "when": "2024-02-29", "l": ["a"]}),
        Row(2, {"n": None, "t": "NA", "when": None, "l": []}),
    ]


@pytest.mark.parametrize("alone", [True, False])
def test_pictures_inside_are_read_only_when_asked_for(alone: bool, tmp_path: Path):
    data = [bytes([n]) * 10 for n in range(7)]
    pictures = data if alone else [{"bytes": each, "path": f"{n}.jpg"} for n, each in enumerate(data)]
    path = write(tmp_path / "a.parquet", {"image": pictures}, row_group_size=3)
    table = ParquetTable(path)
    assert table.blobs == ("image",)
    assert [row.values["image"] for row in table] == [{} if alone else {"path": f"{n}.jpg"} for n in range(7)]
    assert [read_blob(str(path), "image", n) for n in (6, 0, 3, 2)] == [data[n] for n in (6, 0, 3, 2)]


def test_a_damaged_row_group_costs_its_rows(tmp_path: Path):
    columns = {"a": [f"{n:040d}" for n in range(300)]}
    path = write(tmp_path / "a.parquet", columns, row_group_size=100, compression="zstd", use_dictionary=False)
    start = parquet.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    damaged = bytearray(path.read_bytes())
    damaged[start : start + 60] = bytes(60)
    path.write_bytes(damaged)
    found = list(ParquetTable(path))
    refused = [row for row in found if isinstance(row, Refused)]
    assert [row.line for row in refused] == list(range(101, 201))
    assert {row.reason for row in refused} == {"damaged"}
    assert [row.line for row in found] == list(range(1, 301))


def test_without_its_end_it_is_an_error(tmp_path: Path):
    path = write(tmp_path / "a.parquet", {"a": ["x"]})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(TableError, match="is no Parquet file, or its end is missing"):
        ParquetTable(path)


def test_a_schema_comes_back_and_types_are_restored(tmp_path: Path):
    columns = {
        "n": pa.array([1], pa.int16()),
        "when": pa.array([0], pa.timestamp("us")),
        "d": pa.array([None], pa.int32()),
    }
    first = ParquetTable(write(tmp_path / "a.parquet", columns))
    schema = make_schema(["when", "n", "new"], {"new": frozenset({float, int})}, dump_schema(first.schema))
    assert schema == pa.schema([("when", pa.timestamp("us")), ("n", pa.int16()), ("new", pa.float64())])
    with write_parquet(tmp_path / "b.parquet", schema) as write_row:
        for row in first:
            write_row({**row.values, "new": 2})
    assert parquet.read_table(tmp_path / "b.parquet").to_pylist() == [
        {"when": datetime.datetime(1970, 1, 1), "n": 1, "new": 2.0}
    ]


def test_a_value_that_its_column_cannot_hold_is_an_error(tmp_path: Path):
    told = pytest.raises(TableError, match="column 'n' is int64 and cannot hold")
    with told, write_parquet(tmp_path / "a.parquet", pa.schema([("n", pa.int64())])) as write_row:
        write_row({"n": "many"})
    assert not (tmp_path / "a.parquet").exists()


@pytest.mark.parametrize("text", ["", "?", "AAAA"])
def test_a_damaged_record_of_types_is_refused(text: str):
    with pytest.raises(TableError, match="damaged"):
        load_schema(text)


def test_a_column_whose_name_is_no_text_is_no_table(tmp_path: Path):
    """pyarrow reads the file and then trips over the name."""
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"caption": ["x"]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"caption", b"\xffaption"))
    with pytest.raises(TableError, match="is no Parquet file"):
        ParquetTable(path)
