"""The served stores, each as its newest snapshot, reloaded when another process writes it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock

from datumaro_clip.errors import DatumaroClipError, OptionError
from datumaro_clip.index import VectorIndex
from datumaro_clip.service.facts import FactReader
from datumaro_clip.service.metrics import Metrics
from datumaro_clip.service.names import ImageId
from datumaro_clip.service.pool import Pool
from datumaro_clip.service.problems import RequestError
from datumaro_clip.service.snapshot import Snapshot
from datumaro_clip.store import open_store, store_digest
from datumaro_clip.vectors import ItemKey, VectorSpace, require_same_space

log = logging.getLogger(__name__)


class ServedStore:
    """One served store and its newest snapshot.

    Parameters
    ----------
    name : str
    index : VectorIndex
        The store's.

    Attributes
    ----------
    snapshot : Snapshot
        The newest; replaced by one assignment, so that a request keeps the one that it has.
    """

    def __init__(self, name: str, index: VectorIndex) -> None:
        self.name, self.path = name, index.path
        self._index, self._facts = index, FactReader()
        self._lock = Lock()
        self.snapshot = self._snapshot()

    def reload(self) -> Snapshot:
        """Return the snapshot of the store as it is now; blocks, and raises a StoreError if the store is damaged."""
        with self._lock:
            if store_digest(self.path) != self.snapshot.version:
                self._index.sync()
                self.snapshot = self._snapshot()
            return self.snapshot

    def _snapshot(self) -> Snapshot:
        found = self._index.snapshot
        return Snapshot(self.name, found, self._facts.facts(found.store), self._facts.classes)


class Collection:
    """All stores of a service.

    Parameters
    ----------
    stores : mapping
        Directories by name.
    space : VectorSpace
        The queries' space.
    open_index : callable
        Opens the index of a store, by its name and directory.
    metrics : Metrics

    Raises
    ------
    OptionError
        If there is no store.
    SpaceMismatchError
        If a store's vectors are of another space.
    StoreError
        If one cannot be opened.
    """

    def __init__(
        self,
        stores: Mapping[str, Path],
        space: VectorSpace,
        open_index: Callable[[str, Path], VectorIndex],
        metrics: Metrics,
    ) -> None:
        if not stores:
            raise OptionError("name at least one store; datum export -f clip_mmap makes one")
        self._metrics = metrics
        for path in stores.values():
            with open_store(path) as store:
                if store.header.space is not None:
                    require_same_space(store.header.space, space)
        self.stores = {name: ServedStore(name, open_index(name, path)) for name, path in stores.items()}
        for name in self.stores:
            self._measure(name)

    def __iter__(self) -> Iterator[Snapshot]:
        return (store.snapshot for store in self.stores.values())

    def named(self, name: str | None) -> Snapshot:
        """Return a store's snapshot; the first store's where no name is given.

        Raises
        ------
        RequestError
            404, if there is no store of that name.
        """
        if name is None:
            return next(iter(self))
        if name not in self.stores:
            raise RequestError(404, f"there is no such store; there are {', '.join(self.stores)}", param="store")
        return self.stores[name].snapshot

    def some(self, names: Sequence[str] | None) -> list[Snapshot]:
        """Return several stores' snapshots; all where no names are given."""
        return [self.named(name) for name in dict.fromkeys(names)] if names else list(self)

    def item(self, id: str, store: str | None = None, subset: str | None = None) -> tuple[Snapshot, int]:
        """Find an item: the snapshot of its store, and its row.

        Parameters
        ----------
        id : str
            Its ``image_id``, or its own id.
        store, subset : str, optional
            Look only there.

        Raises
        ------
        RequestError
            404, if there is none; 409, with the candidates, if there are several.
        """
        found = dict(self._found(id, store, subset))
        if not found:
            raise RequestError(404, "no item has this id; searches and ingest give ids as image_id", param="id")
        if len(found) > 1:
            candidates = [
                {"image_id": str(one), "store": one.store, "subset": one.key.subset, "id": one.key.id} for one in found
            ]
            raise RequestError(
                409, "several items have this id; add store and subset, or take an image_id", candidates=candidates
            )
        return next(iter(found.values()))

    def refresh(self, name: str) -> Snapshot:
        """Reload a store if it has changed; blocks, and raises a StoreError if the store is damaged."""
        store = self.stores[name]
        before = store.snapshot
        snapshot = store.reload()
        if snapshot is not before:
            self._metrics.reloads.labels("taken_in").inc()
            self._measure(name)
        return snapshot

    async def watch(self, pool: Pool, interval: float) -> None:
        """Reload, for ever, stores that other processes write; a damaged one is logged, and keeps its last snapshot."""
        failed: dict[str, str] = {}
        while True:
            await asyncio.sleep(interval)
            for name in self.stores:
                try:
                    await pool.run(self.refresh, name)
                    failed.pop(name, None)
                except DatumaroClipError as error:
                    if failed.get(name) != str(error):
                        log.error("the store %s cannot be reloaded; its last state is served: %s", name, error)
                        self._metrics.reloads.labels("failed").inc()
                    failed[name] = str(error)

    def _found(self, id: str, store: str | None, subset: str | None) -> Iterator[tuple[ImageId, tuple[Snapshot, int]]]:
        image_ids = [
            ImageId(snapshot.name, ItemKey(id, name))
            for snapshot in self.some(None if store is None else [store])
            for name in (snapshot.reader.subsets if subset is None else [subset])
        ]
        with suppress(OptionError):
            image_ids.append(ImageId.parse(id))
        for image_id in image_ids:
            is_meant = store in (None, image_id.store) and subset in (None, image_id.key.subset)
            if is_meant and image_id.store in self.stores:
                snapshot = self.stores[image_id.store].snapshot
                row = snapshot.reader.find(image_id.key)
                if row is not None:
                    yield image_id, (snapshot, row)

    def _measure(self, name: str) -> None:
        store = self.stores[name]
        for target, vectors in store.snapshot.index.targets.items():
            self._metrics.gauge("index_items", name, target).set(len(vectors))
        self._metrics.gauge("store_segments", name).set(len(store.snapshot.reader.segments))
        self._metrics.measure("index_age_seconds", lambda: time.time() - store.snapshot.written, name)
