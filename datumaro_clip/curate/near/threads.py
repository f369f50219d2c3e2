"""Runs the work of the near search in parallel: in threads of this process, or in a pool that the caller brings."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Protocol, TypeAlias, TypeVar

from threadpoolctl import threadpool_limits

from datumaro_clip.curate.near.alignment import one_thread
from datumaro_clip.embedding.workers import Workers
from datumaro_clip.system.machine import available_processors

_log = logging.getLogger(__name__)

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")

# Seconds before the first line, so that a user sees life soon, and between lines: fewer than a hundred an hour.
_FIRST, _SECONDS = 5.0, 40.0


class Pool(Protocol):
    """Runs independent tasks in parallel, as :class:`concurrent.futures.Executor` does."""

    def map(
        self, work: Callable[[_Task], _Result], tasks: Iterable[_Task], /, *, chunksize: int = 1
    ) -> Iterator[_Result]:
        """Return the results in the order of the tasks; a pool of other processes sends ``chunksize`` tasks at once."""


#: Makes a pool for the length of a block.
Crew: TypeAlias = Callable[[], AbstractContextManager[Pool]]


class _Threads:
    """A thread for each processor; they work a few tasks ahead, so that neither tasks nor results pile up."""

    def map(
        self, work: Callable[[_Task], _Result], tasks: Iterable[_Task], /, *, chunksize: int = 1
    ) -> Iterator[_Result]:
        """As :meth:`Pool.map`; no task begins once the caller is interrupted."""
        threads = available_processors()
        with closing(Workers(work, tasks, threads, 2 * threads)) as results:
            yield from results


@contextmanager
def workers() -> Iterator[Pool]:
    """Make a pool of threads, and keep OpenCV and BLAS from starting their own: these cost more than 96x96 pixels save.

    Sums in BLAS then do not depend on the number of processors either.
    """
    with threadpool_limits(1, user_api="blas"), one_thread():
        yield _Threads()


class Progress:
    """Logs now and then how much of a long run is done; a short run logs nothing."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._next = time.monotonic() + _FIRST

    def log(self, done: int, total: int) -> None:
        """Log a line, unless one was logged a moment ago."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _SECONDS
            _log.info("near duplicates: %s %d of %d", self._what, done, total)
