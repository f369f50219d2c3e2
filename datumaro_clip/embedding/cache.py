"""Vectors by key, shared by all commands and processes, the least recently used given up first."""

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
from types import TracebackType
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from datumaro_clip.embedding.database import Database
from datumaro_clip.system.files import cache_root
from datumaro_clip.vectors import FloatArray

#: About two million vectors of 512 dimensions.
DEFAULT_MAX_BYTES = 5 << 30
# A full cache is emptied to this share, so that not each batch has to make room for itself.
_KEPT_SHARE = 0.9
# Bytes of a row beside its vector: keys, checksum, indices, its share of half-filled pages; measured, rounded up.
_ROW_OVERHEAD = 1024
# Uses that are noted together; each note is a write.
_TOUCHED_LIMIT = 10_000

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class CacheInfo:
    """What is in a cache.

    Attributes
    ----------
    path : Path
        The database's file.
    vectors : int
        Vectors in it.
    bytes : int
        What they take on the disk.
    max_bytes : int
        What they may take.
    """

    path: Path
    vectors: int
    bytes: int
    max_bytes: int


def cache_directory() -> Path:
    """Where vectors are cached unless the user says otherwise."""
    return cache_root() / "vectors"


class VectorCache:
    """Vectors by content: a changed picture, box, model or precision is another key.

    Several threads and processes may use one cache at once. A damaged database is set aside with a warning and
    a new one begun; a damaged vector is as if it were not there, and counted.

    Parameters
    ----------
    path : path, optional
        A directory, made if need be; :func:`cache_directory` where omitted.
    max_bytes : int
        Size on the disk above which the vectors whose last use is longest ago go.

    Attributes
    ----------
    corrupt : int
        Vectors found damaged so far.

    Raises
    ------
    CacheError
        If the directory or the database in it cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.path = Path(path) if path is not None else cache_directory()
        self.max_bytes = max_bytes
        self.corrupt = 0
        self._touched: set[bytes] = set()
        self._lock = threading.RLock()
        self._database = Database(self.path / "vectors.sqlite")

    def get(self, keys: Sequence[bytes]) -> list[FloatArray | None]:
        """The vectors of keys, each (D,) float32 and read-only; None where there is none."""
        rows = self._do(lambda: [self._database.row(key) for key in keys])
        vectors = [None if row is None else self._checked(key, row) for key, row in zip(keys, rows, strict=True)]
        self._note(key for key, vector in zip(keys, vectors, strict=True) if vector is not None)
        return vectors

    def put(self, keys: Sequence[bytes], vectors: Iterable[npt.ArrayLike]) -> None:
        """Keep vectors, one (D,) a key; what this call has put survives the end of the process."""
        blobs = [np.ascontiguousarray(vector, np.float32).tobytes() for vector in vectors]
        rows = [(key, _checksum(key, blob), blob) for key, blob in zip(keys, blobs, strict=True)]
        self._do(lambda: self._put(rows))

    def flush(self) -> None:
        """Note which vectors were used since the last note; forgetting it only blurs which go first."""
        self._do(lambda: self._put([]))

    def info(self) -> CacheInfo:
        """What is in the cache."""
        count = self._do(self._database.count)
        return CacheInfo(self._database.path, count, self._do(self._database.size), self.max_bytes)

    def verify(self) -> int:
        """Read every vector, remove the damaged ones, and return how many those were."""
        damaged = self._do(lambda: [k for k, *row in self._database.rows() if not _is_sound(k, *row)])
        self._do(lambda: self._database.remove(damaged))
        return len(damaged)

    def clear(self) -> int:
        """Remove everything, give the space back, and return how many vectors there were."""
        return self._do(self._database.clear)

    def close(self) -> None:
        """Note the last uses, tell of damaged vectors, and close the database."""
        with self._lock:
            self.flush()
            self._database.close()
        if self.corrupt:
            _log.warning("%d damaged vectors in the cache %s were made again", self.corrupt, self._database.path)

    def __enter__(self) -> VectorCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _do(self, operation: Callable[[], _Result]) -> _Result:
        """Run one operation on the database, on a new one if it proves damaged."""
        with self._lock:
            return self._database.run(operation)

    def _note(self, used: Iterable[bytes]) -> None:
        """Remember uses, and write them down where they are many."""
        with self._lock:
            self._touched.update(used)
            if len(self._touched) > _TOUCHED_LIMIT:
                self.flush()

    def _put(self, rows: list[tuple[bytes, int, bytes]]) -> None:
        touched, self._touched = self._touched, set()
        if not touched and not rows:
            return
        with self._database.transaction():
            self._database.touch(touched)
            self._make_room(sum(len(blob) + _ROW_OVERHEAD for *_, blob in rows))
            self._database.insert(rows)

    def _make_room(self, incoming: int) -> None:
        """Remove the vectors whose last use is longest ago until ``incoming`` bytes fit."""
        if self._database.size() + incoming <= self.max_bytes:
            return
        target = int(self.max_bytes * _KEPT_SHARE) - incoming
        while (excess := self._database.size() - target) > 0:
            share = excess / self._database.size()
            if not self._database.remove_oldest(math.ceil(share * self._database.count())):
                return

    def _checked(self, key: bytes, row: tuple[int, bytes]) -> FloatArray | None:
        """The vector of a row; None, counted, if it is damaged."""
        if _is_sound(key, *row):
            return np.frombuffer(row[1], np.float32)
        self.corrupt += 1
        return None


class Keeper:
    """Puts the vectors of a batch into a cache in the thread that computed them, before it computes others.

    So a killed run loses only what was being computed, however slow the disk is.

    Parameters
    ----------
    cache : VectorCache or None
        Nothing is kept where there is none.
    """

    def __init__(self, cache: VectorCache | None) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._unkept: dict[Future[FloatArray], Sequence[bytes | None]] = {}
        self._error: Exception | None = None

    def keep(self, keys: Sequence[bytes | None], vectors: Future[FloatArray]) -> None:
        """Keep the rows of a batch under their keys, once it is done; rows whose key is None are not kept.

        Raises the error of an earlier batch that could not be kept.
        """
        if self._cache is None:
            return
        self._raise()
        with self._lock:
            self._unkept[vectors] = keys
        vectors.add_done_callback(self._write)

    def close(self) -> None:
        """Keep what is done, give up what is not, and note what was used."""
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
        """Put a batch into the cache, once: a future wakes those who wait for it before it calls us."""
        with self._lock:
            keys = self._unkept.pop(vectors, ())
            if self._cache is None or not keys or vectors.cancelled() or vectors.exception() is not None:
                return
            rows = [(key, vector) for key, vector in zip(keys, vectors.result(), strict=True) if key is not None]
            try:
                self._cache.put([key for key, _ in rows], [vector for _, vector in rows])
            except Exception as exc:  # A future logs what its callbacks raise, and goes on.
                self._error = exc

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


def _checksum(key: bytes, blob: bytes) -> int:
    """CRC-32 over key and vector, so that a vector under another's key is found, too."""
    return zlib.crc32(blob, zlib.crc32(key))


def _is_sound(key: object, checksum: object, blob: object) -> bool:
    """Whether a row read back is one that was written; a damaged database may give any types."""
    return (
        isinstance(key, bytes) and isinstance(blob, bytes) and len(blob) % 4 == 0 and checksum == _checksum(key, blob)
    )
