"""An index that follows a store."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np
import numpy.typing as npt

from datumaro_clip.index.cached import ArrayCache
from datumaro_clip.index.columns import Mask
from datumaro_clip.index.filters import Filter
from datumaro_clip.index.layout import Layout
from datumaro_clip.index.rows import Found, VectorRows
from datumaro_clip.index.snapshot import CAPTIONS, GROUPS, PICTURES, TARGETS, Searcher, Snapshot, Target
from datumaro_clip.similarity import top_k
from datumaro_clip.similarity.scores import FloatArray, as_float32
from datumaro_clip.store import StoreReader, open_store, store_digest
from datumaro_clip.vectors import unit_rows

_log = logging.getLogger(__name__)

# Seconds between two looks at a store's manifest.
_REFRESH_SECONDS = 1.0
# How `verify` measures recall: queries of each kind, and k.
_QUERIES, _K = 100, 20


class Engine(Protocol):
    """Finds candidate rows; their scores always come from the store.

    Attributes
    ----------
    name : str
    least_recall : float
        Verifying reports a recall below this; 1 for an exact engine.
    """

    name: str
    least_recall: float

    def push(self, store: StoreReader) -> None:
        """Bring a server up to date with a store."""

    def searchers(self, layout: Layout) -> dict[str, Searcher]:
        """Return a searcher for each target; missing cache entries are built."""

    def differences(self, snapshot: Snapshot) -> Iterator[str]:
        """Yield a sentence for each difference between a server and the store."""


@dataclass(frozen=True)
class Synced:
    """The result of a sync.

    Attributes
    ----------
    digest : str
        Digest of the store's manifest.
    built, reused, removed : int
        Cache entries that were made, found, and removed.
    """

    digest: str
    built: int
    reused: int
    removed: int


@dataclass(frozen=True)
class Verification:
    """The result of verifying.

    Attributes
    ----------
    recalls : mapping of str to float
        The share of the true k most similar rows that the index finds, by kind of query.
    differences : tuple of str
        A sentence for each difference between the index and the store.
    """

    recalls: dict[str, float] = field(default_factory=dict)
    differences: tuple[str, ...] = ()


class VectorIndex:
    """An index of a store's pictures, objects and captions.

    Any number of threads may search while one syncs; other processes may sync the same store's index.

    Parameters
    ----------
    path : path
        The store's directory.
    engine : Engine
    cache : path, optional
        Directory for the index's files; ``index`` below the cache directory where omitted.
    """

    def __init__(self, path: str | os.PathLike[str], engine: Engine, cache: Path | None = None) -> None:
        self.path, self.engine = Path(path), engine
        self._cache = ArrayCache(self.path, cache)
        self._syncing = Lock()
        self._snapshot: Snapshot | None = None
        self._looked = -np.inf

    @property
    def snapshot(self) -> Snapshot:
        """The store as the latest sync found it; the first use syncs."""
        if self._snapshot is None:
            self.sync()
        assert self._snapshot is not None
        return self._snapshot

    def refresh(self) -> Snapshot:
        """Return the current snapshot; syncs if the manifest has changed, which is checked at most once a second."""
        now = time.monotonic()
        if now - self._looked >= _REFRESH_SECONDS:
            self._looked = now
            if self._snapshot is None or self._snapshot.digest != store_digest(self.path):
                self.sync()
        return self.snapshot

    def sync(self) -> Synced:
        """Bring the index up to date with the store; searches use the new state from then on.

        Raises
        ------
        StoreError
            If the store cannot be read.
        IndexCacheError
            If the index's files cannot be written.
        EngineError, EngineMismatchError
            If the engine cannot be reached, refuses, or holds vectors of another space.
        """
        with self._syncing:
            store = open_store(self.path)
            self.engine.push(store)
            with self._cache.locked():
                layout = Layout(store, self._cache)
                snapshot = self._indexed(layout)
                removed = self._cache.keep_only(layout.entries)
            self._snapshot = snapshot
            reused = len({entry.path for entry in layout.entries}) - layout.built
            return Synced(store.digest, layout.built, reused, removed)

    def search(
        self,
        vectors: npt.ArrayLike,
        k: int,
        mask: Mask | Filter | None = None,
        *,
        target: str = PICTURES,
        by_item: bool = False,
    ) -> Found:
        """Search the latest snapshot; see :meth:`Snapshot.search`."""
        return self.snapshot.search(vectors, k, mask, target=target, by_item=by_item)

    def verify(self) -> Verification:
        """Compare the index with the store: checksums of files, keys, counts, and the results of searches.

        Missing cache entries are built first; nothing is pushed to a server.
        """
        with self._cache.locked():
            layout = Layout(open_store(self.path), self._cache)
            snapshot = self._indexed(layout)
        differences = [sentence for entry in layout.entries for sentence in entry.damage()]
        differences += self.engine.differences(snapshot)
        recalls = {}
        for target in TARGETS:
            for kind, queries in _sampled(snapshot, target):
                name = f"{target}, {kind}"
                _, truth = top_k(queries, snapshot.store.stored_rows(GROUPS[target]), _K)
                found = snapshot.search(queries, _K, target=target).scores
                # Rows of equal score count as equally right.
                recalls[name] = recall = float(np.mean(found >= truth[:, -1:]))
                if recall < self.engine.least_recall:
                    differences.append(f"{name}: recall@{_K} is {recall:.4f}; wanted {self.engine.least_recall:g}")
        return Verification(recalls, tuple(differences))

    def _indexed(self, layout: Layout) -> Snapshot:
        """Return a snapshot of a store; missing cache entries are built."""
        columns, searchers = layout.columns(), self.engine.searchers(layout)
        store = layout.store
        targets = {name: Target(store, name, layout.vectors(name), searchers[name]) for name in TARGETS}
        return Snapshot(store, targets, columns)


def _sampled(snapshot: Snapshot, target: str) -> Iterator[tuple[str, FloatArray]]:
    """Yield queries near a target's vectors, and queries far from them, as texts are from pictures."""
    random = np.random.default_rng(0)

    def some_of(vectors: VectorRows) -> FloatArray:
        return as_float32(vectors[np.sort(random.choice(len(vectors), min(_QUERIES, len(vectors)), replace=False))])

    vectors, captions = (snapshot.targets[name].vectors for name in (target, CAPTIONS))
    if len(vectors):
        yield "like the stored ones", some_of(vectors)
        if len(captions) and target != CAPTIONS:
            yield "captions", some_of(captions)
        else:
            yield "far from the stored ones", unit_rows(random.standard_normal((_QUERIES, vectors.shape[1])))
