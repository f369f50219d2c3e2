"""Writes to one store: those that wait are committed together, and answered when they can be searched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from datumaro_clip.errors import StoreWriteError
from datumaro_clip.service.collection import Collection
from datumaro_clip.service.pool import Batcher, Pool
from datumaro_clip.service.problems import RequestError
from datumaro_clip.service.snapshot import Snapshot
from datumaro_clip.store import Record, StoreReader, StoreWriter, append_to_store, open_store
from datumaro_clip.vectors import ItemKey, Provenance

_MOST_TOGETHER = 64
# Segments with more rows are left alone; smaller ones are written again into the next, so that there are few.
_LARGE_ROWS = 1 << 14

RecordMaker = Callable[[StoreWriter], Record]


@dataclass(frozen=True)
class _Write:
    """An item to add, unless the store has its key; or, without ``make``, to remove."""

    key: ItemKey
    make: RecordMaker | None


class StoreQueue:
    """The only writer of a store in this process.

    Parameters
    ----------
    name : str
        The store's.
    collection : Collection
    provenance : Provenance
        What computes the vectors of new items.
    pool : Pool
    capacity : int
        Writes that may wait.
    """

    def __init__(self, name: str, collection: Collection, provenance: Provenance, pool: Pool, capacity: int) -> None:
        self._name, self._collection, self._provenance = name, collection, provenance
        self.writes: Batcher[_Write, tuple[Snapshot, bool]] = Batcher(
            self._commit, pool, most=_MOST_TOGETHER, capacity=capacity
        )

    async def add(self, key: ItemKey, make: RecordMaker) -> tuple[Snapshot, bool]:
        """Store an item; return the snapshot that has it, and whether it is new.

        Parameters
        ----------
        key : ItemKey
        make : callable
            Makes the item's record when the store is open for writing, so that it can save the picture there.

        Raises
        ------
        RequestError
            503, if another process writes the store, or too many writes wait.
        """
        return await self.writes(_Write(key, make))

    async def remove(self, key: ItemKey) -> None:
        """Remove an item, if it is there."""
        await self.writes(_Write(key, None))

    def _commit(self, writes: list[_Write]) -> list[tuple[Snapshot, bool] | Exception]:
        path = self._collection.stores[self._name].path
        changed: list[bool] = []
        try:
            writer = append_to_store(path)
        except StoreWriteError as exc:
            raise RequestError(503, f"the store {self._name} cannot be written now: {exc}") from exc
        with writer, open_store(path) as before:
            writer.declare(self._provenance)
            added: set[ItemKey] = set()
            for write in writes:
                if write.make is None:
                    changed.append(writer.remove(write.key))
                    continue
                is_new = write.key not in added and before.find(write.key) is None
                changed.append(is_new)
                if is_new:
                    added.add(write.key)
                    writer.add(write.make(writer))
            removed = {write.key for write in writes if write.make is None}
            _write_small_segments_again(writer, before, len(added), removed)
        snapshot = self._collection.refresh(self._name)
        return [(snapshot, is_changed) for is_changed in changed]


def add_class(writer: StoreWriter, name: str) -> int:
    """Return the number of a class among the store's; a new class is added."""
    names = writer.header.class_names
    if name in names:
        return names.index(name)
    labels = writer.header.categories.get("label", {"class": "LabelCategories", "items": [], "groups": []})
    new: list[Any] = [name, "", {"$": "set", "v": []}]
    labels = {**labels, "items": [*labels["items"], new]}
    writer.header = replace(writer.header, categories={**writer.header.categories, "label": labels})
    return len(names)


def _write_small_segments_again(writer: StoreWriter, before: StoreReader, rows: int, removed: set[ItemKey]) -> None:
    """Merge the last segments into the new one while they are not twice as large, as a log-structured merge tree does.

    However many writes there are, a store then has few small segments, and each item is written again a few times.
    """
    if not rows:
        return
    for segment in reversed(before.segments):
        if not 0 < segment.entry.live <= min(2 * rows, _LARGE_ROWS):
            break
        rows += segment.entry.live
        for local in segment.live:
            record = segment.record(int(local))
            if record.key not in removed:
                writer.add(record)
