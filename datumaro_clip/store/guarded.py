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
        self._file = path.open("x+b", buffering=0)
        self._behind = WriteBehind()
        self._error: OSError | None = None
        # Where HDF5 wants to be, and where the file is: it goes there only when it must.
        self._wanted = self._at = 0

    def check(self) -> None:
        """Raise the first failure, if there was one."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Sync, unless all is lost or closed already, and close."""
        self._remember(self._behind.close)
        if self._error is None and not self._file.closed:
            self._attempt(lambda: os.fsync(self._file.fileno()))
        self._remember(self._file.close)

    def write(self, data: memoryview) -> int:
        """Write at the current position."""
        self._attempt(lambda: self._write(memoryview(data).cast("B")))
        return len(data)

    def truncate(self, size: int) -> int:
        """Cut or extend."""
        self._attempt(lambda: self._file.truncate(size))
        return size

    def flush(self) -> None:
        """Nothing is held back."""

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        """Move."""
        if whence == os.SEEK_END:
            position += os.fstat(self._file.fileno()).st_size
        elif whence == os.SEEK_CUR:
            position += self._wanted
        self._wanted = position
        return position

    def tell(self) -> int:
        """The current position."""
        return self._wanted

    def read(self, size: int) -> bytes:
        """Read at the current position; zeros once all is lost."""
        if self._error is not None:
            return bytes(size)
        self._go()
        data = self._file.read(size)
        self._wanted = self._at = self._at + len(data)
        return data

    def _go(self) -> None:
        if self._at != self._wanted:
            self._at = self._file.seek(self._wanted)

    def _write(self, data: memoryview) -> None:
        self._go()
        rest = data
        while len(rest):
            rest = rest[self._file.write(rest) :]
        self._wanted = self._at = self._at + len(data)
        self._behind.wrote(self._file.fileno(), len(data))

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
