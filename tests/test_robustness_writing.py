"""Writes that fail, are killed, or are repeated leave the old store or the new one, and a clear error."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from datumaro_clip.embedding.cache import VectorCache
from datumaro_clip.errors import StoreWriteError
from datumaro_clip.store import Header, Record, StoreWriter, append_to_store, create_store, kind_names, open_store
from datumaro_clip.testing.records import HEADER, assert_same, files_of, make_records

RECORDS = make_records(8)


def write(path: Path, kind: str, records: int, header: Header = HEADER) -> dict[str, bytes]:
    """Write a store over what is there, and return its files."""
    with create_store(path, kind, header, overwrite=True) as writer:
        for record in make_records(records):
            writer.add(record)
    return files_of(path)


@pytest.fixture(params=kind_names())
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write(tmp_path / "store", request.param, 6)
    return tmp_path / "store"


def read_all(path: Path) -> list[Record]:
    """Everything, checked."""
    with open_store(path) as reader:
        reader.check()
        return list(reader.records())


LIMITED = """
import resource, sys
from datumaro_clip.errors import StoreWriteError
from datumaro_clip.store import append_to_store
from datumaro_clip.testing.records import make_records
path, limit = sys.argv[1], int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    with append_to_store(path) as writer:
        for record in make_records(5000, seed=9):
            writer.add(record)
        writer.media.add_bytes(b"x" * 5000, "a.jpg")
except StoreWriteError as error:
    print(error)
    sys.exit(3)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="not on this machine: needs file size limits")
