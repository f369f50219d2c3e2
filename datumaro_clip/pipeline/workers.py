"""Threads that a program may end without waiting for."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
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

    def map(self, tasks: Iterable[_In], ahead: int) -> Generator[_Out, None, None]:
        """Results in the order of the tasks, of which at most ``ahead`` are begun and not yet given."""
        begun: deque[Future[_Out]] = deque()
        try:
            for task in tasks:
                begun.append(self.submit(task))
                if len(begun) >= ahead:
                    yield awaited(begun.popleft())
            while begun:
                yield awaited(begun.popleft())
        finally:
            for future in begun:
                future.cancel()

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


def awaited(future: Future[_Out]) -> _Out:
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
