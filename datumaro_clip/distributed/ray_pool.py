"""A pool of processes on a Ray cluster, for the near search."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

from datumaro_clip.curate.near.rings import Thumbnail
from datumaro_clip.curate.near.threads import workers
from datumaro_clip.curate.thumbnails import ThumbnailFile
from datumaro_clip.distributed.ray import LOST, in_one_line, ray
from datumaro_clip.errors import ClusterError

# Batches of tasks that a worker has at a time.
_BATCHES_A_WORKER = 2
# Thumbnails in one object of Ray's store: 27 MiB.
_BLOCK = 1024
# Blocks that a process keeps mapped.
_BLOCKS_KEPT = 16
# How often a batch may lose its worker.
_BATCH_RETRIES = 5

log = logging.getLogger(__name__)


class RemoteThumbnails:
    """Thumbnails in Ray's object store, in blocks, which Ray moves to disk when a node's memory is full."""

    def __init__(self, refs: Sequence[Any], count: int) -> None:
        self._refs, self._count = refs, count
        self._block = lru_cache(_BLOCKS_KEPT)(lambda number: ray.get(self._refs[number]))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Thumbnail:
        thumbnail: Thumbnail = self._block(index // _BLOCK)[index % _BLOCK]
        return thumbnail


def _to_store(thumbnails: ThumbnailFile) -> tuple[list[Any], int]:
    """Put a file of thumbnails into Ray's object store; return the arguments of :class:`RemoteThumbnails`."""
    count = len(thumbnails)
    return [ray.put(thumbnails.block(start, start + _BLOCK)) for start in range(0, count, _BLOCK)], count


class _Worker:
    """An actor that applies functions; it keeps the latest function, with what that has cached."""

    def __init__(self) -> None:
        self._limits = workers()
        self._limits.__enter__()  # Until the process ends.
        self._held: tuple[int, Any] = (-1, None)

    def apply(self, number: int, function: Sequence[Any], tasks: Sequence[Any]) -> list[Any]:
        """Apply a numbered function, whose reference is the only element of ``function``, to some tasks."""
        if self._held[0] != number:
            self._held = (number, ray.get(function[0]))
        return [self._held[1](task) for task in tasks]


class _Batch(NamedTuple):
    """Tasks that a worker was given, and the reference of their results."""

    tasks: Sequence[Any]
    worker: Any
    results: Any


class RayPool:
    """Applies functions on the cluster that this process is connected to; a worker that is lost is replaced.

    Functions and tasks are pickled, but files of thumbnails go through Ray's object store.

    Parameters
    ----------
    workers : int, optional
        The number of processes; one for each processor where omitted.
    """

    def __init__(self, workers: int | None = None) -> None:
        ray.util.register_serializer(
            ThumbnailFile, serializer=_to_store, deserializer=lambda held: RemoteThumbnails(*held)
        )
        self._actor: Any = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(_Worker)
        count = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._workers = [self._actor.remote() for _ in range(count)]
        self._turn = 0
        self._sent: tuple[Any, Any] = (None, None)
        self._number = 0

    def map(self, work: Callable[[Any], Any], tasks: Iterable[Any], /, *, chunksize: int = 1) -> Iterator[Any]:
        """Yield the results of tasks in their order; a few batches of ``chunksize`` tasks are begun ahead.

        Raises
        ------
        ClusterError
            If a batch has lost its worker too often.
        """
        begun: deque[_Batch] = deque()
        rest = iter(tasks)
        while batch := list(islice(rest, chunksize)):
            begun.append(self._send(work, batch))
            if len(begun) >= _BATCHES_A_WORKER * len(self._workers):
                yield from self._results(work, begun.popleft())
        while begun:
            yield from self._results(work, begun.popleft())

    def _send(self, work: Callable[[Any], Any], tasks: Sequence[Any]) -> _Batch:
        """Give tasks to the next worker in turn."""
        if self._sent[0] is not work:
            self._sent = (work, ray.put(work))
            self._number += 1
        self._turn = (self._turn + 1) % len(self._workers)
        worker = self._workers[self._turn]
        return _Batch(tasks, worker, worker.apply.remote(self._number, [self._sent[1]], tasks))

    def _results(self, work: Callable[[Any], Any], batch: _Batch) -> list[Any]:
        for _ in range(_BATCH_RETRIES):
            try:
                found: list[Any] = ray.get(batch.results)
                return found
            except LOST as exc:
                log.warning("%d tasks come again: their worker was lost: %s", len(batch.tasks), in_one_line(exc))
                if batch.worker in self._workers:
                    self._workers[self._workers.index(batch.worker)] = self._actor.remote()
                batch = self._send(work, batch.tasks)
        raise ClusterError(f"{len(batch.tasks)} tasks have lost their worker {_BATCH_RETRIES} times")
