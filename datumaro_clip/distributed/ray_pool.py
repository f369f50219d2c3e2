"""Pictures looked at, and pairs compared, on a Ray cluster."""

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

# Parcels of tasks that each hand has at a time.
_PARCELS_A_HAND = 2
# Thumbnails that lie together in Ray's object store: 27 MiB.
_BLOCK = 1024
# Blocks that a process keeps mapped.
_BLOCKS_KEPT = 16
# How often a parcel may lose its hand.
_PARCEL_RETRIES = 5

log = logging.getLogger(__name__)


class RemoteThumbnails:
    """Thumbnails in Ray's object store, in blocks; where a node's memory is full, Ray moves blocks to its disk."""

    def __init__(self, refs: Sequence[Any], count: int) -> None:
        self._refs, self._count = refs, count
        self._block = lru_cache(_BLOCKS_KEPT)(lambda number: ray.get(self._refs[number]))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Thumbnail:
        thumbnail: Thumbnail = self._block(index // _BLOCK)[index % _BLOCK]
        return thumbnail


def _to_store(thumbnails: ThumbnailFile) -> tuple[list[Any], int]:
    """A file of thumbnails, put into Ray's object store; what stands for it elsewhere."""
    count = len(thumbnails)
    return [ray.put(thumbnails.block(start, start + _BLOCK)) for start in range(0, count, _BLOCK)], count


def _from_store(held: tuple[list[Any], int]) -> RemoteThumbnails:
    return RemoteThumbnails(*held)


class _Hand:
    """An actor that applies functions; the function that it was given last it keeps, with what that has worked out."""

    def __init__(self) -> None:
        self._limits = workers()
        self._limits.__enter__()  # For as long as the process lives.
        self._held: tuple[int, Any] = (-1, None)

    def apply(self, number: int, function: Sequence[Any], parcel: Sequence[Any]) -> list[Any]:
        """Apply the function of a number, whose reference is the only element of ``function``, to some tasks."""
        if self._held[0] != number:
            self._held = (number, ray.get(function[0]))
        return [self._held[1](task) for task in parcel]


class _Parcel(NamedTuple):
    """Tasks that a hand works on, and what will be their results."""

    tasks: Sequence[Any]
    hand: Any
    results: Any


class RayPool:
    """Applies functions on the cluster that this process is connected to; one that is lost is replaced.

    Functions and tasks travel as pickles; what they cannot take along (files of thumbnails) goes through Ray's object
    store.

    Parameters
    ----------
    hands : int, optional
        Processes that work; one a processor where omitted.
    """

    def __init__(self, hands: int | None = None) -> None:
        ray.util.register_serializer(ThumbnailFile, serializer=_to_store, deserializer=_from_store)
        self._actor: Any = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(_Hand)
        count = hands or max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._hands = [self._actor.remote() for _ in range(count)]
        self._turn = 0
        self._sent: tuple[Any, Any] = (None, None)
        self._number = 0

    def map(self, work: Callable[[Any], Any], tasks: Iterable[Any], /, *, chunksize: int = 1) -> Iterator[Any]:
        """The results of tasks in their order, which are begun a few ahead, so many sent in one parcel.

        Raises
        ------
        ClusterError
            If some tasks lose their worker again and again.
        """
        begun: deque[_Parcel] = deque()
        rest = iter(tasks)
        while parcel := list(islice(rest, chunksize)):
            begun.append(self._send(work, parcel))
            if len(begun) >= _PARCELS_A_HAND * len(self._hands):
                yield from self._results(work, begun.popleft())
        while begun:
            yield from self._results(work, begun.popleft())

    def _send(self, work: Callable[[Any], Any], tasks: Sequence[Any]) -> _Parcel:
        """Give tasks to the hand whose turn it is."""
        if self._sent[0] is not work:
            self._sent = (work, ray.put(work))
            self._number += 1
        self._turn = (self._turn + 1) % len(self._hands)
        hand = self._hands[self._turn]
        return _Parcel(tasks, hand, hand.apply.remote(self._number, [self._sent[1]], tasks))

    def _results(self, work: Callable[[Any], Any], parcel: _Parcel) -> list[Any]:
        for _ in range(_PARCEL_RETRIES):
            try:
                found: list[Any] = ray.get(parcel.results)
                return found
            except LOST as exc:
                log.warning("%d tasks come again: their worker was lost: %s", len(parcel.tasks), in_one_line(exc))
                if parcel.hand in self._hands:
                    self._hands[self._hands.index(parcel.hand)] = self._actor.remote()
                parcel = self._send(work, parcel.tasks)
        raise ClusterError(f"{len(parcel.tasks)} tasks have lost their worker {_PARCEL_RETRIES} times")
