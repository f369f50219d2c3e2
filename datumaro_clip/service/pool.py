"""The threads that compute, bounded, beside the event loop that answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from datumaro_clip.service.problems import busy

P = ParamSpec("P")
R = TypeVar("R")


class Pool:
    """A thread pool that refuses work at once when too much waits.

    Parameters
    ----------
    threads : int
    waiting : int
        Calls that may wait for a thread.

    Attributes
    ----------
    pending : int
        Calls that run or wait.
    """

    def __init__(self, threads: int, waiting: int) -> None:
        self.pending = 0
        self._most = threads + waiting
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="clip-service")

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function in a thread.

        Raises
        ------
        RequestError
            503, if too many calls wait.
        """
        if self.pending >= self._most:
            raise busy(f"{self.pending} requests are being worked on; try again a little later")
        loop = asyncio.get_running_loop()
        self.pending += 1
        future = self._executor.submit(work, *args, **kwargs)
        # A caller that goes away does not stop the thread, so it is the thread's end that counts.
        future.add_done_callback(lambda _: self._tell(loop))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Wait for what runs; what waits is dropped."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _tell(self, loop: asyncio.AbstractEventLoop) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._ended)

    def _ended(self) -> None:
        self.pending -= 1
