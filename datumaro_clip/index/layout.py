"""Which segments of a store are indexed together, and the cached files that are made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from datumaro_clip.index.cached import ArrayCache, Entry, WriteArrays
from datumaro_clip.index.columns import ItemColumns, read_columns, write_columns
from datumaro_clip.index.rows import VectorRows
from datumaro_clip.index.snapshot import GROUPS
from datumaro_clip.similarity.scores import IndexArray, Matrix
from datumaro_clip.store import SegmentReader, StoreReader
from datumaro_clip.store.base import DTYPES
from datumaro_clip.store.columns import Column
from datumaro_clip.store.manifest import VECTOR_GROUPS

#: A run of segments with at least so many rows keeps its index for good.
LARGE_ROWS = 1 << 16


def merged_runs(sizes: Sequence[int]) -> list[range]:
    """Group consecutive segments into runs, each smaller than half of the one before, or large.

    As in a log-structured merge tree, one more segment changes only the last runs. A run that is indexed again has
    grown by at least half, so that a row is indexed at most 28 times, however many segments follow. At most 17 runs
    are not large.

    Parameters
    ----------
    sizes : sequence of int
        Rows of each segment.

    Returns
    -------
    list of range
        Indices of segments; together all of them, in order.
    """
    runs: list[tuple[int, range]] = []
    for index, size in enumerate(sizes):
        run = range(index, index + 1)
        while runs and runs[-1][0] < LARGE_ROWS and runs[-1][0] <= 2 * size:
            before, indices = runs.pop()
            size, run = size + before, range(indices.start, run.stop)
        runs.append((size, run))
    return [run for _, run in runs]


class Run:
    """Consecutive segments of a store whose vectors of one group are indexed together.

    Attributes
    ----------
    segments : sequence of SegmentReader
    columns : list of Column
        Their vectors, including those of removed items.
    """

    def __init__(self, segments: Sequence[SegmentReader], group: str) -> None:
        self.segments, self._group = segments, group
        self.columns: list[Column] = [
            segment.columns[VECTOR_GROUPS[group][0]] for segment in segments if len(segment.item_rows(group))
        ]

    @cached_property
    def live(self) -> IndexArray | None:
        """The ascending indices of the vectors of live items; None for all."""
        if not any(segment.entry.removed for segment in self.segments):
            return None
        return np.flatnonzero(np.concatenate([s.is_live[s.item_rows(self._group)] for s in self.segments]))


class Layout:
    """The runs of a store and their cache entries. Whoever uses it must hold the cache's lock.

    Attributes
    ----------
    store : StoreReader
    built : int
        The number of entries that were not in the cache.
    entries : list of Entry
        All entries that were asked for.
    """

    def __init__(self, store: StoreReader, cache: ArrayCache) -> None:
        self.store, self._cache = store, cache
        self.built = 0
        self.entries: list[Entry] = []

    def runs(self, target: str) -> list[Run]:
        """Return the runs of a target that have vectors, in order."""
        group = GROUPS[target]
        sizes = [len(segment.item_rows(group)) for segment in self.store.segments]
        runs = [Run(self.store.segments[run.start : run.stop], group) for run in merged_runs(sizes)]
        return [run for run in runs if run.columns]

    def entry(self, kind: str, segments: Sequence[SegmentReader], write: WriteArrays) -> Entry:
        """Return what ``write`` makes of some segments, from the cache if it is there; see :meth:`ArrayCache.entry`."""
        entry, is_new = self._cache.entry(kind, [segment.entry.digest for segment in segments], write)
        self.built += is_new
        self.entries.append(entry)
        return entry

    def vectors(self, target: str) -> VectorRows:
        """Return the live vectors of a target; those of a store that cannot be memory-mapped are cached."""
        header = self.store.header
        dimension = 0 if header.space is None else header.space.dimension
        return VectorRows(
            [part for run in self.runs(target) for part in self._parts(target, run)], dimension, DTYPES[header.dtype]
        )

    def columns(self) -> ItemColumns:
        """Return the columns by which the items can be filtered."""
        segments = self.store.segments
        runs = [segments[run.start : run.stop] for run in merged_runs([segment.entry.items for segment in segments])]
        return read_columns(self.store, [self.entry("columns", run, partial(write_columns, run)) for run in runs])

    def _parts(self, target: str, run: Run) -> list[tuple[Any, IndexArray | None]]:
        if not self.store.kind.supports_zero_copy:
            copied = self.entry(f"{target}-vectors", run.segments, partial(_copy_vectors, run.columns))
            return [(copied.arrays["vectors"], run.live)]
        arrays = [np.asarray(column.rows) for column in run.columns]
        if run.live is None:
            return [(array, None) for array in arrays]
        starts = np.cumsum([0, *map(len, arrays)])
        limits = np.searchsorted(run.live, starts)
        return [(array, run.live[limits[i] : limits[i + 1]] - starts[i]) for i, array in enumerate(arrays)]


def column_blocks(columns: Sequence[Column], rows: int) -> Iterator[tuple[int, Matrix]]:
    """Read columns in blocks of at most so many rows; yield each with the number of its first row."""
    first = 0
    for column in columns:
        for start in range(0, len(column), rows):
            block = column.read(start, min(start + rows, len(column)))
            yield first, block
            first += len(block)


def _copy_vectors(columns: Sequence[Column], directory: Path) -> None:
    rows, dimension = sum(map(len, columns)), columns[0].spec.shape[1]
    dtype = np.dtype(columns[0].spec.dtype)
    vectors = np.lib.format.open_memmap(directory / "vectors.npy", "w+", dtype, (rows, dimension))
    for start, block in column_blocks(columns, columns[0].spec.block_rows):
        vectors[start : start + len(block)] = block
    vectors.flush()
