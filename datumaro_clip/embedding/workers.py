"""Threads that work a few tasks ahead, and that a program may end without waiting for."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")
_LONGEST_WAIT = 0.25  # seconds


class Workers(Generic[_In, _Out]):
    """Apply a function to tasks in daemon threads; an iterator over the results, in the order of the tasks.

    Unlike the threads of ``concurrent.futures``, the interpreter does not wait for these at its end: a picture that
    takes seconds to decode does not hold up Ctrl-C. Use it in a :func:`contextlib.closing` block.

    Parameters
    ----------
    function : callable
        What the threads do; if it raises, the iterator raises in its place.
    tasks : iterable
        Taken in the caller's thread.
    threads : int
        Number of threads.
    ahead : int
        Tasks are taken while those whose results were not given yet weigh less than this.
    weight : callable
        The weight of a task.
    """

    def __init__(
        self,
        function: Callable[[_In], _Out],
        tasks: Iterable[_In],
        threads: int,
        ahead: int,
        weight: Callable[[_In], int] = lambda task: 1,
    ) -> None:
        self._function, self._tasks, self._ahead, self._weight = function, iter(tasks), ahead, weight
        self._queue: queue.SimpleQueue[tuple[_In, Future[_Out]] | None] = queue.SimpleQueue()
        self._begun: deque[tuple[Future[_Out], int]] = deque()
        self._all_begun, self._weighs = False, 0
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    @property
    def left(self) -> int | None:
        """Weight of the results that are still to come; None until the last task was taken."""
        return self._weighs if self._all_begun else None

    def __iter__(self) -> Workers[_In, _Out]:
        return self

    def __next__(self) -> _Out:
        while not self._all_begun and self._weighs < self._ahead:
            self._begin()
        if not self._begun:
            raise StopIteration
        future, weight = self._begun.popleft()
        self._weighs -= weight
        # A Ctrl-C that comes just as a wait begins is seen only when the wait ends, so no wait is long.
        while not future.done():
            wait([future], timeout=_LONGEST_WAIT)
        return future.result()

    def close(self) -> None:
        """Drop the tasks that no thread has begun, and let the threads end after their current one, without waiting."""
        for future, _ in self._begun:
            future.cancel()
        for _ in self._threads:
            self._queue.put(None)

    def _begin(self) -> None:
        """Queue the next task, if there is one."""
        for task in self._tasks:
            future: Future[_Out] = Future()
            weight = self._weight(task)
            self._queue.put((task, future))
            self._begun.append((future, weight))
            self._weighs += weight
            return
        self._all_begun = True

    def _work(self) -> None:
        while (entry := self._queue.get()) is not None:
            task, future = entry
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(self._function(task))
                except BaseException as exc:
                    future.set_exception(exc)
            del entry, task, future  # An idle thread must not hold on to a picture.
