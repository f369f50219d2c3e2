"""One store at one moment: its records, its facts and its index, which a request keeps to its end."""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from datumaro_clip.index import Filter
from datumaro_clip.index import Snapshot as IndexSnapshot
from datumaro_clip.service.described import Described, describe
from datumaro_clip.service.facts import Facts
from datumaro_clip.service.filters import Filters, Mask
from datumaro_clip.store import Record
from datumaro_clip.vectors import FloatArray, ItemKey

_KEPT_MASKS = 32


class Snapshot:
    """A store as it was when it was taken in; never changes.

    Parameters
    ----------
    name : str
        The name that it is served under.
    index : datumaro_clip.index.Snapshot
    facts : Facts
    box_classes : list of str
        Names of the classes of :attr:`Facts.objects`.

    Attributes
    ----------
    version : str
        Changes with every write.
    written : float
        When the store was written, seconds since 1970.
    """

    def __init__(self, name: str, index: IndexSnapshot, facts: Facts, box_classes: list[str]) -> None:
        self.name, self.index, self.reader, self.facts = name, index, index.store, facts
        self.box_classes = box_classes
        self.class_names = self.reader.header.class_names
        self.version = index.digest
        self.written = self._when_written()
        # A weak reference: a snapshot that nobody uses any more lets go of its files at once, not at some later time.
        self._masks = lru_cache(_KEPT_MASKS)(partial(Snapshot._mask, weakref.proxy(self)))

    def __len__(self) -> int:
        return len(self.reader)

    @property
    def path(self) -> Path:
        """The store's directory."""
        return self.reader.path

    def find(self, key: ItemKey) -> int | None:
        """The row of an item."""
        return self.reader.find(key)

    def described(self, row: int) -> Described:
        """What a row's payload says."""
        return describe(self.payload(row), self.class_names)

    def payload(self, row: int) -> Mapping[str, Any]:
        """A row's payload; no vector is read."""
        segment, local = self.reader.locate(row)
        return segment.payload(local)

    def record(self, row: int) -> Record:
        """A row with its vectors."""
        return self.reader.record(row)

    def vector(self, row: int) -> FloatArray | None:
        """The vector (D,) of a row's picture."""
        segment, local = self.reader.locate(row)
        return segment.embedding(local)

    def mask(self, filters: Filters, target: str) -> Mask | Filter | None:
        """Which of a target's vectors pass, as the index takes it: nothing, its own filter, or a mask (V,).

        Equal filters give the same object.
        """
        if filters.wants_facts:
            return self._masks(filters.model_dump_json(include=set(Filters.model_fields), by_alias=True), target)
        return filters.for_index() or None

    def rows(self, filters: Filters) -> Mask:
        """Which rows pass, (N,)."""
        wanted = filters.for_index()
        rows = self.index.columns.mask(wanted)
        if filters.wants_objects:
            rows &= self.index.columns.labelled(wanted)
        more = filters.by_facts(self.facts)
        return rows if more is None else rows & more

    def _mask(self, filters: str, target: str) -> Mask:
        """The mask of filters, which are given as JSON, since that is the same for equal ones."""
        wanted = Filters.model_validate_json(filters)
        more = wanted.by_facts(self.facts)
        mask = self.index.mask(wanted.for_index(), target)
        return mask if more is None else mask & more[self.index.targets[target].items]

    def _when_written(self) -> float:
        """When the manifest was written."""
        try:
            return (self.path / f"{self.reader.kind.name}.json").stat().st_mtime
        except OSError:
            return time.time()
