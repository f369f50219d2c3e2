"""The disk takes what was written while more is being made, so that the sync at the end is short."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor

# Bytes written before the disk is told: enough that telling it costs nothing, too little to keep it waiting.
_BYTES = 1 << 25


class WriteBehind:
    """Syncs files in a thread of its own, one sync at a time."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-sync")
        self._sync: Future[None] | None = None
        self._unsynced = 0

    def wrote(self, descriptor: int, size: int) -> None:
        """Note that ``size`` bytes were written to an open file; it must stay open until :meth:`wait` returns.

        Raises
        ------
        OSError
            If an earlier sync failed: the system tells of it once only.
        """
        self._unsynced += size
        if self._unsynced >= _BYTES and (self._sync is None or self._sync.done()):
            self.wait()
            self._sync, self._unsynced = self._thread.submit(os.fsync, descriptor), 0

    def wait(self) -> None:
        """Wait for the sync that was begun; raises what went wrong with it."""
        sync, self._sync = self._sync, None
        if sync is not None:
            sync.result()

    def close(self) -> None:
        """As :meth:`wait`, and let the thread end."""
        self._thread.shutdown()
        self.wait()
