"""The vector cache: right keys, bounded size, several processes, and damage that affects only what it hit."""

from __future__ import annotations

import logging
import random
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from datumaro_clip.cli import cache as cache_command
from datumaro_clip.cli.cache import configure
from datumaro_clip.curate.run_model import RunModel
from datumaro_clip.curate.vector_options import EmbeddingOptions
from datumaro_clip.embedding import ImageRequest, PartsRequest, database
from datumaro_clip.embedding.cache import VectorCache, cache_directory
from datumaro_clip.errors import CacheError
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.vectors import FloatArray, Provenance, VectorSpace

SPACE = VectorSpace("sha256:" + "0" * 64, 8)
F32 = Provenance(SPACE, "f32", "CPU")


def keys_of(count: int) -> list[bytes]:
    return [b"%032d" % index for index in range(count)]


def vectors_of(count: int, dimension: int = 512) -> FloatArray:
    return np.repeat(np.arange(count, dtype=np.float32)[:, None], dimension, axis=1)


def filled(path: Path, count: int = 400) -> VectorCache:
    cache = VectorCache(path)
    cache.put(keys_of(count), vectors_of(count))
    return cache


@pytest.mark.parametrize("count", [0, 1, 50])
def test_what_was_put_is_got_by_a_later_process(count: int, tmp_path: Path) -> None:
    filled(tmp_path, count).close()
    with VectorCache(tmp_path) as cache:
        got = cache.get([*keys_of(count), b"unknown"])
        assert got[-1] is None
        np.testing.assert_array_equal(np.array(got[:-1]).reshape(count, 512), vectors_of(count))
        assert cache.info().vectors == count


def test_a_vector_put_again_replaces_the_first(tmp_path: Path) -> None:
    with VectorCache(tmp_path) as cache:
        cache.put([b"k"], [np.zeros(4)])
        cache.put([b"k"], [np.ones(4)])
        np.testing.assert_array_equal(cache.get([b"k"])[0], np.ones(4))


def test_the_vectors_whose_last_use_is_longest_ago_go_first(tmp_path: Path) -> None:
    """New vectors push out what was just used, or the size is not kept."""
    keys, vectors, sizes = keys_of(600), vectors_of(600), []
    with VectorCache(tmp_path, max_bytes=1_000_000) as cache:
        for start in range(0, 600, 20):
            cache.put(keys[start : start + 20], vectors[start : start + 20])
            assert cache.get(keys[:1])[0] is not None
            sizes.append(cache.info().bytes)
        held = [vector is not None for vector in cache.get(keys)]
    assert max(sizes) <= 1_000_000
    assert min(sizes[25:]) < 930_000, "a full cache is emptied to nine tenths, not at each put again"
    assert held[0]
    assert not held[1]
    assert all(held[-100:])


def test_what_was_only_got_counts_as_used_for_a_later_process(tmp_path: Path) -> None:
    keys, vectors = keys_of(600), vectors_of(600)
    with VectorCache(tmp_path, max_bytes=1_000_000) as cache:
        cache.put(keys[:100], vectors[:100])
        cache.put(keys[100:200], vectors[100:200])
    with VectorCache(tmp_path, max_bytes=1_000_000) as cache:
        assert cache.get(keys[:1])[0] is not None
    with VectorCache(tmp_path, max_bytes=1_000_000) as cache:
        for start in range(200, 450, 50):
            cache.put(keys[start : start + 50], vectors[start : start + 50])
        assert [vector is not None for vector in cache.get(keys[:2])] == [True, False]


def test_a_cache_smaller_than_one_batch_still_works(tmp_path: Path) -> None:
    with VectorCache(tmp_path, max_bytes=1) as cache:
        cache.put(keys_of(20), vectors_of(20))
        cache.put(keys_of(22)[20:], vectors_of(2))
        assert cache.info().vectors == 2