@pytest.mark.parametrize("limit", [0, 100, 3000, 100_000])
def test_a_full_disk_leaves_the_old_store(store: Path, limit: int) -> None:
    """Wherever the space runs out: a clear message, the old files unchanged, and success once there is room."""
    before = files_of(store)
    command = [sys.executable, "-c", LIMITED, store, str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "cannot write the store" in done.stdout
    assert "unchanged" in done.stdout
    assert files_of(store) == before
    with append_to_store(store) as writer:
        writer.add(RECORDS[0])


# Runs a command twice: first no file may grow beyond so many bytes, then there is room.
TWICE = """
import resource, sys
from importlib import import_module
limit, main = int(sys.argv.pop(1)), import_module(sys.argv.pop(1)).main
sizes = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, sizes[1]))
full = main(sys.argv[1:])
resource.setrlimit(resource.RLIMIT_FSIZE, sizes)
print("full", full, "room", main(sys.argv[1:]))
"""

EMBED = "datumaro.cli.__main__ transform -t clip_embed -o out --overwrite in:image_dir -- --model tiny"
EXPORT = "datumaro.cli.__main__ export --overwrite -i in:image_dir -o kept -f"


@pytest.mark.skipif(sys.platform == "win32", reason="not on this machine: needs file size limits")
@pytest.mark.parametrize(
    ("limit", "command", "message"),
    [
        (0, f"{EMBED} --cache cache", "vector cache"),
        (20_000, f"{EMBED} --cache cache", "vector cache"),
        (0, f"{EMBED} --cache off --store new", "cannot write the store"),
        (3000, f"{EXPORT} clip_mmap -- --model tiny --cache off --save-media", "cannot write the store"),
        (1000, f"{EMBED} --cache new", "vector cache"),
    ],
)
def test_a_command_on_a_full_disk_says_so_and_can_be_repeated(
    tmp_path: Path, limit: int, command: str, message: str
) -> None:
    """A clear message, exit status 1, and the same command succeeds once there is room."""
    (tmp_path / "in").mkdir()
    for number in range(40):
        Image.effect_noise((48, 48), number + 1).convert("RGB").save(tmp_path / f"in/{number}.png")
    write(tmp_path / "kept", "clip_mmap", 6)
    words = [sys.executable, "-c", TWICE, str(limit), *command.split()]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "full 1 room 0", done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def killed_write(path: Path, kind: str, after: int) -> int:
    """Write a new store in another process, which is killed before one of its calls to the file system."""
    process = multiprocessing.get_context("fork").Process(target=_write_until_killed, args=(path, kind, after))
    process.start()
    process.join()
    return process.exitcode or 0


CALLS = {"os.fsync", "os.mkdir", "os.remove", "os.rename"}


def _write_until_killed(path: Path, kind: str, after: int) -> None:
    calls = itertools.count()

    def count(event: str, _: object = ()) -> None:
        if event in CALLS and next(calls) == after:
            os.kill(os.getpid(), signal.SIGKILL)

    # Audited, since pathlib kept functions of its own before Python 3.11; what syncs is not.
    sys.addaudithook(count)
    os.fsync = lambda file: count("os.fsync")
    with create_store(path, kind, HEADER, overwrite=True) as writer:
        for i, record in enumerate(make_records(6, seed=2)):
            writer.add(record)
            writer.media.add_bytes(b"new %d" % i, f"{i}.jpg")


forks = pytest.mark.skipif(sys.platform != "linux", reason="not on this machine: needs fork and SIGKILL")


@forks
@pytest.mark.parametrize("kind", kind_names())
def test_a_killed_write_leaves_the_old_store_or_the_new(kind: str, tmp_path: Path) -> None:
    """Killed before each of its calls to the file system; afterwards the same write succeeds, and cleans up."""
    old, new = make_records(5), make_records(6, seed=2)
    left = []
    with create_store(tmp_path / "old", kind, HEADER) as writer:
        for record in old:
            writer.add(record)
        writer.media.add_bytes(b"old", "old.jpg")
    for after in itertools.count():
        path = shutil.copytree(tmp_path / "old", tmp_path / str(after))
        status = killed_write(path, kind, after)
        found = read_all(path)
        assert_same(found, old if len(found) == len(old) else new)
        assert len(found) == len(new) or (path / "media/old.jpg").read_bytes() == b"old"
        left.append(len(found))
        if status == 0:
            break
        assert status == -signal.SIGKILL
        assert killed_write(path, kind, 10**6) == 0
        assert len(read_all(path)) == len(new)
        assert not list(path.glob(".*.tmp"))
        assert not (path / "media/old.jpg").exists()
    assert left == sorted(left)
    assert set(left) == {5, 6}
    assert len(left) > 20


@forks
@pytest.mark.parametrize("kind", kind_names())
def test_a_killed_first_write_is_repeated_byte_for_byte(kind: str, tmp_path: Path) -> None:
    """The files that a killed run left do not change what the next run writes."""
    assert killed_write(tmp_path / "fresh", kind, 10**6) == 0
    for after in (3, 9, 15):
        assert killed_write(tmp_path / "store", kind, after) == -signal.SIGKILL
    assert killed_write(tmp_path / "store", kind, 10**6) == 0
    assert files_of(tmp_path / "store") == files_of(tmp_path / "fresh")


def test_a_store_deleted_while_it_is_read_is_read_to_its_end(store: Path) -> None:
    """Open files outlive their names."""
    reader = open_store(store)
    shutil.rmtree(store)
    assert len(list(reader.records())) == 6


def test_a_file_in_the_way_is_a_write_error(tmp_path: Path) -> None:
    """The output is a file, or below a file."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(StoreWriteError, match="cannot write"):
            create_store(path, "clip_mmap", HEADER)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="not on this machine: root may write anywhere"
)
def test_an_unwritable_directory_is_a_write_error(store: Path) -> None:
    store.chmod(0o500)
    try:
        with pytest.raises(StoreWriteError, match="Permission"):
            append_to_store(store)
    finally:
        store.chmod(0o700)


def test_a_second_commit_does_nothing(store: Path) -> None:
    """The end of the block does not commit a second time."""
    with append_to_store(store) as writer:
        writer.add(RECORDS[7])
        writer.commit()
        after = files_of(store)
        with pytest.raises(StoreWriteError, match="has ended"):
            writer.add(RECORDS[6])
        with pytest.raises(StoreWriteError, match="has ended"):
            writer.remove(RECORDS[0].key)
    assert files_of(store) == after
    with open_store(store) as reader:
        reader.check()
        assert len(reader) == 7


def test_an_error_after_a_commit_undoes_nothing(store: Path) -> None:
    def commit_and_fail(writer: StoreWriter) -> None:
        with writer:
            writer.add(RECORDS[7])
            writer.commit()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        commit_and_fail(append_to_store(store))
    assert len(open_store(store)) == 7
    append_to_store(store).abort()


@pytest.mark.parametrize("kind", kind_names())
def test_writing_the_same_again_changes_nothing(tmp_path: Path, kind: str) -> None:
    """A command that was killed after writing its store writes the same store when it is run again."""
    once = write(tmp_path, kind, 6)
    assert write(tmp_path, kind, 6) == once
    others = write(tmp_path, kind, 5), write(tmp_path, kind, 5, Header(HEADER.space, infos={"by": "them"}))
    assert once != others[0] != others[1]


def test_writing_the_same_again_mends_what_is_damaged(store: Path) -> None:
    kind, wanted = open_store(store).kind.name, list(open_store(store).records())
    file = next(path for path in store.rglob("*") if path.suffix in (".h5", ".npy"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    write(store, kind, 6)
    with open_store(store) as reader:
        reader.check()
        assert_same(reader.records(), wanted)


def test_a_clock_turned_back_changes_neither_store_nor_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stored bytes do not depend on the time, and a full cache still removes the least recently used."""
    past: Iterator[float] = itertools.count(10**9, -1000)
    monkeypatch.setattr("time.time", lambda: float(next(past)))
    assert write(tmp_path / "one", "clip_mmap", 6) == write(tmp_path / "two", "clip_mmap", 6)
    with VectorCache(tmp_path / "cache", max_bytes=1 << 20) as cache:
        for number in range(1000):
            cache.put([b"%d" % number], [[float(number)] * 512])
            cache.get([b"0"])
            cache.flush()
        assert cache.get([b"0"])[0] is not None
        assert cache.get([b"1"])[0] is None
        assert cache.get([b"999"])[0] is not None
