"""A temporary directory that takes nothing more is named, with what helps."""

from __future__ import annotations

import errno
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from datumaro_clip.curate.near.proposals import RingNeighbours
from datumaro_clip.curate.nearest import Search
from datumaro_clip.curate.thumbnails import ThumbnailFile
from datumaro_clip.errors import ScratchError
from datumaro_clip.system.scratch import scratch_errors

FULL = Path("/dev/full")


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    if not FULL.exists():
        pytest.skip("not on this machine: needs /dev/full")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: FULL.open("w+b"))


def test_what_the_file_system_says_is_passed_on_with_a_cure() -> None:
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
