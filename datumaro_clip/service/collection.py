"""The stores that are served, each as its newest snapshot; what another process writes is taken in."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    """One store, and what is kept of it between its snapshots.

    Parameters
    ----------
    name : str
    index : VectorIndex
        Of the store.

    Attributes
    ----------
    snapshot : Snapshot
        The newest; replaced by one assignment, so that whoever has one keeps it.
    """

    def __init__(self, name: str, index: VectorIndex) -> None:
        self.name, self.path = name, index.path
        self._index, self._facts = index, FactReader()
        self._lock = Lock()
        self.snapshot = self._taken()

    def reload(self) -> Snapshot:
        """The snapshot of the store as it is now; blocks. Raises what is wrong with the store."""
        with self._lock:
            if store_digest(self.path) != self.snapshot.version:
                self._index.sync()
                self.snapshot = self._taken()
            return self.snapshot

    def _taken(self) -> Snapshot:
        found = self._index.snapshot
        return Snapshot(self.name, found, self._facts.facts(found.store), self._facts.classes)


class Collection:
    """All stores of a service.

    Parameters
    ----------
    stores : mapping
        Directories by name.
    space : VectorSpace
        Of the queries.
    open_index : callable
        Makes the index of a store, by its name and directory.
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
        self.stores = {name: ServedStore(name, open_index(name, Path(path))) for name, path in stores.items()}
        for name in self.stores:
            self._measure(name)

    def __iter__(self) -> Iterator[Snapshot]:
        return (store.snapshot for store in self.stores.values())

    def named(self, name: str | None) -> Snapshot:
        """A store's snapshot; the first where no name is given.

        Raises
        ------
        RequestError
            404, if there is none of that name.
        """
        if name is None:
            return next(iter(self))
        if name not in self.stores:
            raise RequestError(404, f"there is no such store; there are {', '.join(self.stores)}", param="store")
        return self.stores[name].snapshot

    def some(self, names: Sequence[str] | None) -> list[Snapshot]:
        """Several stores' snapshots; all where no names are given."""
        return [self.named(name) for name in dict.fromkeys(names)] if names else list(self)

    def item(self, id: str, store: str | None = None, subset: str | None = None) -> tuple[Snapshot, int]:
        """Where an item is.

        Parameters
        ----------
        id : str
            Its ``image_id``, or its own id.
        store, subset : str, optional
            Which, where several have that id.

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
        """Take in what a store has become; blocks. Raises what is wrong with it."""
        store = self.stores[name]
        before = store.snapshot
        snapshot = store.reload()
        if snapshot is not before:
            self._metrics.reloads.labels("taken_in").inc()
            self._measure(name)
        return snapshot

    async def watch(self, pool: Pool, interval: float) -> None:
        """Take in, for ever, what other processes write; a damaged store keeps its last snapshot, and is logged."""
        failed: dict[str, str] = {}
        while True:
            await asyncio.sleep(interval)
            for name in self.stores:
                try:
                    await pool.run(self.refresh, name)
                    failed.pop(name, None)
                except DatumaroClipError as error:
                    if failed.get(name) != str(error):
                        log.error("the store %s cannot be taken in; its last state is served: %s", name, error)
                        self._metrics.reloads.labels("failed").inc()
                    failed[name] = str(error)

    def _found(self, id: str, store: str | None, subset: str | None) -> Iterator[tuple[ImageId, tuple[Snapshot, int]]]:
        for snapshot in self.some(None if store is None else [store]):
            names = [subset] if subset is not None else list(snapshot.reader.subsets)
            for key in (ItemKey(id, name) for name in names):
                row = snapshot.find(key)
                if row is not None:
                    yield ImageId(snapshot.name, key), (snapshot, row)
        try:
            image_id = ImageId.parse(id)
        except OptionError:
            return
        is_meant = store in (None, image_id.store) and subset in (None, image_id.key.subset)
        if image_id.store in self.stores and is_meant:
            snapshot = self.stores[image_id.store].snapshot
            row = snapshot.find(image_id.key)
            if row is not None:
                yield image_id, (snapshot, row)

    def _measure(self, name: str) -> None:
        store = self.stores[name]
        for target, vectors in store.snapshot.index.targets.items():
            self._metrics.gauge("index_items", name, target).set(len(vectors))
        self._metrics.gauge("store_segments", name).set(len(store.snapshot.reader.segments))
        self._metrics.measure("index_age_seconds", lambda: time.time() - store.snapshot.written, name)
