"""A cache of arrays computed from a store's segments, in a directory that several processes may share."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from datumaro_clip.errors import IndexCacheError, with_cure
from datumaro_clip.store.columns import checksum
from datumaro_clip.system.files import atomic_directory, cache_root, safe_file_name

Arrays = Mapping[str, npt.NDArray[Any]]
#: Writes ``NAME.npy`` files into a directory, and may return notes as JSON values.
WriteArrays = Callable[[Path], Mapping[str, Any] | None]

# Part of every key: entries that another version wrote are not found, and get removed.
_VERSION = 2

_ENTRY = "entry.json"
_LOCK = ".lock"
# Seconds to wait for the lock: longer than any index takes to build.
_PATIENCE = 3600.0
_BLOCK_BYTES = 1 << 24


@dataclass(frozen=True)
class Entry:
    """Some memory-mapped arrays that belong together.

    Attributes
    ----------
    path : Path
        Their directory: ``NAME.npy`` for each, and ``entry.json``.
    arrays : mapping
        Read-only arrays by name.
    notes : mapping
        JSON values.
    """

    path: Path
    arrays: Arrays
    notes: Mapping[str, Any]

    def damage(self) -> Iterator[str]:
        """Read everything; yield a sentence for each array that contradicts its checksum."""
        for name, wanted in json.loads((self.path / _ENTRY).read_bytes())["crc32"].items():
            if _checksum(self.arrays[name]) != wanted:
                yield (
                    f"{self.path / name}.npy contradicts its checksum: it was damaged after it was written; "
                    f"remove {self.path}, and it is made anew"
                )


class ArrayCache:
    """The cache entries of one store.

    Parameters
    ----------
    store : Path
        The store's directory.
    cache : Path, optional
        The directory of all caches; the platform's cache directory where omitted.

    Attributes
    ----------
    root : Path
        The directory of this store's entries.
    """

    def __init__(self, store: Path, cache: Path | None = None) -> None:
        place = store.resolve()
        digest = hashlib.sha256(str(place).encode(errors="surrogatepass")).hexdigest()[:16]
        self.root = (cache or cache_root()) / "index" / f"{safe_file_name(place.name)}-{digest}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock that allows to build and remove entries.

        Raises
        ------
        IndexCacheError
            If the directory cannot be written, or another process holds the lock for an hour.
        """
        lock = FileLock(self.root / _LOCK, thread_local=False)
        with _errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=_PATIENCE)
            except Timeout as exc:
                raise IndexCacheError(f"{self.root} is being written by another process, for an hour now") from exc
            try:
                yield
            finally:
                lock.release()

    def entry(self, kind: str, digests: Sequence[str], write: WriteArrays) -> tuple[Entry, bool]:
        """Return the entry of some segments, and whether it was made now. The caller must hold the lock.

        Parameters
        ----------
        kind : str
            What is computed from them; part of a file name.
        digests : sequence of str
            The segments' digests, in order.
        write : callable
            See :data:`WriteArrays`.
        """
        text = json.dumps([_VERSION, kind, *digests])
        path = self.root / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"
        found = _opened(path)
        if found is not None:
            return found, False
        shutil.rmtree(path, ignore_errors=True)
        with _errors(path), atomic_directory(path) as directory:
            notes = write(directory)
            arrays = {file.stem: np.load(file, mmap_mode="r") for file in sorted(directory.glob("*.npy"))}
            content = {"crc32": {name: _checksum(array) for name, array in arrays.items()}, "notes": dict(notes or {})}
            (directory / _ENTRY).write_text(json.dumps(content))
        made = _opened(path)
        if made is None:
            raise IndexCacheError(f"{path} was removed while it was being written; run the same again")
        return made, True

    def keep_only(self, entries: Collection[Entry]) -> int:
        """Remove all other entries, and the leftovers of interrupted processes; return how many.

        The caller must hold the lock.
        """
        kept = {_LOCK, *(entry.path.name for entry in entries)}
        others = [path for path in self.root.iterdir() if path.name not in kept]
        for path in others:
            # A file that is still mapped may refuse to be removed; the next sync tries again.
            shutil.rmtree(path, ignore_errors=True)
        return len(others)


def _opened(path: Path) -> Entry | None:
    """Return the entry in a directory; None if there is none that can be read."""
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        content = json.loads((path / _ENTRY).read_bytes())
        arrays = {name: np.asarray(np.load(path / f"{name}.npy", mmap_mode="r")) for name in content["crc32"]}
        return Entry(path, arrays, content["notes"])
    return None


def _checksum(array: npt.NDArray[Any]) -> int:
    """Return the CRC-32 of the CRC-32s of an array's blocks, so that a large file is read a block at a time."""
    numbers, size = array.reshape(-1), _BLOCK_BYTES // array.itemsize
    sums = [0, *(checksum(numbers[start : start + size]) for start in range(0, len(numbers), size))]
    return checksum(np.array(sums, "<u4"))


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Turn errors of the file system into :class:`IndexCacheError`."""
    try:
        yield
    except IndexCacheError:
        raise
    except OSError as exc:
        raise IndexCacheError(f"the index {path} cannot be written: {with_cure(exc)}") from exc
