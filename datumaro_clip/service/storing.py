"""Writes to one store: those that wait are committed together, and answered when they can be searched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from datumaro_clip.errors import StoreWriteError
from datumaro_clip.service.batching import Batcher
from datumaro_clip.service.collection import Collection
from datumaro_clip.service.pool import Pool
from datumaro_clip.service.problems import busy
from datumaro_clip.service.snapshot import Snapshot
from datumaro_clip.store import Record, StoreReader, StoreWriter, append_to_store, open_store
from datumaro_clip.vectors import ItemKey, Provenance

_MOST_TOGETHER = 64
# Rows of a segment that is left alone; smaller ones are written again into the next, so that there are few.
_LARGE_ROWS = 1 << 14

RecordMaker = Callable[[StoreWriter], Record]


@dataclass(frozen=True)
class _Add:
    """An item to add, unless its key is there; its record is made when its medium can be put into the store."""

    key: ItemKey
    make: RecordMaker


@dataclass(frozen=True)
class _Remove:
    """An item to take out."""

    key: ItemKey


class StoreQueue:
    """The one writer of a store in this process.

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
        self.writes: Batcher[_Add | _Remove, tuple[Snapshot, bool]] = Batcher(
            self._commit, pool, most=_MOST_TOGETHER, capacity=capacity
        )

    async def add(self, key: ItemKey, make: RecordMaker) -> tuple[Snapshot, bool]:
        """Store an item; the snapshot that has it, and whether it is new.

        Raises
        ------
        RequestError
            503, if another process writes the store, or too many writes wait.
        """
        return await self.writes(_Add(key, make))

    async def remove(self, key: ItemKey) -> bool:
        """Take an item out; whether there was one."""
        _, removed = await self.writes(_Remove(key))
        return removed

    def _commit(self, writes: list[_Add | _Remove]) -> Sequence[tuple[Snapshot, bool] | Exception]:
        path = self._collection.stores[self._name].path
        changed: list[bool] = []
        try:
            writer = append_to_store(path)
        except StoreWriteError as exc:
            raise busy(f"the store {self._name} cannot be written now: {exc}") from exc
        with writer, open_store(path) as before:
            writer.declare(self._provenance)
            added: set[ItemKey] = set()
            for write in writes:
                if isinstance(write, _Remove):
                    changed.append(writer.remove(write.key))
                    continue
                is_new = write.key not in added and before.find(write.key) is None
                changed.append(is_new)
                if is_new:
                    added.add(write.key)
                    writer.add(write.make(writer))
            removed = {write.key for write in writes if isinstance(write, _Remove)}
            _write_small_segments_again(writer, before, len(added), removed)
        snapshot = self._collection.refresh(self._name)
        return [(snapshot, is_changed) for is_changed in changed]


def add_class(writer: StoreWriter, name: str) -> int:
    """The number of a class among the store's, which gets it if it has none of that name."""
    categories = dict(writer.header.categories)
    labels = dict(categories.get("label", {"class": "LabelCategories", "items": [], "groups": []}))
    items: list[Any] = list(labels.get("items", ()))
    for number, item in enumerate(items):
        if item[0] == name:
            return number
    labels["items"] = [*items, [name, "", {"$": "set", "v": []}]]
    categories["label"] = labels
    writer.header = replace(writer.header, categories=categories)
    return len(items)


def _write_small_segments_again(writer: StoreWriter, before: StoreReader, rows: int, removed: set[ItemKey]) -> None:
    """Let the new segment take in the last ones that are not twice as large, as in a log-structured merge tree.

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
