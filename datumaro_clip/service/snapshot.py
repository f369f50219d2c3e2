"""One store at one moment: its records, its facts and its index, which a request keeps to its end."""

from __future__ import annotations

import time
import weakref
from functools import lru_cache, partial

from datumaro_clip.index import Filter
from datumaro_clip.index import Snapshot as IndexSnapshot
from datumaro_clip.service.described import Described, describe
from datumaro_clip.service.facts import Facts, Mask
from datumaro_clip.service.filters import Filters
from datumaro_clip.vectors import FloatArray

_KEPT_MASKS = 32


class Snapshot:
    """A store as it was when it was loaded; never changes.

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
    reader : StoreReader
    version : str
        Changes with every write.
    written : float
        When the store was written, seconds since 1970.
    """

    def __init__(self, name: str, index: IndexSnapshot, facts: Facts, box_classes: list[str]) -> None:
        self.name, self.index, self.reader, self.facts = name, index, index.store, facts
        self.path, self.box_classes = self.reader.path, box_classes
        self.class_names = self.reader.header.class_names
        self.version = index.digest
        try:
            self.written = (self.path / f"{self.reader.kind.name}.json").stat().st_mtime
        except OSError:
            self.written = time.time()
        # A weak reference, so that a snapshot closes its files as soon as nobody uses it any more.
        self._masks = lru_cache(_KEPT_MASKS)(partial(Snapshot._mask, weakref.proxy(self)))

    def __len__(self) -> int:
        return len(self.reader)

    def described(self, row: int) -> Described:
        """Return what a row's payload says; no vector is read."""
        segment, local = self.reader.locate(row)
        return describe(segment.payload(local), self.class_names)

    def vector(self, row: int) -> FloatArray | None:
        """Return the vector (D,) of a row's picture."""
        segment, local = self.reader.locate(row)
        return segment.embedding(local)

    def mask(self, filters: Filters, target: str) -> Mask | Filter | None:
        """Return which of a target's vectors pass, as the index takes it: None for all, its own filter, or a mask (V,).

        Equal filters give the same object.
        """
        if filters.wants_facts:
            return self._masks(filters.model_dump_json(include=set(Filters.model_fields), by_alias=True), target)
        return filters.for_index() or None

    def _mask(self, filters: str, target: str) -> Mask:
        """Return the mask of filters, which are given as JSON because equal filters have equal JSON."""
        wanted = Filters.model_validate_json(filters)
        mask = self.index.mask(wanted.for_index(), target)
        return mask & wanted.by_facts(self.facts)[self.index.targets[target].items]