def test_several_processes_and_threads_write_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np\n"
        "from datumaro_clip.embedding.cache import VectorCache\n"
        "with VectorCache(sys.argv[1]) as cache:\n"
        "    for i in range(40):\n"
        "        cache.put([bytes([i]) * 32], [np.full(8, i)])\n"
        "        assert cache.get([bytes([i]) * 32])[0][0] == i\n"
    )
    others = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(4)]
    with VectorCache(tmp_path) as cache:
        threads = [threading.Thread(target=cache.put, args=([b"%d" % i], [np.full(8, i)])) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [process.wait(60) for process in others] == [0] * 4
        assert cache.info().vectors == 48


def test_threads_that_read_do_not_disturb_one_that_writes(tmp_path: Path) -> None:
    """Uses are noted while they are being written down."""
    keys, failures = keys_of(200), []

    def read() -> None:
        try:
            for _ in range(30):
                cache.get(keys)
        except Exception as exc:
            failures.append(exc)

    with filled(tmp_path, 200) as cache:
        readers = [threading.Thread(target=read) for _ in range(4)]
        for thread in readers:
            thread.start()
        for index in range(100):
            cache.put([b"new %d" % index], [np.zeros(4)])
        for thread in readers:
            thread.join()
    assert not failures


def test_a_key_without_a_vector_is_refused(tmp_path: Path) -> None:
    with VectorCache(tmp_path) as cache, pytest.raises(ValueError, match="shorter"):
        cache.put(keys_of(2), vectors_of(1))


def test_a_closed_cache_opens_again(tmp_path: Path) -> None:
    cache = filled(tmp_path, 1)
    cache.close()
    cache.close()
    assert cache.get(keys_of(1))[0] is not None
    cache.close()


@pytest.mark.parametrize("content", [b"", b"no database at all", b"\0" * 9000])
def test_a_file_that_is_no_database_is_set_aside(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "vectors.sqlite").write_bytes(content)
    with caplog.at_level(logging.WARNING), filled(tmp_path, 3) as cache:
        assert cache.get(keys_of(1))[0] is not None
    aside = [path for path in tmp_path.iterdir() if path.suffix == ".damaged"]
    assert len(aside) == ("set aside" in caplog.text) == bool(content)
    assert [path.read_bytes() for path in aside] == [content] * len(aside)


def test_caches_of_earlier_releases_stay_usable(tmp_path: Path) -> None:
    """Another number in its head, and each user's cache is refused."""
    filled(tmp_path, 1).close()
    with closing(sqlite3.connect(tmp_path / "vectors.sqlite")) as cache:
        told = [cache.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
        assert [*told, cache.execute("PRAGMA journal_mode").fetchone()[0]] == [0x64636C69, 1, "wal"]


class Locked:
    """A connection to a database whose journal another process is just about to change, so many times."""

    def __init__(self, times: int, said: str = "database is locked") -> None:
        self.left, self._said = times, said

    def execute(self, statement: str) -> None:
        if "journal_mode" in statement:
            self.left -= 1
            if self.left >= 0:
                raise sqlite3.OperationalError(self._said)


def test_a_journal_that_is_busy_is_waited_for_and_a_full_disk_is_not() -> None:
    waited = Locked(2)
    database._use_write_ahead_log(waited)  # type: ignore[arg-type]
    assert waited.left == -1
    with pytest.raises(sqlite3.OperationalError, match="full"):
        database._use_write_ahead_log(Locked(1, "database or disk is full"))  # type: ignore[arg-type]


def test_a_damaged_database_that_cannot_be_set_aside_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    (tmp_path / "vectors.sqlite").write_bytes(b"no database at all")
    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(CacheError, match=r"is damaged .*; delete it"):
        filled(tmp_path, 1)


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "vectors.sqlite") as foreign:
        foreign.execute("CREATE TABLE diary (entry TEXT)")
    foreign.close()
    before = (tmp_path / "vectors.sqlite").read_bytes()
    with pytest.raises(CacheError, match="not a vector cache"):
        VectorCache(tmp_path)
    assert (tmp_path / "vectors.sqlite").read_bytes() == before


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="--cache off"):
        VectorCache(tmp_path / "file")


def test_one_damaged_vector_is_a_miss_and_counted(tmp_path: Path) -> None:
    filled(tmp_path, 3).close()
    with sqlite3.connect(tmp_path / "vectors.sqlite") as database:
        database.execute("UPDATE vectors SET vector = zeroblob(2048) WHERE key = ?", (keys_of(3)[1],))
        database.execute("UPDATE vectors SET checksum = 'text' WHERE key = ?", (keys_of(3)[2],))
    database.close()
    with VectorCache(tmp_path) as cache:
        assert [vector is None for vector in cache.get(keys_of(3))] == [False, True, True]
        assert cache.corrupt == 2
        assert cache.verify() == 2
        assert (cache.verify(), cache.info().vectors) == (0, 1)


