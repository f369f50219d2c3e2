"""Write and sync files in the background, so that little is left to do at the end."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Result = TypeVar("_Result")

# Most calls that wait for their turn; the data that they write stays in memory.
_WAITING = 2
# Bytes written between two syncs: enough that a sync costs little, few enough to keep the disk busy.
_BYTES = 1 << 25


class WriteBehind:
    """Syncs files in a background thread, one sync at a time."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-sync")
        self._sync: Future[None] | None = None
        self._unsynced = 0

    def wrote(self, descriptor: int, size: int) -> None:
        """Note that ``size`` bytes were written to an open file; it must stay open until :meth:`wait` returns.

        Raises
        ------
        OSError
            If an earlier sync failed; the system reports such an error only once.
        """
        self._unsynced += size
        if self._unsynced >= _BYTES and (self._sync is None or self._sync.done()):
            self.wait()
            self._sync, self._unsynced = self._thread.submit(os.fsync, descriptor), 0

    def wait(self) -> None:
        """Wait for the sync that was begun; raise its error."""
        sync, self._sync = self._sync, None
        if sync is not None:
            sync.result()

    def close(self) -> None:
        """Let the thread end, and wait; raise an error of the sync."""
        self._thread.shutdown()
        self.wait()


class InTurn:
    """Makes calls one after another in a background thread, which Ctrl-C never interrupts.

    Parameters
    ----------
    name : str
        The thread's name.
    """

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting: deque[Future[None]] = deque()

    def begin(self, call: Callable[[], None]) -> None:
        """Queue a call, waiting while too many are queued; raise the error of an earlier call."""
        while len(self._waiting) >= _WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(call))

    def wait(self) -> None:
        """Wait for the queued calls; raise the error of one."""
        while self._waiting:
            self._waiting.popleft().result()

    def ask(self, call: Callable[[], _Result]) -> _Result:
        """Queue a call, and return its result."""
        return self._thread.submit(call).result()

    def close(self) -> None:
        """Drop the queued calls, wait for the current one, and let the thread end."""
        self._thread.shutdown(cancel_futures=True)
