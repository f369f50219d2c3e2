"""One writer at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from datumaro_clip.errors import StoreError, StoreWriteError
from datumaro_clip.store.base import write_errors
from datumaro_clip.store.manifest import find_kind, segment_number
from datumaro_clip.store.media import FOLDER

LOCK_NAME = ".clip-store.lock"


class WriterLock:
    """The right to write a store, held until released; the directory is made if need be.

    Its file stays where a store is, or where a first write was killed: there, the media folder and whatever is
    called a segment are ours, to be used again or removed.

    Raises
    ------
    StoreWriteError
        If another writer holds it, the directory cannot be written, or it holds such names of something else.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._file = root, root / LOCK_NAME
        with write_errors(root):
            self._is_new_folder = not root.exists()
            root.mkdir(parents=True, exist_ok=True)
            _require_ours(root)
            self._lock = FileLock(self._file, thread_local=False)
            try:
                self._lock.acquire(timeout=0)
            except Timeout as exc:
                raise StoreWriteError(f"{root} is being written by another writer; wait until it ends") from exc

    @contextmanager
    def released_on_error(self) -> Iterator[None]:
        """Give up if the block fails."""
        try:
            yield
        except BaseException:
            self.give_up()
            raise

    @property
    def is_held(self) -> bool:
        """Whether the right is still ours."""
        return bool(self._lock.is_locked)

    def release(self) -> None:
        """Let others write."""
        self._lock.release()

    def give_up(self) -> None:
        """Release; where nothing of a store is left, the lock's file goes, and a directory that was made for it."""
        with suppress(OSError, StoreError):
            if find_kind(self._root) is None and not _belongings(self._root):
                self._file.unlink()
        self.release()
        if self._is_new_folder:
            with suppress(OSError):
                self._root.rmdir()


def _require_ours(root: Path) -> None:
    """Refuse a directory in which a write would take another's files for its own."""
    is_ours = (root / LOCK_NAME).exists() or find_kind(root) is not None
    others = [] if is_ours else _belongings(root)
    if others:
        raise StoreWriteError(f"{root} holds {others[0]} of something else; choose another directory")


def _belongings(root: Path) -> list[str]:
    """What a directory holds under the names that a store gives to its segments and its media folder."""
    segments = sorted(path.name for path in root.iterdir() if segment_number(path.name.removesuffix(".h5")))
    return [FOLDER, *segments] if os.path.lexists(root / FOLDER) else segments
