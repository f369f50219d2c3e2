"""Bounded computation beside the event loop: a thread pool, and batches of requests that wait at the same moment."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, ParamSpec, TypeVar

from datumaro_clip.service.problems import RequestError

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Pool:
    """A thread pool that refuses a call at once when too many wait.

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
            raise RequestError(503, f"{self.pending} requests are being worked on; try again a little later")
        loop = asyncio.get_running_loop()

        def ended(_: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._count_ended)

        self.pending += 1
        future = self._executor.submit(work, *args, **kwargs)
        # A caller that goes away does not stop the thread, so the call counts until its thread has ended.
        future.add_done_callback(ended)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Wait for the calls that run; drop those that wait."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _count_ended(self) -> None:
        self.pending -= 1


class Batcher(Generic[T, R]):
    """Gathers requests while a batch runs, and runs them as the next batch.

    An idle batcher starts at once with the requests that the event loop has at that moment, so that no request waits
    for others; under load the batches grow by themselves.

    Parameters
    ----------
    work : callable
        Takes the requests of a batch, in a thread; returns a result, or an exception, for each.
    pool : Pool
    most : int
        Requests of a batch.
    capacity : int
        Requests that may wait; one more is refused.
    at_once : int
        Batches that run at a time.

    Attributes
    ----------
    batches : int
        Batches run so far.
    """

    def __init__(
        self,
        work: Callable[[list[T]], Sequence[R | Exception]],
        pool: Pool,
        *,
        most: int,
        capacity: int,
        at_once: int = 1,
    ) -> None:
        self.batches = 0
        self._work, self._pool, self._most, self._capacity, self._free = work, pool, most, capacity, at_once
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_scheduled = False

    def __len__(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    async def __call__(self, request: T) -> R:
        """Return the result of a request.

        Raises
        ------
        RequestError
            503, if too many requests wait.
        Exception
            The one that the work returned for this request.
        """
        if len(self._waiting) >= self._capacity:
            raise RequestError(503, f"{len(self._waiting)} requests wait already; try again a little later")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.append((request, future))
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._start)
        return await future

    def _start(self) -> None:
        self._is_scheduled = False
        while self._free and self._waiting:
            taken = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            # Requests whose callers have gone away are not worked on.
            batch = [(request, future) for request, future in taken if not future.cancelled()]
            if batch:
                self._free -= 1
                task = asyncio.ensure_future(self._run(batch))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _run(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        self.batches += 1
        try:
            results: Sequence[R | Exception] = await self._pool.run(self._work, [request for request, _ in batch])
        except Exception as error:  # Whatever it is, every request of the batch is answered with it.
            results = [error] * len(batch)
        finally:
            self._free += 1
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
        self._start()
