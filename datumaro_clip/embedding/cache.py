"""The vector cache: vectors by key, shared by all processes; the least recently used are removed first."""

from __future__ import annotations

import logging
import math
import os
import threading
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from datumaro_clip.embedding.database import Connection, Database, number, transaction
from datumaro_clip.system.files import cache_root
from datumaro_clip.vectors import FloatArray

#: Enough for about two million vectors of 512 dimensions.
DEFAULT_MAX_BYTES = 5 << 30
# A full cache is reduced to this share, so that not every batch has to make room for itself.
_KEPT_SHARE = 0.9
# Bytes of a row besides its vector: keys, checksum, indices, its share of half-filled pages; measured, rounded up.
_ROW_OVERHEAD = 1024
# Uses that are noted in one write.
_TOUCHED_LIMIT = 10_000
_COUNT = "SELECT count(*) FROM uses"
# A count of writes, because a clock can be turned back.
_NEXT_TICK = "SELECT coalesce(max(tick), 0) + 1 FROM uses"

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class CacheInfo:
    """The size of a cache.

    Attributes
    ----------
    path : Path
        The database's file.
    vectors : int
        Number of vectors.
    bytes : int
        Their size on the disk.
    max_bytes : int
        The largest size allowed.
    """

    path: Path
    vectors: int
    bytes: int
    max_bytes: int


def cache_directory() -> Path:
    """Return the default directory of the vector cache."""
    return cache_root() / "vectors"


