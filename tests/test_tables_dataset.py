"""Tables as records: every row is one, or is counted with a reason and its line."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from datumaro_clip.errors import TableError
from datumaro_clip.tables.dataset import TableDataset
from datumaro_clip.tables.options import TableOptions
from datumaro_clip.tables.records import ColumnText, Record
from datumaro_clip.tables.rows import Refused


def table(folder: Path, content: str | bytes, name: str = "t.csv", **options: object) -> TableDataset:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return TableDataset(folder / name, TableOptions.from_mapping(options, "the test"))


def refused(tables: TableDataset) -> list[tuple[int, str]]:
    return [(each.line, each.reason) for _, each in tables.outcomes() if isinstance(each, Refused)]


def ids(tables: TableDataset) -> list[str]:
    return [record.id for record in tables]


def test_a_table_without_rows_is_a_dataset_without_records(tmp_path: Path):
    tables = table(tmp_path, "image,caption\n")
    assert (list(tables), tables.survey.rows, tables.survey.records) == ([], 0, 0)


def test_a_row_becomes_a_record_and_text_stays_text(tmp_path: Path):
    [record] = table(tmp_path, "id,title,category,price,image,split\n007,A hat,hats,1e5,a/b.jpg,val\n")
    assert record == Record(
        "007",
        "val",
        str(tmp_path / "a" / "b.jpg"),
        (ColumnText("title", "A hat"),),
        (ColumnText("category", "hats"),),
        {"id": "007", "price": "1e5", "image": "a/b.jpg"},
        2,
    )


def test_ids_come_from_paths_and_keep_the_ending_only_where_it_tells_pictures_apart(tmp_path: Path):
    assert ids(table(tmp_path, "image\na/x.jpg\na/x.png\n./b\\y.jpg\nz\n")) == ["a/x.jpg", "a/x.png", "b/y", "z"]


def test_rows_without_a_picture_are_called_after_their_place(tmp_path: Path):
    tables = table(tmp_path, "url,caption\nhttp://a/1.jpg,one\nbad\nhttp://a/2.jpg,two\n")
    assert (ids(tables), refused(tables)) == (["000000000", "000000002"], [(3, "cells")])
    assert [record.picture for record in tables] == [None, None]


@pytest.mark.parametrize("repeats", ["refuse", "number"])
def test_repeated_ids_are_named_and_never_renamed_in_silence(repeats: str, tmp_path: Path):
    tables = table(tmp_path, "id,caption\n7,a\n8,b\n7,c\n7,d\n", repeats=repeats)
    expected = {
        "refuse": (["7", "8"], [(4, "repeated_id"), (5, "repeated_id")]),
        "number": (["7", "8", "7#2", "7#3"], []),
    }
    assert (ids(tables), refused(tables)) == expected[repeats]
    assert tables.survey.records == len(ids(tables))


def test_an_id_may_repeat_in_another_subset(tmp_path: Path):
    assert ids(table(tmp_path, "id,split\n7,train\n7,val\n")) == ["7", "7"]


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("a.jpg", True),
        ("x/../a.jpg", True),
        ("../a.jpg", False),
        ("x/../../a.jpg", False),
        ("/etc/passwd", False),
        ("..\\\\a.jpg", False),
        ("file:///etc/passwd", False),
        (".", False),
    ],
)
def test_paths_that_leave_the_root_are_refused(name: str, inside: bool, tmp_path: Path):
    """A backslash means a slash only where that finds the file; the one outside is there."""
    (tmp_path / "a.jpg").touch()
    tables = table(tmp_path / "t", json.dumps({"image": name}).replace("\\\\\\\\", "\\\\"), "t.jsonl")
    assert [reason for _, reason in refused(tables)] == ([] if inside else ["outside"])


@pytest.mark.parametrize("there", [0, 1])
def test_pictures_that_are_all_elsewhere_are_told(there: int, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """One that is there says that the directory is right."""
    for n in range(there):
        (tmp_path / f"{n}.jpg").touch()
    tables = table(tmp_path, "image\n" + "".join(f"{n}.jpg\n" for n in range(10)))
    assert tables.survey.records == 10
    assert ("name their directory with --image-root" in caplog.text) == (not there)


def test_an_image_root_lets_absolute_paths_in(tmp_path: Path):
    [record] = table(tmp_path / "t", f"image\n{tmp_path}/p/a.jpg\n", image_root=str(tmp_path))
    assert record.picture == str(tmp_path / "p" / "a.jpg")


def test_backslashes_are_slashes_where_those_find_the_file(tmp_path: Path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.jpg").touch()
    found = [Path(str(record.picture)).name for record in table(tmp_path, "image\np\\a.jpg\np\\b.jpg\n")]
    assert found == ["a.jpg", "p\\b.jpg"]


def test_a_template_makes_one_name_of_several_columns(tmp_path: Path):
    tables = table(tmp_path, "imageid,productid\n1,2\n", image_template="{table}/{imageid}_{productid}.jpg")
    [record] = tables
    assert (record.picture, record.id) == (str(tmp_path / "t" / "1_2.jpg"), "t/1_2")
    missing = table(tmp_path, '{"imageid": "1"}', "t.jsonl", image_template="{imageid}_{productid}.jpg")
    assert refused(missing) == [(1, "no_picture_name")]


def test_several_labels_in_one_cell(tmp_path: Path):
    first, second = table(tmp_path, "label\na| b\nc\n", label_separator="|")
    assert [said.text for said in first.labels] == ["a", "b"]
    assert (first.attributes, second.attributes) == ({"label": "a| b"}, {})


def test_attributes_may_be_chosen(tmp_path: Path):
    content = "id,caption,a,b\n1,x,2,3\n"
    assert [record.attributes for record in table(tmp_path, content, attributes="none")] == [{}]
    assert [record.attributes for record in table(tmp_path, content, attributes=["b"])] == [{"b": "3"}]


def test_files_of_a_directory_are_subsets(tmp_path: Path):
    for name in ("train-00000-of-00002.csv", "train-00001-of-00002.csv", "val.csv", "data.csv", ".hidden.csv"):
        (tmp_path / name).write_text("caption\nx\n")
    (tmp_path / "labels.json").write_text('{"not": "a table"}')
    found = [(record.id, record.subset) for record in TableDataset(tmp_path)]
    assert found == [
        ("000000000", "default"),
        ("000000000", "train"),
        ("000000001", "train"),
        ("000000000", "val"),
    ]


def test_folders_of_a_directory_are_subsets(tmp_path: Path):
    for name in ("train", "val"):
        table(tmp_path / name, '{"file_name": "a.jpg"}', "metadata.jsonl")
    assert [(record.subset, record.picture) for record in TableDataset(tmp_path)] == [
        (name, str(tmp_path / name / "a.jpg")) for name in ("train", "val")
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("t.xlsx", "is a spreadsheet; save it as CSV"),
        ("t.doc", "is no table that can be read"),
        ("t.parquet.gz", "is no table that can be read"),
    ],
)
def test_other_files_are_refused_with_the_cure(name: str, words: str, tmp_path: Path):
    with pytest.raises(TableError, match=words):
        table(tmp_path, b"x", name)


def test_a_directory_without_a_table_and_one_with_the_same_twice_are_refused(tmp_path: Path):
    with pytest.raises(TableError, match="holds no table"):
        TableDataset(tmp_path)
    for name in ("t.csv", "t.jsonl"):
        (tmp_path / name).write_text("")
    with pytest.raises(TableError, match="may be the same table twice"):
        TableDataset(tmp_path)


def _parquet_with_a_damaged_group(path: Path) -> None:
    column = pa.table({"caption": [f"{n:040d}" for n in range(9)]})
    parquet.write_table(column, path, row_group_size=3, compression="zstd", use_dictionary=False)
    start = parquet.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 60] = bytes(60)
    path.write_bytes(data)


GOOD = "".join(f"{n},text {n}\n" for n in range(3))
DAMAGED = {
    "an open quotation mark": ("t.csv", f'id,caption\n{GOOD}9,"open\n10,x\n', {(5, "quotes")}, 4),
    "too few cells": ("t.csv", f"id,caption\n{GOOD}9\n10,x\n", {(5, "cells")}, 4),
    "too many cells": ("t.tsv", f"id\tcaption\n{GOOD.replace(',', chr(9))}9\ta\tb\n", {(5, "cells")}, 3),
    "another encoding": ("t.csv", f"id,caption\n{GOOD}9,caf\xe9\n".encode("latin-1"), {(5, "encoding")}, 3),
    "bytes of zero": ("t.csv", f"id,caption\n{GOOD}9,a\0b\n", {(5, "not_text")}, 3),
    "an id twice, and none": ("t.csv", f"id,caption\n{GOOD}1,again\n,none\n", {(5, "repeated_id"), (6, "no_id")}, 3),
    "a path that climbs": ("t.csv", "image,caption\n../../x.jpg,a\nb.jpg,b\n", {(2, "outside")}, 1),
    "ids that climb": (
        "t.csv",
        "id,split\n/a,x\nC:a,x\nb/...,x\nc,..\nd,x\n",
        {(n, "outside") for n in (2, 3, 4, 5)},
        1,
    ),
    "a broken line": ("t.jsonl", '{"id": 1}\n{"id": 2\n[3]\n{"id": 4}\n', {(2, "not_json"), (3, "not_an_object")}, 2),
    "a list cut off": ("t.json", '[{"id": 1},\n{"id": 2},\n{"id":', {(3, "cut_off")}, 2),
    "a picture that is a number": ("t.jsonl", '{"image": 7}\n{"image": "a.jpg"}\n', {(1, "no_picture_name")}, 1),
    "a damaged part": ("t.parquet", None, {(4, "damaged"), (5, "damaged"), (6, "damaged")}, 6),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_each_row_of_a_damaged_table_is_accounted_for(damage: str, tmp_path: Path):
    name, content, expected, kept = DAMAGED[damage]
    if content is None:
        _parquet_with_a_damaged_group(tmp_path / name)
        tables = TableDataset(tmp_path / name)
    else:
        tables = table(tmp_path, content, name)
    assert set(refused(tables)) == expected
    assert (len(ids(tables)), tables.survey.records) == (kept, kept)
    assert tables.survey.rows == kept + len(expected)
    assert tables.survey.refused == Counter(reason for _, reason in expected)
    assert all(str(tmp_path / name) in line for line in tables.survey.named)


def test_captions_beside_pictures(tmp_path: Path):
    for name, text in (("b", "second"), ("a", "first\n"), ("d", "no picture")):
        (tmp_path / f"{name}.txt").write_text(text)
    for name in ("a.jpg", "b.PNG", "c.webp"):
        (tmp_path / name).touch()
    (tmp_path / "e.jpg").touch()
    (tmp_path / "e.txt").write_bytes(b"\xff")
    tables = TableDataset(tmp_path, TableOptions(dialect="sidecar"))
    assert [(record.id, [said.text for said in record.captions]) for record in tables] == [
        ("a", ["first"]),
        ("b", ["second"]),
        ("c", []),
    ]
    assert refused(tables) == [(4, "no_picture"), (5, "encoding")]
