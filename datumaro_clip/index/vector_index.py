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

from datumaro_clip.errors import IndexCacheError
from datumaro_clip.index.cached import ArrayCache
from datumaro_clip.index.columns import Mask
from datumaro_clip.index.filters import Filter
from datumaro_clip.index.layout import Layout
from datumaro_clip.index.rows import Found
from datumaro_clip.index.snapshot import CAPTIONS, GROUPS, PICTURES, TARGETS, Searcher, Snapshot, Target
from datumaro_clip.similarity import top_k
from datumaro_clip.similarity.scores import FloatArray, as_float32
from datumaro_clip.store import StoreReader, open_store, store_digest
from datumaro_clip.vectors import unit_rows

_log = logging.getLogger(__name__)

# Seconds between two looks at a store's manifest.
_REFRESH_SECONDS = 1.0
# Queries of each kind that verifying searches for, and rows that it wants of each.
_QUERIES, _K = 100, 20


class Engine(Protocol):
    """Who proposes rows; their scores always come from the store.

    Attributes
    ----------
    name : str
    least_recall : float
        The share of the true k most similar below which verifying reports a difference; 1 for an exact engine.
    """

    name: str
    least_recall: float

    def push(self, store: StoreReader) -> None:
        """Bring what the engine holds outside the cache up to date with a store."""

    def searchers(self, layout: Layout) -> dict[str, Searcher]:
        """A searcher for each target; what is missing in the cache is built."""

    def differences(self, snapshot: Snapshot) -> Iterator[str]:
        """What the engine holds, outside the cache, unlike the store: one sentence each."""


@dataclass(frozen=True)
class Synced:
    """What a sync did.

    Attributes
    ----------
    digest : str
        Of the store's manifest.
    built, reused, removed : int
        Files of the index that were made, found, and removed.
    """

    digest: str
    built: int
    reused: int
    removed: int


@dataclass(frozen=True)
class Verification:
    """What verifying found.

    Attributes
    ----------
    recalls : mapping of str to float
        The share of the true k most similar that the index finds, by kind of query.
    differences : tuple of str
        What does not agree with the store, one sentence each; empty where all does.
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
        self._cache = ArrayCache.of(self.path, cache)
        self._syncing = Lock()
        self._snapshot: Snapshot | None = None
        self._looked = -np.inf

    @property
    def snapshot(self) -> Snapshot:
        """The store as the latest sync found it; the first use syncs."""
        snapshot = self._snapshot
        if snapshot is None:
            self.sync()
            return self.snapshot
        return snapshot

    def refresh(self) -> Snapshot:
        """The store as it is now: syncs where its manifest changed, which is looked at once a second at most."""
        now = time.monotonic()
        if now - self._looked >= _REFRESH_SECONDS:
            self._looked = now
            if self._snapshot is None or self._snapshot.digest != store_digest(self.path):
                self.sync()
        return self.snapshot

    def sync(self) -> Synced:
        """Index what the store holds and the index does not; searches then see it.

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
        """Search the latest snapshot; see :meth:`Snapshot.search`, which says what rows mean."""
        return self.snapshot.search(vectors, k, mask, target=target, by_item=by_item)

    def verify(self) -> Verification:
        """Compare the index with the store: files with their checksums, keys, counts, and what searches find.

        What the cache lacks is indexed first; nothing is pushed to an engine outside it.
        """
        with self._cache.locked():
            layout = Layout(open_store(self.path), self._cache)
            snapshot = self._indexed(layout)
        differences = [*_damaged(layout), *self.engine.differences(snapshot)]
        recalls = {}
        for target in TARGETS:
            for kind, queries in _sampled(snapshot, target):
                name = f"{target}, {kind}"
                recalls[name] = recall = _recall(snapshot, target, queries)
                if recall < self.engine.least_recall:
                    differences.append(f"{name}: recall@{_K} is {recall:.4f}; wanted {self.engine.least_recall:g}")
        return Verification(recalls, tuple(differences))

    def _indexed(self, layout: Layout) -> Snapshot:
        """A store's snapshot; what its index lacks is built."""
        columns, searchers = layout.columns(), self.engine.searchers(layout)
        store = layout.store
        targets = {name: Target(store, name, layout.vectors(name), searchers[name]) for name in TARGETS}
        return Snapshot(store, targets, columns)


def _damaged(layout: Layout) -> Iterator[str]:
    for entry in layout.entries:
        try:
            entry.check()
        except IndexCacheError as exc:
            yield str(exc)


def _sampled(snapshot: Snapshot, target: str) -> Iterator[tuple[str, FloatArray]]:
    """Queries near a target's vectors, and far from them, as texts are from pictures."""
    rows = len(snapshot.targets[target])
    if rows:
        random = np.random.default_rng(0)
        yield "like the stored ones", as_float32(_some(snapshot, target, random))
        if len(snapshot.targets[CAPTIONS]) and target != CAPTIONS:
            yield "captions", as_float32(_some(snapshot, CAPTIONS, random))
        else:
            dimension = snapshot.targets[target].vectors.shape[1]
            yield "far from the stored ones", unit_rows(random.standard_normal((_QUERIES, dimension)))


def _some(snapshot: Snapshot, target: str, random: np.random.Generator) -> npt.NDArray[np.float32]:
    vectors = snapshot.targets[target].vectors
    return vectors[np.sort(random.choice(len(vectors), min(_QUERIES, len(vectors)), replace=False))]


def _recall(snapshot: Snapshot, target: str, queries: FloatArray) -> float:
    """The share of the true k most similar that a snapshot finds; of equal scores any is as true."""
    _, truth = top_k(queries, snapshot.store.stored_rows(GROUPS[target]), _K)
    found = snapshot.search(queries, _K, target=target).scores
    return float(np.mean(found >= truth[:, -1:]))
