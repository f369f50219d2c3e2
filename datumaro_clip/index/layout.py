"""How a store's segments are indexed together, and the files that are made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from datumaro_clip.index.cached import ArrayCache, Entry
from datumaro_clip.index.columns import ItemColumns, read_columns, write_columns
from datumaro_clip.index.rows import VectorRows
from datumaro_clip.index.runs import merged_runs
from datumaro_clip.index.snapshot import GROUPS
from datumaro_clip.similarity.scores import IndexArray
from datumaro_clip.store import SegmentReader, StoreReader
from datumaro_clip.store.base import DTYPES
from datumaro_clip.store.columns import Column
from datumaro_clip.store.manifest import VECTOR_GROUPS


class Run:
    """Consecutive segments of a store whose vectors of one group are indexed together.

    Attributes
    ----------
    segments : sequence of SegmentReader
    columns : list of Column
        Their vectors, those of removed items included.
    """

    def __init__(self, segments: Sequence[SegmentReader], group: str) -> None:
        self.segments, self._group = segments, group
        self.columns: list[Column] = [
            segment.columns[VECTOR_GROUPS[group][0]] for segment in segments if len(segment.item_rows(group))
        ]

    @property
    def digests(self) -> list[str]:
        """The segments' digests."""
        return [segment.entry.digest for segment in self.segments]

    @cached_property
    def live(self) -> IndexArray | None:
        """Which vectors are of live items, ascending; None for all."""
        if not any(segment.entry.removed for segment in self.segments):
            return None
        return np.flatnonzero(np.concatenate([s.is_live[s.item_rows(self._group)] for s in self.segments]))


class Layout:
    """The runs of a store, and the cached files of each; the cache's lock must be held.

    Attributes
    ----------
    store : StoreReader
    built : int
        Entries that were not in the cache.
    entries : list of Entry
        Those that were asked for.
    """

    def __init__(self, store: StoreReader, cache: ArrayCache) -> None:
        self.store, self._cache = store, cache
        self.built = 0
        self.entries: list[Entry] = []

    def runs(self, target: str) -> list[Run]:
        """The runs of a target that have vectors, in order."""
        group = GROUPS[target]
        sizes = [len(segment.item_rows(group)) for segment in self.store.segments]
        runs = [Run(self.store.segments[run.start : run.stop], group) for run in merged_runs(sizes)]
        return [run for run in runs if run.columns]

    def entry(self, kind: str, run: Run, write: Callable[[Path], Mapping[str, Any]]) -> Entry:
        """What ``write`` makes of a run: from the cache, or made now."""
        return self._entry(kind, run.digests, write)

    def vectors(self, target: str) -> VectorRows:
        """The live vectors of a target. What a kind of store cannot map is copied into the cache."""
        header = self.store.header
        dimension = 0 if header.space is None else header.space.dimension
        return VectorRows(
            [part for run in self.runs(target) for part in self._parts(target, run)], dimension, DTYPES[header.dtype]
        )

    def columns(self) -> ItemColumns:
        """What the items can be filtered by."""
        segments = self.store.segments
        runs = [segments[run.start : run.stop] for run in merged_runs([segment.entry.items for segment in segments])]
        entries = [self._entry("columns", [s.entry.digest for s in run], partial(write_columns, run)) for run in runs]
        return read_columns(self.store, list(zip(entries, runs, strict=True)))

    def _parts(self, target: str, run: Run) -> list[tuple[Any, IndexArray | None]]:
        if not self.store.kind.supports_zero_copy:
            copied = self.entry(f"{target}-vectors", run, partial(_copy_vectors, run.columns))
            return [(copied.arrays["vectors"], run.live)]
        arrays = [np.asarray(column.rows) for column in run.columns]
        if run.live is None:
            return [(array, None) for array in arrays]
        starts = np.cumsum([0, *map(len, arrays)])
        limits = np.searchsorted(run.live, starts)
        return [(array, run.live[limits[i] : limits[i + 1]] - starts[i]) for i, array in enumerate(arrays)]

    def _entry(self, kind: str, digests: Sequence[str], write: Callable[[Path], Mapping[str, Any]]) -> Entry:
        entry, is_new = self._cache.entry(kind, digests, write)
        self.built += is_new
        self.entries.append(entry)
        return entry


def _copy_vectors(columns: Sequence[Column], directory: Path) -> Mapping[str, Any]:
    rows, dimension = sum(map(len, columns)), columns[0].spec.shape[1]
    dtype = np.dtype(columns[0].spec.dtype)
    vectors = np.lib.format.open_memmap(directory / "vectors.npy", "w+", dtype, (rows, dimension))
    done = 0
    for column in columns:
        for start in range(0, len(column), column.spec.block_rows):
            block = column.read(start, min(start + column.spec.block_rows, len(column)))
            vectors[done : done + len(block)] = block
            done += len(block)
    vectors.flush()
    return {}
