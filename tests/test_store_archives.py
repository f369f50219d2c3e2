"""Files inside tar archives are read in place, or refused with a reason."""

from __future__ import annotations

import os
import tarfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from datumaro_clip.errors import ImageError
from datumaro_clip.store import ArchiveMember

NAMES = ("a.jpg", "dir/" * 60 + "long.jpg", "é/ü.jpg", "./b.jpg")


@pytest.fixture(params=[tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def members(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, ArchiveMember]:
    """The members of an archive, each with its name as its bytes."""
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards/0.tar", "w", format=request.param) as tar:
        for name in NAMES:
            info = tarfile.TarInfo(name)
            info.size = len(name.encode())
            tar.addfile(info, BytesIO(name.encode()))
    with tarfile.open(tmp_path / "shards/0.tar") as tar:
        return {i.name: ArchiveMember(str(tmp_path), "shards/0.tar", i.offset_data, i.size, i.name) for i in tar}


def test_a_member_is_read_where_it_lies(members: dict[str, ArchiveMember]) -> None:
    assert {name: member().decode() for name, member in members.items()} == {name: name for name in NAMES}
    for member in members.values():
        member.check()


def test_another_member_in_its_place_is_noticed(members: dict[str, ArchiveMember]) -> None:
    """Its name or its length differs, or there is no member."""
    first, last = members["a.jpg"], members["./b.jpg"]
    for wrong in (replace(first, offset=last.offset, length=last.length), replace(first, length=3)):
        with pytest.raises(ImageError, match="is there instead; import the archive again"):
            wrong.check()
    with pytest.raises(ImageError, match="no member begins there"):
        replace(first, offset=first.offset + 100).check()


@pytest.mark.parametrize("reason", ["missing", "not_a_file", "truncated"])
def test_an_archive_that_cannot_be_read_has_its_reason(reason: str, members: dict[str, ArchiveMember]) -> None:
    """A pipe would block for ever, and a false length would allocate memory."""
    member = replace(members["a.jpg"], length=1 << 40) if reason == "truncated" else members["a.jpg"]
    if reason != "truncated":
        os.unlink(member.path)
    if reason == "not_a_file":
        os.mkfifo(member.path)
    for read in (member, member.check):
        with pytest.raises(ImageError, match=r"a\.jpg in") as error:
            read()
        assert error.value.reason == reason


@pytest.mark.parametrize(
    "changes",
    [
        {"archive": "../shard.tar"},
        {"archive": "a//shard.tar"},
        {"archive": 7},
        {"root": "/\0"},
        {"offset": 511},
        {"offset": 512.0},
        {"length": -1},
        {"member": None},
        {"more": 1},
    ],
    ids=str,
)
def test_a_payload_that_names_no_member_is_refused(changes: dict[str, Any]) -> None:
    """Whoever reads it: an item of a dataset, the service, a notebook."""
    sound = {"root": "/data", "archive": "a/shard.tar", "offset": 512, "length": 0, "member": "x.jpg"}
    assert ArchiveMember.parse(sound).path == "/data/a/shard.tar"
    with pytest.raises(ValueError, match="archive"):
        ArchiveMember.parse({**sound, **changes})
