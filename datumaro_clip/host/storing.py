"""Items and their vectors into a store."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.errors import SpaceMismatchError, StoreNotFoundError
from datumaro_clip.host.carried_vectors import carried_objects, carried_vector, object_vector
from datumaro_clip.host.codec.items import ItemEncoder
from datumaro_clip.host.embedding import Embedder, ItemEmbedding
from datumaro_clip.host.items import key_of
from datumaro_clip.store import ObjectVector, Record, StoreWriter, already_there, open_store
from datumaro_clip.system.notices import notice, notice_counts
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE, Embedding, ItemKey, Provenance

log = logging.getLogger(__name__)

# The store keeps the vector in its own column.
_KEPT_ELSEWHERE = frozenset({EMBEDDING_ATTRIBUTE})

_LOSSES = {
    "missing": "%d media were to be saved, but are not there; the store keeps where they were, if in files",
    "unsaved": "%d media live only in memory and are not in the store; keep them with --save-media",
}
_UNREAD = "%d media cannot be read and are not in the store, which keeps where they are (%s)"


@dataclass(frozen=True)
class MediaOptions:
    """Whether media are kept inside the store, and pictures encoded anew, as ``.jpg``, on the way."""

    save: bool = False
    image_ext: str | None = None


class ItemStorer:
    """Adds items with their vectors to a store.

    Parameters
    ----------
    writer : StoreWriter
    media : MediaOptions
    classes : sequence of str
        Names of the dataset's labels.
    """

    def __init__(self, writer: StoreWriter, media: MediaOptions, classes: Sequence[str]) -> None:
        self._writer, self._classes = writer, classes
        self._moved = 0
        self._encoder = ItemEncoder(writer.media, save_media=media.save, image_ext=media.image_ext)
        self._declared = False

    def add(self, found: ItemEmbedding, provenance: Provenance | None) -> None:
        """Add an item.

        Parameters
        ----------
        found : ItemEmbedding
        provenance : Provenance or None
            What computed its vectors; None if it has none.

        Raises
        ------
        SpaceMismatchError
            If its vectors are of another space than the store's.
        StoreWriteError
            If it cannot be kept.
        """
        key = key_of(found.item)
        payload = self._encoder.encode(found.item, leave_out=_KEPT_ELSEWHERE)
        if provenance is not None:
            self._declare(provenance, key)
            if provenance.precision != self._writer.header.precision:
                payload["precision"] = provenance.precision
        vector = None if found.embedding is None else found.embedding.vector
        self._writer.add(Record(key, payload, vector, found.captions, tuple(self._objects(found.item, key, payload))))

    def _objects(self, item: DatasetItem, key: ItemKey, payload: dict[str, Any]) -> Iterator[ObjectVector]:
        """The vectors that the item's annotations carry, but for those of boxes that have changed since."""
        for index, annotation, embedding, is_its_own in carried_objects(item):
            if not is_its_own:
                self._moved += 1
                continue
            self._declare(_provenance(embedding, "unknown"), key)
            if embedding.precision != self._writer.header.precision:
                payload["object_precision"] = embedding.precision
            yield object_vector(index, annotation, embedding, self._classes)

    def report(self) -> None:
        """Warn of media and vectors that the store does not have, by number."""
        if self._moved:
            notice(log, "%d boxes are not where their vectors are from; embed them again with clip_embed", self._moved)
        notice_counts(log, self._encoder.media.counts, _LOSSES, _UNREAD)

    def _declare(self, provenance: Provenance, key: ItemKey) -> None:
        """Say what computes the vectors of this write: the first item's provenance."""
        space = self._writer.header.space
        if space not in (None, provenance.space):
            raise SpaceMismatchError(
                f"item {key} has a vector of {provenance.space}, but the store is of {space}. "
                "Compute the others again with --recompute, or export to another directory"
            )
        if not self._declared:
            self._writer.declare(provenance)
            self._declared = True


def refuse_another_size(path: Path, items: int | None, on_error: str) -> None:
    """Refuse, before anything is computed, to write again a store that has not ``items`` items, so is another.

    Raises
    ------
    StoreWriteError
        Saying how many items overwriting would delete, and how to add to the store.
    """
    with suppress(StoreNotFoundError), open_store(path) as reader:
        if items is not None and on_error != "skip" and len(reader) != items:
            raise already_there(path)


def store_embedded(storer: ItemStorer, items: Iterable[DatasetItem], embedder: Embedder, total: int | None) -> None:
    """Add items, computing the vectors that they lack."""
    count = vectors = 0
    for found in embedder.run(items, total):
        storer.add(found, provenance_of(found, embedder))
        count += 1
        vectors += found.embedding is not None or bool(found.captions)
    if count and not vectors:
        notice(log, "0 of %d items have a vector; nothing can be searched for among them", count)


def tell_no_items(count: int | None) -> None:
    """Warn of a dataset that is empty."""
    if count == 0:
        notice(log, "0 items read: check the dataset's path and format, and whether its pictures lie in a folder below")


def store_as_they_are(storer: ItemStorer, items: Iterable[DatasetItem]) -> None:
    """Add items with the vectors that they carry; nothing is computed."""
    for item in items:
        embedding = carried_vector(item)
        storer.add(ItemEmbedding(item, embedding), None if embedding is None else _provenance(embedding, "unknown"))


def provenance_of(found: ItemEmbedding, embedder: Embedder) -> Provenance | None:
    """What computed an item's vectors; the device is known of vectors that this run computes."""
    if found.embedding is not None:
        return _provenance(found.embedding, embedder.model.device)
    return embedder.model.encoder.provenance if found.captions else None


def _provenance(embedding: Embedding, device: str) -> Provenance:
    return Provenance(embedding.vector_space, embedding.precision, device)
