"""Runs products in several threads, each with a BLAS of one thread."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from threading import Lock, Thread
from typing import TypeVar

from threadpoolctl import ThreadpoolController

from datumaro_clip.system.machine import available_processors

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


class _SingleThreadedBlas:
    """Limits BLAS to one thread while any caller is inside.

    threadpoolctl does not let a thread change what another living thread has set, so each change is made in a thread
    of its own, which ends at once.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._callers = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._callers == 0:
                _in_a_thread(self._begin)
            self._callers += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._callers -= 1
            if self._callers == 0:
                _in_a_thread(self._limit.restore_original_limits)

    def _begin(self) -> None:
        self._limit = _blas(len(sys.modules)).limit(limits=1)


def _in_a_thread(call: Callable[[], None]) -> None:
    thread = Thread(target=call)
    thread.start()
    thread.join()


@lru_cache(maxsize=1)
def _blas(modules: int) -> ThreadpoolController:
    """Find the BLAS of NumPy and of other loaded modules; cached, since it takes as long as a search."""
    return ThreadpoolController().select(user_api="blas")


_SINGLE_THREADED_BLAS = _SingleThreadedBlas()


def in_threads(work: Callable[[_Task], _Result], tasks: Sequence[_Task], threads: int | None = None) -> list[_Result]:
    """Run independent tasks, and return their results in order; each task, even a single one, has one BLAS thread.

    BLAS's own threads wait busily for one another after every product. If other programs use the processors, too, that
    takes many times as long as the products. A BLAS that is loaded only by ``work`` keeps its threads.
    """
    threads = min(threads or available_processors(), len(tasks))
    with _SINGLE_THREADED_BLAS:
        if threads < 2:
            return [work(task) for task in tasks]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(work, tasks))
