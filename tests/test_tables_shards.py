"""WebDataset shards: names split as the webdataset library does, rows with pictures that stay, damage named."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from datumaro_clip.errors import TableError
from datumaro_clip.store import ArchiveMember
from datumaro_clip.tables.dataset import ShardDataset
from datumaro_clip.tables.records import ColumnText, Record
from datumaro_clip.tables.rows import Refused
from datumaro_clip.tables.shards import expand_braces, find_shards, split_name


def write_tar(path: Path, members: dict[str, bytes | str] | list[tuple[str, bytes | str]], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as tar:
        for name, content in members.items() if isinstance(members, dict) else members:
            data = content if isinstance(content, bytes) else content.encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def refused(shards: ShardDataset) -> list[tuple[int, str]]:
    return [(each.line, each.reason) for _, each in shards.outcomes() if isinstance(each, Refused)]


def test_an_archive_without_pictures_has_no_records(tmp_path: Path):
    shards = ShardDataset(write_tar(tmp_path / "0.tar", {}))
    assert (list(shards), shards.survey.rows) == ([], 0)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.jpg", ("a", "jpg")),
        ("dir.1/a.b.JPG", ("dir.1/a", "b.jpg")),
        ("./x/a.seg.png", ("x/a", "seg.png")),
        ("é.txt", ("é", "txt")),
        ("nodot", None),
        (".hidden", None),
        ("dir/.hidden.jpg", None),
        ("a.", None),
    ],
)
def test_names_are_split_at_the_first_dot_of_the_base_name(name: str, parts: tuple[str, str] | None):
    assert split_name(name) == parts


def test_members_of_one_name_are_a_record(tmp_path: Path):
    told = {"caption": "from JSON", "n": 3, "tags": ["a"]}
    path = write_tar(
        tmp_path / "train-000000.tar",
        {"d/a.jpg": b"picture", "d/a.txt": "a hat", "d/a.json": json.dumps(told), "b.cls": "7\n", "b.png": b"p"},
    )
    first, second = ShardDataset(path)
    assert first == Record(
        "d/a",
        "train",
        first.picture,
        (ColumnText("txt", "a hat"), ColumnText("caption", "from JSON")),
        (),
        {"n": 3, "tags": ["a"]},
        1,
    )
    assert isinstance(first.picture, ArchiveMember)
    assert (first.picture(), first.picture.archive) == (b"picture", "train-000000.tar")
    first.picture.check()
    assert (second.id, second.labels, second.line) == ("b", (ColumnText("cls", "7"),), 4)


def test_a_text_that_the_json_says_too_is_one_caption(tmp_path: Path):
    """img2dataset writes the caption twice."""
    path = write_tar(tmp_path / "0.tar", {"a.jpg": b"x", "a.txt": "hat", "a.json": '{"caption": "hat"}'})
    [record] = ShardDataset(path)
    assert record.captions == (ColumnText("caption", "hat"),)


def test_rows_of_the_parquet_file_beside_it_are_joined_by_key(tmp_path: Path):
    path = write_tar(tmp_path / "00000.tar", {"000.jpg": b"x", "000.json": '{"w": 1}'})
    columns = {"key": ["000", "001"], "w": [9, 2], "status": ["success", "failed_to_download"]}
    parquet.write_table(pa.table(columns), tmp_path / "00000.parquet")
    shards = ShardDataset(path)
    assert [record.attributes for record in shards] == [{"w": 1, "key": "000", "status": "success"}]
    assert refused(shards) == [(0, "no_picture")]
    assert "key '001', of status failed_to_download, is in the Parquet file" in shards.survey.named[0]


@pytest.mark.parametrize(
    ("members", "expected", "kept"),
    [
        ({"a.jpg": b"x", "b.txt": "alone"}, [(2, "no_picture")], ["a"]),
        ({"a.1.jpg": b"x", "a.1.txt": "t", "a.2.jpg": b"y", "a.2.txt": "u"}, [(1, "extra_picture")], ["a"]),
        ({"a.jpg": b"x", "a.txt": b"\xff", "b.jpg": b"x"}, [(1, "encoding")], ["b"]),
        ({"a.jpg": b"x", "a.json": "{", "b.jpg": b"x"}, [(1, "not_json")], ["b"]),
        ([("a.jpg", b"x"), ("a.jpg", b"y")], [(1, "repeated_member")], ["a"]),
        ([("a.jpg", b"x"), ("b.jpg", b"y"), ("a.jpg", b"z")], [(3, "repeated_id")], ["a", "b"]),
        ({"../a.jpg": b"x", "/b.jpg": b"y", "c.jpg": b"z"}, [(1, "outside"), (2, "outside")], ["c"]),
    ],
)
def test_what_is_no_row_is_named(members: Any, expected: list[tuple[int, str]], kept: list[str], tmp_path: Path):
    shards = ShardDataset(write_tar(tmp_path / "0.tar", members))
    assert refused(shards) == expected
    assert [record.id for record in shards] == kept
    assert len(shards.survey.named) == len(expected)


def test_other_members_are_counted_and_links_are_no_members(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = write_tar(tmp_path / "0.tar", {"a.jpg": b"x", "a.npy": b"n", "b.jpg": b"x", "b.npy": b"n"})
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("c.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert [record.id for record in ShardDataset(path)] == ["a", "b"]
    assert "no item has a place for stay in the archives: npy 2" in caplog.text


def whole(tmp_path: Path) -> bytes:
    members = [(f"{n}.{end}", b"x" * 600) for n in range(4) for end in ("jpg", "txt")]
    return write_tar(tmp_path / "whole.tar", members).read_bytes()


@pytest.mark.parametrize(
    ("cut", "reason", "kept"), [(1024 * 3 + 1536 + 600, "truncated", 2), (1536 * 3 + 100, "damaged", 2)]
)
def test_an_archive_that_is_cut_off_keeps_what_is_whole(cut: int, reason: str, kept: int, tmp_path: Path):
    (tmp_path / "0.tar").write_bytes(whole(tmp_path)[:cut])
    shards = ShardDataset(tmp_path / "0.tar")
    assert [found for _, found in refused(shards)] == [reason]
    assert len(list(shards)) == kept


def test_a_damaged_header_does_not_end_an_archive_in_silence(tmp_path: Path):
    data = bytearray(whole(tmp_path))
    data[1536 * 4 : 1536 * 4 + 200] = b"?" * 200
    (tmp_path / "0.tar").write_bytes(data)
    shards = ShardDataset(tmp_path / "0.tar")
    assert [record.id for record in shards] == ["0", "1"]
    assert refused(shards) == [(5, "damaged")]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("0.tar.gz", b"", "is compressed, and pictures are read where they lie: unpack it"),
        ("0.tgz", b"", "is compressed"),
        ("0.tar", b"nonsense" * 100, "is no tar archive"),
        ("0.tar", b"", "is no tar archive"),
    ],
)
def test_other_archives_are_refused_with_the_cure(name: str, content: bytes, words: str, tmp_path: Path):
    (tmp_path / name).write_bytes(content)
    for spec in (tmp_path / name, tmp_path):
        with pytest.raises(TableError, match=words):
            ShardDataset(spec)


def test_patterns_and_folders_name_archives_and_subsets(tmp_path: Path):
    for name in ("train-000000.tar", "train-000001.tar", "val-0.tar", "7.tar", "test/0.tar"):
        write_tar(tmp_path / name, {})

    def found(spec: str) -> list[tuple[str, str]]:
        return [(path.name, subset) for path, subset in find_shards(str(tmp_path / spec))]

    assert found("") == [
        ("7.tar", "default"),
        ("0.tar", "test"),
        ("train-000000.tar", "train"),
        ("train-000001.tar", "train"),
        ("val-0.tar", "val"),
    ]
    train = [("train-000000.tar", "train"), ("train-000001.tar", "train")]
    assert found("train-{000000..000001}.tar") == found("train-*.tar") == train
    assert found("{val-0,7}.tar") == [("val-0.tar", "val"), ("7.tar", "default")]
    with pytest.raises(TableError, match=r"there is no .*train-000002\.tar, which"):
        found("train-{000000..000002}.tar")
    with pytest.raises(TableError, match=r"names no \.tar archive"):
        found("nothing-*.tar")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a", ["a"]),
        ("{08..11}", ["08", "09", "10", "11"]),
        ("{a,b}{1..2}", ["a1", "a2", "b1", "b2"]),
        ("{a,{b,c}}", ["a", "b", "a", "c"]),
        ("{}", [""]),
    ],
)
def test_braces(pattern: str, names: list[str]):
    assert expand_braces(pattern) == names


@given(st.binary(max_size=3000))
def test_bytes_of_any_kind_are_an_archive_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes):
    path = tmp_path_factory.mktemp("tar") / "0.tar"
    path.write_bytes(data)
    try:
        assert isinstance(list(ShardDataset(path)), list)
    except TableError:
        return
