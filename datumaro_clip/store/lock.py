"""One writer at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from datumaro_clip.errors import StoreWriteError
from datumaro_clip.store.base import write_errors
from datumaro_clip.store.manifest import find_kind

LOCK_NAME = ".clip-store.lock"


class WriterLock:
    """The right to write a store, held until released; the directory is made if need be.

    Attributes
    ----------
    owns_media : bool
        Whether the directory was a store's, or an interrupted write's, before: then its media are ours.

    Raises
    ------
    StoreWriteError
        If another writer holds it, or the directory cannot be written.
    """

    def __init__(self, root: Path) -> None:
        self._file = root / LOCK_NAME
        with write_errors(root):
            self._is_new_folder = not root.exists()
            root.mkdir(parents=True, exist_ok=True)
            self.owns_media = self._file.exists() or find_kind(root) is not None
            self._lock = FileLock(self._file, thread_local=False)
            try:
                self._lock.acquire(timeout=0)
            except Timeout as exc:
                raise StoreWriteError(f"{root} is being written by another writer; wait until it ends") from exc

    @contextmanager
    def released_on_error(self) -> Iterator[None]:
        """Give the lock back if the block fails."""
        try:
            yield
        except BaseException:
            self.release()
            raise

    @property
    def is_held(self) -> bool:
        """Whether the right is still ours."""
        return bool(self._lock.is_locked)

    def release(self) -> None:
        """Let others write."""
        self._lock.release()

    def give_up(self) -> None:
        """Release, and remove a directory that was made for nothing."""
        self.release()
        if self._is_new_folder:
            with suppress(OSError):
                self._file.unlink()
                self._file.parent.rmdir()
