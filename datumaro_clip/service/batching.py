"""Requests that wait at the same moment are worked on together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from datumaro_clip.service.pool import Pool
from datumaro_clip.service.problems import busy

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Gathers requests while a batch runs, and runs what has gathered as the next.

    An idle batcher starts at once with what the event loop has at that moment, so that nobody waits for company;
    under load the batches grow by themselves.

    Parameters
    ----------
    work : callable
        Takes the requests of a batch, in a thread; gives a result, or an exception, for each.
    pool : Pool
    most : int
        Requests a batch.
    capacity : int
        Requests that may wait; one more is refused.
    at_once : int
        Batches that run at a time.

    Attributes
    ----------
    batches, requests : int
        Run so far; their ratio is the mean batch.
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
        self.batches = self.requests = 0
        self._work, self._pool, self._most, self._capacity, self._free = work, pool, most, capacity, at_once
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_scheduled = False

    def __len__(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    async def __call__(self, request: T) -> R:
        """The result of a request.

        Raises
        ------
        RequestError
            503, if too many wait.
        Exception
            What the work says of this request.
        """
        if len(self._waiting) >= self._capacity:
            raise busy(f"{len(self._waiting)} requests wait already; try again a little later")
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
            # Whoever has gone away is not worked for.
            batch = [(request, future) for request, future in taken if not future.cancelled()]
            if batch:
                self._free -= 1
                task = asyncio.ensure_future(self._run(batch))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _run(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        self.batches += 1
        self.requests += len(batch)
        try:
            results: Sequence[R | Exception] = await self._pool.run(self._work, [request for request, _ in batch])
        except Exception as error:  # Whatever it is, it is the answer of every request of the batch.
            results = [error] * len(batch)
        finally:
            self._free += 1
        for (_, future), result in zip(batch, results, strict=True):
            _settle(future, result)
        self._start()


def _settle(future: asyncio.Future[R], result: R | Exception) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