class VectorCache:
    """Vectors by key: a changed picture, box, model or precision gives another key.

    Several threads and processes may use one cache at once. A damaged database is set aside with a warning, and a new
    one begun; a damaged vector counts as missing, and is counted.

    Parameters
    ----------
    path : path, optional
        A directory, made if it does not exist; by default :func:`cache_directory`.
    max_bytes : int
        Size on the disk; above it, the least recently used vectors are removed.

    Attributes
    ----------
    corrupt : int
        Number of damaged vectors found so far.

    Raises
    ------
    CacheError
        If the directory or the database in it cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.path = Path(path) if path is not None else cache_directory()
        self.max_bytes = max_bytes
        self.corrupt = self._told = 0
        self._touched: set[bytes] = set()
        self._lock = threading.RLock()
        self._database = Database(self.path / "vectors.sqlite")

    def get(self, keys: Sequence[bytes]) -> list[FloatArray | None]:
        """Return the vectors of keys, each (D,) float32 and read-only; None for a key without one."""
        select = "SELECT checksum, vector FROM vectors WHERE key = ?"
        rows = self._run(lambda database: [database.execute(select, (key,)).fetchone() for key in keys])
        found: dict[bytes, FloatArray] = {}
        with self._lock:
            for key, row in zip(keys, rows, strict=True):
                if row is not None and _is_sound(key, *row):
                    found[key] = np.frombuffer(row[1], np.float32)
                elif row is not None:
                    self.corrupt += 1
            self._touched.update(found)
            if len(self._touched) > _TOUCHED_LIMIT:
                self.flush()
        return [found.get(key) for key in keys]

    def put(self, keys: Sequence[bytes], vectors: Iterable[npt.ArrayLike]) -> None:
        """Keep vectors, one (D,) for each key; they survive a kill of the process after this call."""
        blobs = [np.ascontiguousarray(vector, np.float32).tobytes() for vector in vectors]
        rows = [(key, _checksum(key, blob), blob) for key, blob in zip(keys, blobs, strict=True)]
        self._run(lambda database: self._put(database, rows))

    def flush(self) -> None:
        """Write down which vectors were used, and warn of those found damaged, since the last flush.

        If uses are lost, the only effect is that other vectors are removed first.
        """
        self._run(lambda database: self._put(database, []))
        damaged, self._told = self.corrupt - self._told, self.corrupt
        if damaged:
            _log.warning("%d damaged vectors in the cache %s were made again", damaged, self._database.path)

    def info(self) -> CacheInfo:
        """Return number and size of the vectors."""
        count, size = self._run(lambda database: (number(database, _COUNT), _size(database)))
        return CacheInfo(self._database.path, count, size, self.max_bytes)

    def verify(self) -> int:
        """Read every vector, remove the damaged ones, and return their number."""

        def remove_damaged(database: Connection) -> int:
            rows = database.execute("SELECT key, checksum, vector FROM vectors")
            damaged = [(key,) for key, *row in rows if not _is_sound(key, *row)]
            _remove(database, damaged)
            return len(damaged)

        return self._run(remove_damaged)

    def clear(self) -> int:
        """Remove everything, free the space, and return the number of vectors removed."""

        def clear(database: Connection) -> int:
            count = number(database, _COUNT)
            for statement in ("DELETE FROM vectors", "DELETE FROM uses", "VACUUM"):
                database.execute(statement)
            return count

        return self._run(clear)

    def close(self) -> None:
        """Flush, and close the database."""
        with self._lock:
            self.flush()
            self._database.close()

    def __enter__(self) -> VectorCache:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _run(self, operation: Callable[[Connection], _Result]) -> _Result:
        """Run one operation on the database, or on a new one if it is damaged."""
        with self._lock:
            return self._database.run(operation)

    def _put(self, database: Connection, rows: list[tuple[bytes, int, bytes]]) -> None:
        """Write down uses, make room, and add or replace rows, which become the most recently used."""
        touched, self._touched = self._touched, set()
        if not touched and not rows:
            return
        with transaction(database):
            tick = number(database, _NEXT_TICK)
            database.executemany("UPDATE uses SET tick = ? WHERE key = ?", ((tick, key) for key in touched))
            incoming = sum(len(blob) + _ROW_OVERHEAD for *_, blob in rows)
            if _size(database) + incoming > self.max_bytes:
                _shrink(database, int(self.max_bytes * _KEPT_SHARE) - incoming)
            database.executemany("INSERT OR REPLACE INTO vectors (key, checksum, vector) VALUES (?, ?, ?)", rows)
            uses = ((row[0], tick + 1) for row in rows)
            database.executemany("INSERT OR REPLACE INTO uses (key, tick) VALUES (?, ?)", uses)


def _size(database: Connection) -> int:
    """Return the size in bytes of the pages in use."""
    pages = number(database, "PRAGMA page_count") - number(database, "PRAGMA freelist_count")
    return pages * number(database, "PRAGMA page_size")


def _shrink(database: Connection, target: int) -> None:
    """Remove the least recently used vectors until the rest takes at most ``target`` bytes."""
    while (excess := _size(database) - target) > 0:
        share = math.ceil(excess / _size(database) * number(database, _COUNT))
        oldest = database.execute("SELECT key FROM uses ORDER BY tick LIMIT ?", (share,)).fetchall()
        if not oldest:
            return
        _remove(database, oldest)


def _remove(database: Connection, keys: list[tuple[bytes]]) -> None:
    for table in ("vectors", "uses"):
        database.executemany(f"DELETE FROM {table} WHERE key = ?", keys)


class Keeper:
    """Puts the vectors of a batch into a cache, in the thread that computed them, before it computes the next batch.

    A killed run therefore loses only the batches that were being computed, however slow the disk is.

    Parameters
    ----------
    cache : VectorCache or None
        If None, nothing is kept.
    """

    def __init__(self, cache: VectorCache | None) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._unkept: dict[Future[FloatArray], Sequence[bytes | None]] = {}
        self._error: Exception | None = None

    def keep(self, keys: Sequence[bytes | None], vectors: Future[FloatArray]) -> None:
        """Keep the rows of a batch under their keys once it is done, except rows whose key is None.

        Raises the error of an earlier batch that could not be kept.
        """
        if self._cache is None:
            return
        self._raise()
        with self._lock:
            self._unkept[vectors] = keys
        vectors.add_done_callback(self._write)

    def close(self) -> None:
        """Keep the batches that are done, drop the others, and flush the cache."""
        with self._lock:
            done = [vectors for vectors in self._unkept if vectors.done()]
        for vectors in done:
            self._write(vectors)
        with self._lock:
            self._unkept.clear()
        self._raise()
        if self._cache is not None:
            self._cache.flush()

    def _write(self, vectors: Future[FloatArray]) -> None:
        """Put a batch into the cache, unless :meth:`close` did: a future wakes waiting threads before it calls us."""
        with self._lock:
            keys = self._unkept.pop(vectors, ())
            if self._cache is None or not keys or vectors.cancelled() or vectors.exception() is not None:
                return
            rows = [(key, vector) for key, vector in zip(keys, vectors.result(), strict=True) if key is not None]
            try:
                self._cache.put([key for key, _ in rows], [vector for _, vector in rows])
            except Exception as exc:  # A future only logs what its callbacks raise.
                self._error = exc

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


def _checksum(key: bytes, blob: bytes) -> int:
    """Return the CRC-32 over key and vector, which also detects a vector under a wrong key."""
    return zlib.crc32(blob, zlib.crc32(key))


def _is_sound(key: object, checksum: object, blob: object) -> bool:
    """Return whether a row is as it was written; a damaged database may give values of any type."""
    return (
        isinstance(key, bytes) and isinstance(blob, bytes) and len(blob) % 4 == 0 and checksum == _checksum(key, blob)
    )
