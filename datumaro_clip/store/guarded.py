"""A file that HDF5 can always close."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from datumaro_clip.store.behind import WriteBehind


class GuardedFile:
    """The file that HDF5 writes to.

    HDF5 crashes the process when it closes a file on a full disk. So the first failure is remembered, after which
    every write seems to succeed, and ``check`` tells of it.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("x+b")
        self._behind = WriteBehind()
        self._error: OSError | None = None

    def check(self) -> None:
        """Raise the first failure, if there was one."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Sync, unless all is lost or closed already, and close."""
        self._remember(self._behind.close)
        if self._error is None and not self._file.closed:
            self._attempt(self._file.flush)
            self._attempt(lambda: os.fsync(self._file.fileno()))
        self._remember(self._file.close)

    def write(self, data: memoryview) -> int:
        """Write at the current position."""
        self._attempt(lambda: self._file.write(data))
        self._attempt(lambda: self._behind.wrote(self._file.fileno(), len(data)))
        return len(data)

    def truncate(self, size: int) -> int:
        """Cut or extend."""
        self._attempt(lambda: self._file.truncate(size))
        return size

    def flush(self) -> None:
        """Hand over to the system."""
        self._attempt(self._file.flush)

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        """Move; this may write what is buffered."""
        self._attempt(lambda: self._file.seek(position, whence))
        return self.tell()

    def tell(self) -> int:
        """Where the file is."""
        return 0 if self._error is not None else self._file.tell()

    def read(self, size: int) -> bytes:
        """Read at the current position; zeros once all is lost."""
        return self._file.read(size) if self._error is None else bytes(size)

    def _attempt(self, call: Callable[[], object]) -> None:
        """Do something, unless all is lost."""
        if self._error is None:
            self._remember(call)

    def _remember(self, call: Callable[[], object]) -> None:
        """Do something, and remember the first failure."""
        try:
            call()
        except OSError as exc:
            self._error = self._error or exc
