"""Media get a name in a store, whatever files are there already."""

from __future__ import annotations

from pathlib import Path

import pytest

from datumaro_clip.errors import StoreWriteError
from datumaro_clip.store import MediaFolder


def contents(root: Path, references: list[str]) -> list[bytes]:
    return [(root / reference).read_bytes() for reference in references]


@pytest.mark.parametrize("names", [["a"], ["a/b"], ["a", "a/b"], ["a/b", "a"]])
def test_every_content_has_a_place(tmp_path: Path, names: list[str]) -> None:
    """A file where another name wants a directory, and the contents changed again and again."""
    data = [f"{name} {write}".encode() for write in range(4) for name in names]
    references = []
    for start in range(0, len(data), len(names)):
        folder = MediaFolder(tmp_path)
        references += map(folder.add_bytes, data[start : start + len(names)], names)
    assert len(set(references)) == len(data)
    assert contents(tmp_path, references) == data
    assert list(map(MediaFolder(tmp_path).add_bytes, data, names * 4)) == references


def test_a_file_is_kept_once_and_one_of_the_store_itself_stays_where_it_is(tmp_path: Path) -> None:
    store, outside = tmp_path / "store", tmp_path / "a.jpg"
    store.mkdir()
    outside.write_bytes(b"picture")
    folder = MediaFolder(store)
    kept = folder.add_file(outside, "a.jpg")
    assert contents(store, [kept]) == [b"picture"]
    outside.unlink()
    assert folder.add_file(outside, "again.jpg") == kept  # not read again
    assert MediaFolder(store).add_file(store / kept, "other.jpg") == kept
    assert len(list((store / "media").iterdir())) == 1


def test_adopted_media_that_must_be_called_otherwise_are_told(tmp_path: Path) -> None:
    """Equal contents with one name are one file; a file in place of a directory makes names flat."""
    ours, theirs = (tmp_path / name for name in ("ours", "theirs"))
    for root, contents_of in ((ours, {"same": b"s", "a": b"1", "dir": b"d"}), (theirs, {"same": b"s", "a": b"2"})):
        root.mkdir()
        for name, data in contents_of.items():
            MediaFolder(root).add_bytes(data, name)
    MediaFolder(theirs).add_bytes(b"deep", "dir/a")
    renamed = MediaFolder(ours).adopt(theirs, link=False)
    assert renamed.keys() == {"media/a", "media/dir/a"}
    assert contents(ours, [renamed["media/a"], renamed["media/dir/a"], "media/a"]) == [b"2", b"deep", b"1"]


@pytest.mark.parametrize("name", ["d/" * 1500 + "a.jpg", "n" * 3000 + ".jpg", "/", "..", "a/../../b.jpg"])
def test_names_are_made_short_and_safe(name: str, tmp_path: Path) -> None:
    """The whole path may have 4,096 bytes, each part of it 255, and none leads out of the store."""
    reference = MediaFolder(tmp_path).add_bytes(b"x", name)
    assert contents(tmp_path, [reference]) == [b"x"]
    assert len(reference) <= 1040
    assert (tmp_path / reference).resolve().is_relative_to(tmp_path.resolve() / "media")
    assert reference.endswith(".jpg") is name.endswith(".jpg")


def test_what_leads_out_of_the_other_store_is_passed_over_and_nothing_behind_it(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for name in ("a.jpg", "c.jpg"):
        theirs.mkdir(exist_ok=True)
        MediaFolder(theirs).add_bytes(name.encode(), name)
    (tmp_path / "secret").write_bytes(b"secret")
    (theirs / "media" / "b.jpg").symlink_to(tmp_path / "secret")
    ours.mkdir()
    assert MediaFolder(ours).adopt(theirs, link=False) == {}
    assert sorted(path.name for path in (ours / "media").iterdir()) == ["a.jpg", "c.jpg"]


def test_a_file_where_the_media_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "media").write_bytes(b"another's")
    with pytest.raises(StoreWriteError, match=r"media: .*it is in the way"):
        MediaFolder(tmp_path).add_bytes(b"ours", "a.jpg")
    assert [path.name for path in tmp_path.iterdir()] == ["media"]


def test_what_is_discarded_leaves_no_empty_directories(tmp_path: Path) -> None:
    old = MediaFolder(tmp_path).add_bytes(b"old", "train/a.jpg")
    new = MediaFolder(tmp_path)
    for name in ("train/b.jpg", "train/deep/c.jpg", "val/deep/d.jpg"):
        new.add_bytes(name.encode(), name)
    new.discard()
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "media",
        "media/train",
        old,
    ]
