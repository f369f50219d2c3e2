"""Stores as datasets, read lazily."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from datumaro.components.dataset_base import DatasetBase, DatasetItem
from datumaro.components.importer import ImportContext

from datumaro_clip.curate.item import Item
from datumaro_clip.errors import StoreFormatError
from datumaro_clip.host.codec.items import DatasetDescription, ItemDecoder, attach_vectors
from datumaro_clip.host.items import label_names, neutral
from datumaro_clip.store import SegmentReader, open_store
from datumaro_clip.vectors import ItemKey


def stored_items(path: Path, keys: Iterable[ItemKey]) -> Iterator[Item]:
    """Items of a store by their keys, without reading the others; those that are not there are left out."""
    with open_store(path) as store:
        description, decoder = DatasetDescription(store), ItemDecoder(path)
        classes = label_names(description.categories)
        for key in dict.fromkeys(keys):
            if (row := store.find(key)) is not None:
                record = store.record(row)
                yield neutral(decoder.decode(record.key, record.payload), classes)


class StoreBase(DatasetBase):
    """A store as a dataset: opening reads the manifest, iterating reads items and vectors block by block."""

    @staticmethod
    def describe(kind: str) -> str:
        """What the format's help says."""
        return f"A {kind} store, read lazily."

    def __init__(self, url: str, stream: bool = False, ctx: ImportContext | None = None) -> None:
        self._url, self._stream = url, stream
        self._reader = open_store(url)
        if self._reader.kind.name != self.NAME:
            raise StoreFormatError(f"{url} holds a {self._reader.kind.name} store, not {self.NAME}")
        self._description = DatasetDescription(self._reader)
        self._decoder = ItemDecoder(Path(url))
        super().__init__(
            length=len(self._reader),
            subsets=list(self._reader.subsets),
            media_type=self._description.media_type,
            ctx=ctx,
        )

    def __reduce__(self) -> tuple[type[StoreBase], tuple[str, bool]]:
        return type(self), (self._url, self._stream)

    def __iter__(self) -> Iterator[DatasetItem]:
        for segment in self._reader.segments:
            for row in segment.live:
                yield self._item(segment, int(row))

    def get(self, id: str, subset: str | None = None) -> DatasetItem | None:
        """One item, found without reading the others."""
        row = self._reader.find(ItemKey(str(id), subset or "default"))
        return None if row is None else self._item(*self._reader.locate(row))

    def infos(self) -> dict[str, Any]:
        """What the dataset says of itself."""
        return self._description.infos

    def categories(self) -> dict[Any, Any]:
        """Categories by annotation type."""
        return self._description.categories

    @property
    def is_stream(self) -> bool:
        """Whether items shall not be kept by who reads them."""
        return self._stream

    def _item(self, segment: SegmentReader, row: int) -> DatasetItem:
        record = segment.record(row)
        item = self._decoder.decode(record.key, record.payload)
        attach_vectors(item, record, self._reader.header.space, segment.entry.precision)
        return item
