"""Files are written and synced while more is being made, so that what is left to do at the end is short."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Result = TypeVar("_Result")

# Calls that wait for their turn at most; what they write stays in memory.
_WAITING = 2
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


class InTurn:
    """Makes calls one after another, in a thread of their own, which Ctrl-C never interrupts.

    Parameters
    ----------
    name : str
        Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting: deque[Future[None]] = deque()

    def begin(self, call: Callable[[], None]) -> None:
        """Have a call made when those before it are done; raises what went wrong with an earlier one."""
        while len(self._waiting) >= _WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(call))

    def wait(self) -> None:
        """Wait for the calls that were begun; raises what went wrong with one."""
        while self._waiting:
            self._waiting.popleft().result()

    def ask(self, call: Callable[[], _Result]) -> _Result:
        """The result of a call made when those before it are done."""
        return self._thread.submit(call).result()

    def close(self) -> None:
        """Forget calls that were not begun, wait for the one that is being made, and let the thread end."""
        self._thread.shutdown(cancel_futures=True)
