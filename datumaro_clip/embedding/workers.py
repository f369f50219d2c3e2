"""Threads that a program may end without waiting for."""

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
    """Daemon threads that apply one function.

    Unlike those of ``concurrent.futures``, the interpreter does not wait for them at its end: a picture that
    takes seconds to decode does not hold up Ctrl-C.

    Parameters
    ----------
    function : callable
        What the threads do; any exception ends in the future.
    threads : int
        How many there are.
    """

    def __init__(self, function: Callable[[_In], _Out], threads: int) -> None:
        self._function = function
        self._tasks: queue.SimpleQueue[tuple[_In, Future[_Out]] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, task: _In) -> Future[_Out]:
        """Queue a task."""
        future: Future[_Out] = Future()
        self._tasks.put((task, future))
        return future

    def map(
        self, tasks: Iterable[_In], ahead: int, weight: Callable[[_In], int] = lambda task: 1
    ) -> Ordered[_In, _Out]:
        """Results in the order of the tasks, which are begun while those not yet given weigh less than ``ahead``."""
        return Ordered(self.submit, tasks, ahead, weight)

    def stop(self) -> None:
        """Let the threads end after the tasks that they are at; does not wait."""
        for _ in self._threads:
            self._tasks.put(None)

    def _work(self) -> None:
        while (entry := self._tasks.get()) is not None:
            task, future = entry
            if future.set_running_or_notify_cancel():
                _fulfil(future, self._function, task)
            del entry, task, future  # An idle thread must not hold on to a picture.


class Ordered(Generic[_In, _Out]):
    """Results in the order of their tasks, which are begun a little ahead; see :meth:`Workers.map`."""

    def __init__(
        self, submit: Callable[[_In], Future[_Out]], tasks: Iterable[_In], ahead: int, weight: Callable[[_In], int]
    ) -> None:
        self._submit, self._tasks, self._ahead, self._weight = submit, iter(tasks), ahead, weight
        self._begun: deque[tuple[Future[_Out], int]] = deque()
        self._all_begun, self._weighs = False, 0

    @property
    def left(self) -> int | None:
        """What the results that are still to come weigh; None where that is not known yet."""
        return self._weighs if self._all_begun else None

    def __iter__(self) -> Ordered[_In, _Out]:
        return self

    def __next__(self) -> _Out:
        while not self._all_begun and self._weighs < self._ahead:
            self._begin()
        if not self._begun:
            raise StopIteration
        future, weight = self._begun.popleft()
        self._weighs -= weight
        return result_of(future)

    def close(self) -> None:
        """Give up what nobody has begun to work on."""
        for future, _ in self._begun:
            future.cancel()

    def _begin(self) -> None:
        """Begin the next task, if there is one."""
        for task in self._tasks:
            weight = self._weight(task)
            self._begun.append((self._submit(task), weight))
            self._weighs += weight
            return
        self._all_begun = True


def result_of(future: Future[_Out]) -> _Out:
    """A future's result; a Ctrl-C that comes just as a wait begins is seen only when it ends, so no wait is long."""
    while not future.done():
        wait([future], timeout=_LONGEST_WAIT)
    return future.result()


def _fulfil(future: Future[_Out], function: Callable[[_In], _Out], task: _In) -> None:
    """Put a function's result, or its exception, into a future."""
    try:
        future.set_result(function(task))
    except BaseException as exc:
        future.set_exception(exc)
