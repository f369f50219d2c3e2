"""Files appear whole or not at all; names cannot leave their directory."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datumaro_clip.curate.near.proposals import RingNeighbours
from datumaro_clip.curate.nearest import Search
from datumaro_clip.curate.thumbnails import ThumbnailFile
from datumaro_clip.errors import ScratchError
from datumaro_clip.system.files import (
    atomic_directory,
    atomic_path,
    atomic_write,
    blake2b_bytes,
    blake2b_file,
    is_safe_relative,
    read_json,
    safe_file_name,
    scratch_errors,
    sha256_file,
    write_text,
)


@pytest.mark.parametrize("data", [b"", b"a", bytes(3_000_000)])
def test_digests_are_those_of_the_bytes(tmp_path: Path, data: bytes) -> None:
    with atomic_write(tmp_path / "file") as file:
        file.write(data)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(data).hexdigest()
    assert blake2b_file(tmp_path / "file") == blake2b_bytes(data)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")
    with pytest.raises(TypeError), atomic_write(tmp_path / "file") as file:
        file.writelines([b"half", None])  # type: ignore[list-item]
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_parents_are_made(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a" / "b") as path:
        path.write_bytes(b"x")
    assert (tmp_path / "a" / "b").read_bytes() == b"x"


def test_a_written_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    """A temporary made by tempfile would be readable by its owner alone."""
    (tmp_path / "plain").write_bytes(b"")
    write_text(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_failed_directory_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError), atomic_directory(tmp_path / "dir") as path:
        (path / "file").write_bytes(b"half" + None)  # type: ignore[operator]
    assert os.listdir(tmp_path) == []


def test_a_directory_with_contents_is_not_replaced(tmp_path: Path) -> None:
    with atomic_directory(tmp_path / "dir") as path:
        (path / "old").write_text("")
    with pytest.raises(FileExistsError), atomic_directory(tmp_path / "dir"):
        pytest.fail("the block must not be entered")
    assert os.listdir(tmp_path / "dir") == ["old"]


def test_what_comes_into_a_directory_meanwhile_is_not_lost(tmp_path: Path) -> None:
    def fill(path: Path) -> None:
        with atomic_directory(path):
            path.mkdir()
            (path / "other").write_text("")

    with pytest.raises(OSError, match="dir"):
        fill(tmp_path / "dir")
    assert os.listdir(tmp_path) == ["dir"]
    assert os.listdir(tmp_path / "dir") == ["other"]


@pytest.mark.parametrize("name", ["写" * 80, "é" * 120, "a" * 250])
def test_names_as_long_as_a_file_system_takes_can_be_written(name: str, tmp_path: Path) -> None:
    write_text(tmp_path / name, "here")
    assert (tmp_path / name).read_text() == "here"


def test_an_empty_directory_is_filled(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    with atomic_directory(tmp_path / "dir") as path:
        (path / "new").write_text("")
    assert os.listdir(tmp_path / "dir") == ["new"]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("", False),
        ("a", True),
        ("a/b.xml", True),
        ("ünïcode name.png", True),
        ("..", False),
        ("a/../b", False),
        ("./a", False),
        ("/a", False),
        ("a//b", False),
        ("a/", False),
        ("a\\b", False),
        ("C:a", False),
        ("a\0b", False),
        ("a\nb", False),
        ("nul.txt", False),
        ("nul.tar.gz", False),
        ("con .1.jpg", False),
        ("null.txt", True),
        ("dir/COM1", False),
        ("a/...", False),
    ],
)
def test_names_that_leave_their_directory_are_refused(name: str, safe: bool) -> None:
    assert is_safe_relative(name) is safe


@given(st.text() | st.sampled_from(["aux", "nul.tar.gz", "con", "COM1.x", "aux .y"]))
def test_any_text_becomes_one_safe_file_name(text: str) -> None:
    name = safe_file_name(text)
    assert is_safe_relative(name)
    assert "/" not in name
    assert len(name.encode()) <= 180


def test_bytes_that_are_no_text_get_a_safe_name() -> None:
    assert is_safe_relative(safe_file_name(os.fsdecode(b"mod\xe9le")))


def test_texts_that_differ_get_names_that_differ() -> None:
    texts = ["", "a", "a/b", "a:b", "a-b", "A b", "x" * 400, "x" * 401, "nul", "../a", "a."]
    assert len({safe_file_name(text) for text in texts}) == len(texts)


@pytest.mark.parametrize("writing", [atomic_write, atomic_directory])
def test_an_error_names_what_was_to_be_written_and_not_its_temporary(writing: Callable[..., Any]) -> None:
    with pytest.raises(OSError, match=r"'/proc/report'$"), writing("/proc/report"):
        pass


@pytest.mark.parametrize("writing", [atomic_write, atomic_directory])
def test_a_full_disk_is_told_with_the_name_of_what_was_written(writing: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space left on device.*report"), writing(tmp_path / "report"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("text", ["", "{", '"\ud800"', "[" * 100_000])
def test_what_is_not_json_is_a_value_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError, match=r"nested|Expecting|decode"):
        read_json(tmp_path / "a.json")


def test_a_json_file_of_absurd_size_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="larger than 256 MiB"):
        read_json(tmp_path / "a.json")


FULL = Path("/dev/full")


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    if not FULL.exists():
        pytest.skip("not on this machine: needs /dev/full")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: FULL.open("w+b"))


def test_what_the_file_system_says_of_temporary_files_is_passed_on_with_a_cure() -> None:
    with (
        pytest.raises(ScratchError, match="No space left on device; make room there, or name another"),
        scratch_errors(),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.usefixtures("full_disk")
def test_thumbnails_that_find_no_room_say_so() -> None:
    with pytest.raises(ScratchError, match="TMPDIR"), ThumbnailFile() as thumbnails:
        thumbnails.append(np.zeros((96, 96, 3), np.uint8))


@pytest.mark.usefixtures("full_disk")
def test_descriptions_that_find_no_room_say_so() -> None:
    """Writing to a map of a file that the disk cannot hold would kill the process."""
    with ThreadPoolExecutor(1) as pool, pytest.raises(ScratchError, match="TMPDIR"):
        RingNeighbours(np.zeros((3, 96, 96, 3), np.uint8), pool, Search(pool))
