"""Writes Datumaro's items and their vectors to new stores, and new and changed items to existing ones."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.curate.item import carried_embedding
from datumaro_clip.curate.objects import Objects
from datumaro_clip.curate.run_model import RunModel
from datumaro_clip.curate.vector_options import EmbeddingOptions
from datumaro_clip.errors import SpaceMismatchError, StoreNotFoundError, StoreWriteError
from datumaro_clip.host.causes import told_as_option_errors
from datumaro_clip.host.codec.categories import decode_categories, encode_categories
from datumaro_clip.host.codec.items import ItemEncoder, describe_dataset
from datumaro_clip.host.embedding import Embedder, ItemEmbedding, with_detected_labels
from datumaro_clip.host.items import key_of, label_names
from datumaro_clip.host.objects import carried_objects, object_vector
from datumaro_clip.store import (
    Header,
    ObjectVector,
    Record,
    StoreReader,
    StoreWriter,
    already_there,
    append_to_store,
    create_store,
    open_store,
)
from datumaro_clip.store.base import ADDED, from_line, to_line
from datumaro_clip.system.notices import notice, notice_counts
from datumaro_clip.vectors import Embedding, ItemKey, Provenance

log = logging.getLogger(__name__)

_LOSSES = {
    "missing": "%d media were to be saved, but are not there; the store keeps where they were, if in files",
    "unsaved": "%d media live only in memory and are not in the store; keep them with --save-media",
}
_UNREAD = "%d media cannot be read and are not in the store, which keeps where they are (%s)"


class ItemStorer:
    """Adds items with their vectors to a store.

    Parameters
    ----------
    writer : StoreWriter
    categories : mapping
        The dataset's.
    save_media : bool
        Keep media inside the store.
    image_ext : str, optional
        Encode pictures that are saved anew, as ``.jpg``.
    """

    def __init__(
        self, writer: StoreWriter, categories: Mapping[Any, Any], save_media: bool = False, image_ext: str | None = None
    ) -> None:
        self._writer, self._classes = writer, label_names(categories)
        self._encoder = ItemEncoder(writer.media, save_media=save_media, image_ext=image_ext)
        self._moved = 0
        self._is_declared = False

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
        payload = self._encoder.encode(found.item)
        if provenance is not None:
            self._declare(provenance, key)
            if provenance.precision != self._writer.header.precision:
                payload["precision"] = provenance.precision
        objects: list[ObjectVector] = []
        for index, annotation, embedding, is_current in carried_objects(found.item):
            if not is_current:
                self._moved += 1
                continue
            self._declare(_provenance(embedding, "unknown"), key)
            if embedding.precision != self._writer.header.precision:
                payload["object_precision"] = embedding.precision
            objects.append(object_vector(index, annotation, embedding, self._classes))
        vector = None if found.embedding is None else found.embedding.vector
        self._writer.add(Record(key, payload, vector, found.captions, tuple(objects)))

    def report(self) -> None:
        """Warn of media and vectors that the store does not have, by number."""
        if self._moved:
            notice(log, "%d boxes are not where their vectors are from; embed them again with clip_embed", self._moved)
        notice_counts(log, self._encoder.media.counts, _LOSSES, _UNREAD)

    def _declare(self, provenance: Provenance, key: ItemKey) -> None:
        """Tell the store, at the first vector of this write, what computed it; refuse a vector of another space."""
        space = self._writer.header.space
        if space not in (None, provenance.space):
            raise SpaceMismatchError(
                f"item {key} has a vector of {provenance.space}, but the store is of {space}. "
                "Compute the others again with --recompute, or export to another directory"
            )
        if not self._is_declared:
            self._writer.declare(provenance)
            self._is_declared = True


def refuse_another_size(path: Path, items: int | None, on_error: str) -> None:
    """Refuse to overwrite a store that has not ``items`` items, and so is another, before anything is computed.

    Raises
    ------
    StoreWriteError
        Saying how many items overwriting would delete, and how to add to the store.
    """
    with suppress(StoreNotFoundError), open_store(path) as reader:
        if items is not None and on_error != "skip" and len(reader) != items:
            raise already_there(path)


def tell_no_items(count: int | None) -> None:
    """Warn of a dataset that is empty."""
    if count == 0:
        notice(log, "0 items read: check the dataset's path and format, and whether its pictures lie in a folder below")


def store_embedded(storer: ItemStorer, items: Iterable[DatasetItem], embedder: Embedder, total: int | None) -> None:
    """Add items, computing the vectors that they lack."""
    count = vectors = 0
    for found in embedder.run(items, total):
        storer.add(found, provenance_of(found, embedder))
        count += 1
        vectors += found.embedding is not None or bool(found.captions)
    if count and not vectors:
        notice(log, "0 of %d items have a vector; nothing can be searched for among them", count)


def store_as_they_are(storer: ItemStorer, items: Iterable[DatasetItem]) -> None:
    """Add items with the vectors that they carry; nothing is computed."""
    for item in items:
        embedding = carried_embedding(key_of(item), item.attributes)
        storer.add(ItemEmbedding(item, embedding), None if embedding is None else _provenance(embedding, "unknown"))


def provenance_of(found: ItemEmbedding, embedder: Embedder) -> Provenance | None:
    """Return what computed an item's vectors; the device is known only of vectors that this run computes."""
    if found.embedding is not None:
        return _provenance(found.embedding, embedder.model.device)
    return embedder.model.encoder.provenance if found.captions else None


def _provenance(embedding: Embedding, device: str) -> Provenance:
    return Provenance(embedding.vector_space, embedding.precision, device)


