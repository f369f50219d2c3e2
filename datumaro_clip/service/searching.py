"""Searches: waiting queries in one pass over the index, answers of several stores merged."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from datumaro_clip.errors import DatumaroClipError
from datumaro_clip.index import CAPTIONS, OBJECTS, PICTURES, Filter
from datumaro_clip.index.rows import timed_rescoring
from datumaro_clip.service.facts import Ints, Mask
from datumaro_clip.service.filters import Filters
from datumaro_clip.service.metrics import Metrics
from datumaro_clip.service.pool import Batcher, Pool
from datumaro_clip.service.problems import RequestError
from datumaro_clip.service.snapshot import Snapshot
from datumaro_clip.vectors import FloatArray

_MOST_TOGETHER = 32
_NO_FILTERS = Filters()


@dataclass(frozen=True)
class Hit:
    """An item that was found.

    Attributes
    ----------
    snapshot : Snapshot
    row : int
        The item's in the store.
    score : float
    vector : int
        Row of the vector that was found, in its target; the best of an item with several.
    """

    snapshot: Snapshot
    row: int
    score: float
    vector: int


@dataclass(frozen=True, eq=False)
class _Job:
    """One query over one target of one snapshot."""

    snapshot: Snapshot
    target: str
    vector: FloatArray
    k: int
    mask: Mask | Filter | None
    by_item: bool
    kind: str

    @property
    def together(self) -> Hashable:
        """A key that is equal for queries that one pass over the index can answer."""
        mask = self.mask if isinstance(self.mask, Filter) else id(self.mask)
        return id(self.snapshot), self.target, mask, self.by_item


class Searcher:
    """Answers queries over snapshots.

    Parameters
    ----------
    pool : Pool
    metrics : Metrics
    capacity : int
        Queries that may wait.
    """

    def __init__(self, pool: Pool, metrics: Metrics, capacity: int) -> None:
        self._pool, self._metrics = pool, metrics
        self.queries: Batcher[_Job, tuple[Ints, FloatArray]] = Batcher(
            self._search, pool, most=_MOST_TOGETHER, capacity=capacity, at_once=2
        )

    async def search(
        self,
        snapshots: Sequence[Snapshot],
        vector: FloatArray,
        k: int,
        *,
        target: str = "pictures",
        filters: Filters = _NO_FILTERS,
        group: bool = True,
        kind: str = "text",
        without: tuple[Snapshot, int] | None = None,
    ) -> list[Hit]:
        """Find the items most similar to a vector.

        Parameters
        ----------
        snapshots : sequence of Snapshot
        vector : numpy.ndarray
            (D,), of unit length.
        k : int
            Hits, at most.
        target : str
            ``pictures``, ``captions`` or ``objects``.
        filters : Filters, optional
        group : bool
            One hit an item; else one a vector.
        kind : str
            The kind of search in the metrics.
        without : tuple, optional
            An item to leave out: its snapshot and row.

        Raises
        ------
        RequestError
            404, if no store has such vectors, but one has items; 503, if too many queries wait.
        """
        fitting = [snapshot for snapshot in snapshots if len(snapshot.index.targets[target])]
        if not fitting and target != PICTURES and any(map(len, snapshots)):
            how = {CAPTIONS: "clip_embed -- --texts captions", OBJECTS: "clip_embed -- --objects"}[target]
            raise RequestError(404, f"no store has vectors of {target}; {how} makes them", param="target")
        found: list[Hit] = []
        for snapshot in fitting:
            # A mask over facts takes long to make, so it is made in a thread.
            is_slow = filters.wants_facts
            mask = await self._pool.run(snapshot.mask, filters, target) if is_slow else snapshot.mask(filters, target)
            wanted = k + (without is not None and without[0] is snapshot)
            job = _Job(snapshot, target, vector, wanted, mask, group and target != PICTURES, kind)
            items = snapshot.index.targets[target].items
            rows, scores = await self.queries(job)
            hits = (
                Hit(snapshot, int(items[row]), float(score), int(row)) for row, score in zip(rows, scores, strict=True)
            )
            found += [hit for hit in hits if (hit.snapshot, hit.row) != without]
        # A stable sort: hits of equal scores stay in the order of the stores and their rows.
        return sorted(found, key=lambda hit: -hit.score)[:k]

    def _search(self, jobs: list[_Job]) -> list[tuple[Ints, FloatArray] | Exception]:
        """Answer queries, those over the same vectors and filters in one pass."""
        results: dict[int, tuple[Ints, FloatArray] | Exception] = {}
        groups: dict[Hashable, list[int]] = {}
        for place, job in enumerate(jobs):
            groups.setdefault(job.together, []).append(place)
        self._metrics.batch_size.labels("index").observe(len(jobs))
        for places in groups.values():
            results |= zip(places, self._in_one_pass([jobs[place] for place in places]), strict=True)
        return [results[place] for place in range(len(jobs))]

    def _in_one_pass(self, jobs: list[_Job]) -> list[tuple[Ints, FloatArray] | Exception]:
        first, k = jobs[0], max(job.k for job in jobs)
        start = time.perf_counter()
        try:
            with timed_rescoring() as rescoring:
                found = first.snapshot.index.search(
                    np.stack([job.vector for job in jobs]), k, first.mask, target=first.target, by_item=first.by_item
                )
        except DatumaroClipError as error:
            return [error] * len(jobs)
        for job in jobs:
            self._metrics.stage_seconds.labels(job.kind, "index").observe(time.perf_counter() - start)
            self._metrics.stage_seconds.labels(job.kind, "rescore").observe(sum(rescoring))
        return [(rows[: job.k], scores[: job.k]) for job, rows, scores in zip(jobs, *found, strict=True)]
