"""A write never removes files of something else, and always removes the leftovers of killed writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from datumaro_clip.errors import OptionError, StoreWriteError
from datumaro_clip.store import create_store, kind_names, store_kind
from datumaro_clip.store.lock import LOCK_NAME, is_unfinished
from datumaro_clip.testing.records import HEADER, files_of, make_records

pytestmark = pytest.mark.parametrize("kind", kind_names())


def write(path: Path, kind: str) -> None:
    with create_store(path, kind, HEADER, overwrite=True) as writer:
        writer.add(make_records(1)[0])
        writer.media.add_bytes(b"ours", "train/deep/a.jpg")


def fail_to_write(path: Path, kind: str) -> None:
    with create_store(path, kind, HEADER) as writer:
        writer.add(make_records(1)[0])
        writer.media.add_bytes(b"ours", "train/deep/a.jpg")
        raise ZeroDivisionError


def put(root: Path, name: str) -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(b"another's")
    return root


@pytest.mark.parametrize(
    "name", ["media/holiday.jpg", "media", "segment-000007/clip.mp4", "segment-000002", "segment-000003.h5"]
)
def test_a_directory_of_something_else_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    """Its files would be taken for leftovers, now or when the store is overwritten."""
    root = put(tmp_path / "mine", name)
    for _ in range(2):
        with pytest.raises(StoreWriteError, match=f"mine holds {name.split('/')[0]} of something else; choose another"):
            create_store(root, kind, HEADER, overwrite=True)
    assert files_of(root) == {name.replace("/", os.sep): b"another's"}


def test_a_store_among_other_files_leaves_them_alone(tmp_path: Path, kind: str) -> None:
    root = put(put(tmp_path, "notes.txt"), "images/a.jpg")
    for _ in range(2):
        write(root, kind)
    assert (root / "notes.txt").exists()
    assert (root / "images/a.jpg").exists()


def test_a_first_write_that_failed_leaves_nothing_that_is_ours(tmp_path: Path, kind: str) -> None:
    """Otherwise files put there later would be taken for the store's."""
    root = put(tmp_path, "notes.txt")
    with pytest.raises(ZeroDivisionError):
        fail_to_write(root, kind)
    assert list(root.iterdir()) == [root / "notes.txt"]
    put(root, "media/mine.jpg")
    with pytest.raises(StoreWriteError, match="something else"):
        write(root, kind)
    assert (root / "media/mine.jpg").exists()


def test_a_first_write_that_failed_leaves_no_directory(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_to_write(tmp_path / "new", kind)
    assert not (tmp_path / "new").exists()


def test_what_cannot_be_begun_leaves_no_directory(tmp_path: Path, kind: str) -> None:
    wrong = {"clip_hdf5": ("clip_zarr", "none"), "clip_mmap": ("clip_mmap", "gzip")}[kind]
    with pytest.raises(OptionError):
        create_store(tmp_path / "new", wrong[0], HEADER, compression=wrong[1])
    assert not (tmp_path / "new").exists()


def test_what_a_killed_first_write_left_is_ours(tmp_path: Path, kind: str) -> None:
    """The lock's file marks them as ours, even after a second write fails: the third removes them."""
    for name in (LOCK_NAME, "segment-000001/items.jsonl", "segment-000002.h5", "media/old.jpg", ".media.1-2.tmp"):
        put(tmp_path, name)
    with pytest.raises(ZeroDivisionError):
        fail_to_write(tmp_path, kind)
    assert is_unfinished(tmp_path, store_kind(kind))
    write(tmp_path, kind)
    write(tmp_path.parent / f"{tmp_path.name} fresh", kind)
    assert files_of(tmp_path).keys() == files_of(tmp_path.parent / f"{tmp_path.name} fresh").keys()


def test_a_store_keeps_its_lock_when_a_write_fails(tmp_path: Path, kind: str) -> None:
    with create_store(tmp_path, kind, HEADER):
        pass
    before = files_of(tmp_path)
    with pytest.raises(StoreWriteError, match="already"):
        fail_to_write(tmp_path, kind)
    assert files_of(tmp_path) == before


def test_the_directories_above_a_store_are_made(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "several" / "above" / "store", kind)
    assert (tmp_path / "several/above/store" / f"{kind}.json").is_file()
