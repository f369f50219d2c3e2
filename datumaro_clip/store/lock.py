"""The lock that gives a store's directory to one writer at a time, and the removal of interrupted writes' files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

from filelock import FileLock, Timeout

from datumaro_clip.errors import StoreError, StoreWriteError
from datumaro_clip.store.base import write_errors
from datumaro_clip.store.kinds import StoreKind, kind_names, store_kind
from datumaro_clip.store.manifest import find_kind, manifest_path, read_manifest, segment_number, segment_of
from datumaro_clip.store.media import FOLDER

LOCK_NAME = ".clip-store.lock"


class WriterLock:
    """The exclusive right to write a store, held until released; makes the directory if it does not exist.

    The lock's file stays beside a store, and after a first write that was killed. It marks the media folder and the
    names of segments in the directory as ours, to be used again or removed.

    Raises
    ------
    StoreWriteError
        If another writer holds it, the directory cannot be written, or such names in it belong to something else.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._file = root, root / LOCK_NAME
        with write_errors(root):
            self._is_new_folder = not root.exists()
            root.mkdir(parents=True, exist_ok=True)
            if not self._file.exists() and find_kind(root) is None and (others := _belongings(root)):
                raise StoreWriteError(f"{root} holds {others[0]} of something else; choose another directory")
            self._lock = FileLock(self._file, thread_local=False)
            try:
                self._lock.acquire(timeout=0)
            except Timeout as exc:
                raise StoreWriteError(f"{root} is being written by another writer; wait until it ends") from exc

    @contextmanager
    def released_on_error(self) -> Iterator[None]:
        """Call :meth:`give_up` if the block raises."""
        try:
            yield
        except BaseException:
            self.give_up()
            raise

    @property
    def is_held(self) -> bool:
        """Whether this lock is still held."""
        return bool(self._lock.is_locked)

    def release(self) -> None:
        """Let others write."""
        self._lock.release()

    def give_up(self) -> None:
        """Release; if nothing of a store is left, remove the lock's file, and the directory if it was made for it."""
        with suppress(OSError, StoreError):
            if find_kind(self._root) is None and not _belongings(self._root):
                self._file.unlink()
        self.release()
        if self._is_new_folder:
            with suppress(OSError):
                self._root.rmdir()


def _belongings(root: Path) -> list[str]:
    """List the names in a directory that a store would use for its media folder and segments."""
    segments = sorted(path.name for path in root.iterdir() if segment_of(path.name))
    return [FOLDER, *segments] if os.path.lexists(root / FOLDER) else segments


def named_segments(root: Path) -> set[str] | None:
    """Return the names of the stored segments; None if the manifest cannot be read."""
    try:
        return set() if find_kind(root) is None else {entry.name for entry in read_manifest(root).segments}
    except StoreError:
        return None


def is_unfinished(root: Path, kind: StoreKind) -> bool:
    """Return whether a directory holds only what a killed first write leaves behind."""
    names = {path.name for path in root.iterdir()} if root.is_dir() else set()
    return LOCK_NAME in names and all(_is_left_over(name, kind) for name in names - {LOCK_NAME, FOLDER})


def _is_left_over(name: str, kind: StoreKind) -> bool:
    """Return whether a write makes files of this name: a segment, or the temporary file of a manifest or medium."""
    if segment := segment_of(name):
        # Loads other kinds only if there is a file that may be theirs.
        kinds = chain([kind], map(store_kind, kind_names()))
        return any(kind.segment_path(Path(), segment).name == name for kind in kinds)
    becoming = [FOLDER, *(manifest_path(Path(), kind).name for kind in kind_names())]
    return name.endswith(".tmp") and name.startswith(tuple(f".{final}." for final in becoming))


def clear_leftovers(root: Path, kind: StoreKind) -> int:
    """Remove segments that the manifest does not name, and temporary files; the caller must hold the lock.

    Returns
    -------
    int
        The highest number of the segments that stay.
    """
    named = named_segments(root)
    highest = 0
    for path in root.iterdir():
        segment = segment_of(path.name)
        is_named = segment is not None and (named is None or segment in named)
        if is_named:
            highest = max(highest, segment_number(str(segment)))
        elif _is_left_over(path.name, kind):
            _remove(path)
    return highest


def _remove(path: Path) -> None:
    """Remove a file or directory as far as the system permits; the next writer tries again."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
