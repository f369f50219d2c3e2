"""Who looks at pictures and compares pairs: threads of this process, one for each processor, or another crew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Protocol, TypeAlias, TypeVar

from threadpoolctl import threadpool_limits

from datumaro_clip.curate.near.alignment import one_thread
from datumaro_clip.embedding.workers import Workers
from datumaro_clip.system.machine import available_processors

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


class Pool(Protocol):
    """Does many things of one kind at a time; :class:`concurrent.futures.Executor` is one."""

    def map(
        self, work: Callable[[_Task], _Result], tasks: Iterable[_Task], /, *, chunksize: int = 1
    ) -> Iterator[_Result]:
        """The results of independent tasks, in their order; so many are sent together where sending one costs."""


#: Makes a pool for the length of a block.
Crew: TypeAlias = Callable[[], AbstractContextManager[Pool]]


class _Threads:
    """Threads that take tasks a few ahead, so that neither tasks nor results pile up."""

    def map(
        self, work: Callable[[_Task], _Result], tasks: Iterable[_Task], /, *, chunksize: int = 1
    ) -> Iterator[_Result]:
        """Work that has not begun when the caller is interrupted is never begun."""
        threads = available_processors()
        with closing(Workers(work, tasks, threads, 2 * threads)) as results:
            yield from results


@contextmanager
def workers() -> Iterator[Pool]:
    """Threads whose work uses no others: libraries' own threads would wait for one another over 96x96 pixels.

    A sum of BLAS then does not depend on the number of processors either.
    """
    with threadpool_limits(1, user_api="blas"), one_thread():
        yield _Threads()