def embed_to_store(
    dataset: Dataset,
    path: Path,
    kind: str,
    options: EmbeddingOptions,
    *,
    items: Sequence[DatasetItem] | None = None,
    model: RunModel | None = None,
    objects: Objects | None = None,
    save_media: bool = False,
    dtype: str = "float32",
) -> None:
    """Embed a dataset, or some of its items, and write them to a new store.

    Parameters
    ----------
    dataset : Dataset
    path : Path
        The store.
    kind : str
        Of store.
    options : EmbeddingOptions
    items : sequence of DatasetItem, optional
        All that the dataset has where omitted.
    model : RunModel, optional
        Of these options; its summary counts what was done.
    objects : Objects, optional
        The objects to embed beside the pictures.
    save_media : bool
        Keep the media in the store.
    dtype : str
        How vectors are kept.

    Raises
    ------
    StoreWriteError
        If there is a store already that is not the very one that this writes.
    """
    with told_as_option_errors(dataset.data_path):
        chosen = dataset if items is None else items
        count = len(chosen)
        tell_no_items(count)
        refuse_another_size(path, count, options.on_error)
        categories = with_detected_labels(dataset.categories(), objects)
        header = describe_dataset(dataset, categories, dtype=dtype)
        with create_store(path, kind, header, repeat=True) as writer:
            storer = ItemStorer(writer, categories, save_media)
            store_embedded(storer, chosen, Embedder(options, categories, model, objects), count)
            storer.report()


@dataclass
class Additions:
    """How many items of a dataset are new in the store, were changed there, or were left as they were."""

    added: int = 0
    changed: int = 0
    left: int = 0


def add_to_store(
    path: Path,
    dataset: Dataset,
    options: EmbeddingOptions,
    *,
    objects: Objects | None = None,
    save_media: bool | None = None,
) -> Additions:
    """Add a dataset's new items to a store, and replace those that have changed; the others stay as they are.

    An item has changed if its annotations, attributes or medium have, as the store would keep them: with
    ``save_media`` pictures are compared by their bytes, else by where they are. Labels are matched by name.

    Parameters
    ----------
    path : Path
        The store.
    dataset : Dataset
    options : EmbeddingOptions
        Where no model is named, it is the one of the store's vectors.
    objects : Objects, optional
        The objects to embed beside the pictures, without a detector.
    save_media : bool, optional
        Keep the media in the store; where omitted, as the store does.

    Raises
    ------
    StoreNotFoundError
        If there is no store.
    StoreWriteError
        If the store is of another medium, or the disk does not take it.
    SpaceMismatchError
        If the model's vectors cannot be compared with the store's.
    """
    done = Additions()
    with told_as_option_errors(dataset.data_path), open_store(path) as reader:
        dataset, header = _fitted(dataset, reader)
        space = reader.header.space
        if options.model is None and space is not None and space.fingerprint.startswith("sha256:"):
            options = replace(options, model=space.fingerprint)
        save_media = (path / "media").is_dir() if save_media is None else save_media
        with append_to_store(path, header) as writer:
            storer = ItemStorer(writer, dataset.categories(), save_media)
            # An encoder of its own: what it only compares is not counted as lost.
            items = _changed(dataset, reader, ItemEncoder(writer.media, save_media=save_media), done)
            store_embedded(storer, items, Embedder(options, dataset.categories(), objects=objects), None)
            storer.report()
    return done


def _fitted(dataset: Dataset, reader: StoreReader) -> tuple[Dataset, Header]:
    """Give a dataset's labels the store's numbers; return it, and the store's header with the labels that it lacked."""
    new = describe_dataset(dataset)
    if new.media_type != reader.header.media_type:
        raise StoreWriteError(
            f"{reader.path} holds media of the type {reader.header.media_type}, the dataset is of {new.media_type}"
        )
    categories = dict(reader.header.categories)
    if new.categories and dict(new.categories) != categories:
        names = label_names(decode_categories(categories))
        missing = [name for name in label_names(dataset.categories()) if name not in names]
        dataset = dataset.transform("project_labels", dst_labels=[*names, *missing])
        projected = encode_categories(dataset.categories())
        categories = {**projected, **categories}
        if missing:
            known = categories.get("label", projected["label"])
            items = [*known["items"][: len(names)], *projected["label"]["items"][len(names) :]]
            categories["label"] = {**known, "items": items}
    return dataset, replace(new, categories=categories, infos={**new.infos, **reader.header.infos})


def _changed(dataset: Dataset, reader: StoreReader, encoder: ItemEncoder, done: Additions) -> Iterator[DatasetItem]:
    """Find the new and changed items; note on each when it was added, and count all."""
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    for item in dataset:
        key = key_of(item)
        row = reader.find(key)
        stored = {} if row is None else dict(reader.record(row).payload)
        added = now if row is None else stored.get("attributes", {}).get(ADDED)
        if added is not None:
            item = item.wrap(attributes={**item.attributes, ADDED: added})
        if row is None:
            done.added += 1
            yield item
            continue
        stored.pop("precision", None)
        stored.pop("object_precision", None)
        # Written and read as the store does it, since JSON knows fewer types.
        if from_line(to_line(key, encoder.encode(item)))[1] == stored:
            done.left += 1
        else:
            done.changed += 1
            yield item


def remove_from_store(path: Path, keys: Iterable[ItemKey], *, others: bool = False) -> tuple[int, list[ItemKey]]:
    """Remove items from a store, or all others; return how many were removed, and the keys that name no item."""
    keys = set(keys)
    with open_store(path) as reader:
        present = list(reader.keys())
    unknown = sorted(keys - set(present))
    doomed = [key for key in present if (key in keys) is not others]
    if doomed:
        with append_to_store(path) as writer:
            for key in doomed:
                writer.remove(key)
    return len(doomed), unknown
