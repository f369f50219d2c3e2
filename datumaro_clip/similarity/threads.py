"""Products in several threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

from threadpoolctl import threadpool_limits

from datumaro_clip.system.processors import available_processors

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")

_LIMITING = Lock()


def in_threads(work: Callable[[_Task], _Result], tasks: Sequence[_Task]) -> list[_Result]:
    """The results of independent tasks, in order; each multiplies in one thread.

    BLAS's own threads wait busily for one another after every product. Where other programs want the processors too,
    that takes many times longer than the products do.
    """
    threads = min(available_processors(), len(tasks))
    if threads < 2:
        return [work(task) for task in tasks]
    with _single_threaded_blas(), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, tasks))


@contextmanager
def _single_threaded_blas() -> Iterator[None]:
    """BLAS with one thread; set by one caller at a time, since the last to restore would leave what another had set."""
    if not _LIMITING.acquire(blocking=False):
        yield
        return
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        _LIMITING.release()
