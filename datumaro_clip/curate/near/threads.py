"""Threads in which pictures are described and compared, one for each processor."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

from datumaro_clip.curate.near.alignment import one_thread
from datumaro_clip.system.processors import available_processors


@contextmanager
def workers() -> Iterator[Executor]:
    """Threads whose work uses no others: libraries' own threads would wait for one another over 96x96 pixels.

    A sum of BLAS then does not depend on the number of processors either. Work that has not begun when the caller
    is interrupted is never begun.
    """
    with threadpool_limits(1, user_api="blas"), one_thread():
        pool = ThreadPoolExecutor(available_processors())
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