def test_damaged_vectors_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    filled(tmp_path, 1).close()
    with sqlite3.connect(tmp_path / "vectors.sqlite") as database:
        database.execute("UPDATE vectors SET checksum = 0")
    database.close()
    with caplog.at_level(logging.WARNING), VectorCache(tmp_path) as cache:
        cache.get(keys_of(1))
        cache.flush()
        assert "1 damaged vectors" in caplog.text
    assert len(caplog.records) == 1


def test_a_run_tells_of_damaged_vectors(encoder: FakeEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At its end, although nobody closes the cache: what a run uses is open until the process ends."""
    options = EmbeddingOptions(model="fake", cache=str(tmp_path))
    request = PartsRequest(ImageRequest(np.zeros((8, 8, 3), np.uint8)))
    first, second = RunModel(options), RunModel(options)
    assert [found.results[0].source for found in first.embed_parts([request])] == ["computed"]
    first.flush()
    assert caplog.text == ""
    with sqlite3.connect(tmp_path / "vectors.sqlite") as database:
        database.execute("UPDATE vectors SET checksum = 0")
    database.close()
    assert [found.results[0].source for found in second.embed_parts([request])] == ["computed"]
    second.flush()
    assert "1 damaged vectors" in caplog.text


def test_a_key_of_another_type_costs_the_cache_nothing(tmp_path: Path) -> None:
    with filled(tmp_path, 1) as cache:
        with pytest.raises(TypeError, match="keys are bytes"):
            cache.get([("key",)])  # type: ignore[list-item]
        assert cache.get(keys_of(1))[0] is not None


def test_a_damaged_database_is_set_aside_once_by_all_who_use_it(tmp_path: Path) -> None:
    filled(tmp_path, 400).close()
    path = tmp_path / "vectors.sqlite"
    with VectorCache(tmp_path) as one, VectorCache(tmp_path) as other:
        content = path.read_bytes()
        with path.open("rb+") as file:
            file.write(b"\xff" * len(content))
        for cache in (one, other):
            cache.put([b"new"], vectors_of(1))
        assert one.get([b"new"])[0] is not None
    assert len(list(tmp_path.glob("*.damaged"))) == 1


@pytest.mark.parametrize("seed", range(30))
def test_no_damage_gives_a_wrong_vector_or_stops_the_next_run(seed: int, tmp_path: Path) -> None:
    """Flipped bytes and truncation: a signal, a foreign error, or a vector that was not put."""
    filled(tmp_path, 60).close()
    chance, file = random.Random(seed), tmp_path / "vectors.sqlite"
    data = bytearray(file.read_bytes())
    if seed % 3 == 0:
        del data[chance.randrange(1, len(data)) :]
    for _ in range(40):
        page = chance.randrange(len(data)) // 8192 * 8192 if seed % 3 == 1 else 0
        data[min(page + chance.randrange(60 if page else len(data)), len(data) - 1)] ^= chance.randrange(1, 256)
    file.write_bytes(data)
    for index, vector in enumerate(_get_after_damage(tmp_path)):
        assert vector is None or np.array_equal(vector, np.full(512, index, np.float32))


def _get_after_damage(path: Path) -> list[FloatArray | None]:
    """What a cache that may be damaged still gives; nothing, if it says that it cannot be used."""
    try:
        with VectorCache(path) as cache:
            got = cache.get(keys_of(60))
            cache.put(keys_of(60), vectors_of(60))
            cache.verify()
            return got
    except CacheError:
        return []


@pytest.mark.parametrize(("variable", "value"), [("DATUMARO_CLIP_CACHE", "chosen")])
def test_the_environment_says_where_vectors_are_cached(
    variable: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / value))
    with VectorCache() as cache:
        assert cache.path == cache_directory() == tmp_path / value / "vectors"


def test_the_command_shows_checks_and_empties(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import argparse

    filled(tmp_path, 5).close()
    parser = argparse.ArgumentParser()
    configure(parser)
    said = []
    for action in ("info", "verify", "clear", "info"):
        assert cache_command.run(parser.parse_args([action, "--cache", str(tmp_path)])) == 0
        said.append(capsys.readouterr().out)
    assert "5 vectors" in said[0]
    assert said[1] == "5 vectors read, 0 damaged and removed\n"
    assert said[2].startswith("5 vectors removed")
    assert " 0 vectors" in said[3]
