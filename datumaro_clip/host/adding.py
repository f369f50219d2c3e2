"""Datasets into stores: a new one, or what a store lacks or has otherwise."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.curate.objects import Objects
from datumaro_clip.curate.run_model import RunModel
from datumaro_clip.curate.vector_options import EmbeddingOptions
from datumaro_clip.errors import StoreWriteError
from datumaro_clip.host.causes import told_as_option_errors
from datumaro_clip.host.codec.categories import decode_categories, encode_categories
from datumaro_clip.host.codec.items import ItemEncoder, describe_dataset
from datumaro_clip.host.embedding import Embedder, with_detected_labels
from datumaro_clip.host.items import key_of, label_names
from datumaro_clip.host.storing import ItemStorer, MediaOptions, refuse_another_size, store_embedded, tell_no_items
from datumaro_clip.store import Header, StoreReader, append_to_store, create_store, open_store
from datumaro_clip.store.base import ADDED, from_line, to_line
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE, ItemKey

log = logging.getLogger(__name__)


@dataclass
class Additions:
    """What became of a dataset's items: new in the store, changed there, or left as they were."""

    added: int = 0
    changed: int = 0
    left: int = 0


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
        Whose vectors are wanted beside the pictures'.
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
        count = len(dataset if items is None else items)
        tell_no_items(count)
        refuse_another_size(path, count, options.on_error)
        categories = with_detected_labels(dataset.categories(), objects)
        header = describe_dataset(categories, dataset.infos(), dataset.media_type(), dtype=dtype)
        with create_store(path, kind, header, repeat=True) as writer:
            storer = ItemStorer(writer, MediaOptions(save_media), label_names(categories))
            embedder = Embedder(options, categories, model, objects)
            store_embedded(storer, dataset if items is None else items, embedder, count)
            storer.report()


def add_to_store(
    path: Path,
    dataset: Dataset,
    options: EmbeddingOptions,
    *,
    objects: Objects | None = None,
    save_media: bool | None = None,
) -> Additions:
    """Add to a store what it lacks of a dataset, and replace what it has otherwise; the rest stays as it is.

    An item is another if its annotations, attributes or medium are, as the store would keep them: with ``save_media``
    pictures are compared by their bytes, else by where they are. Labels are matched by name.

    Parameters
    ----------
    path : Path
        The store.
    dataset : Dataset
    options : EmbeddingOptions
        Where no model is named, it is the one of the store's vectors.
    objects : Objects, optional
        Whose vectors are wanted beside the pictures', without a detector.
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
        media = MediaOptions((path / "media").is_dir() if save_media is None else save_media)
        with append_to_store(path, header) as writer:
            encoder = ItemEncoder(writer.media, save_media=media.save)
            storer = ItemStorer(writer, media, label_names(dataset.categories()))
            items = _changed(dataset, reader, encoder, done)
            store_embedded(storer, items, Embedder(options, dataset.categories(), objects=objects), None)
            storer.report()
    return done


def remove_from_store(path: Path, keys: Iterable[ItemKey], *, others: bool = False) -> tuple[int, list[ItemKey]]:
    """Remove items of a store, or all others; how many went, and the keys that name none of its items."""
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


def _fitted(dataset: Dataset, reader: StoreReader) -> tuple[Dataset, Header]:
    """The dataset with its labels numbered as the store's, and the store's header with the labels that it lacked."""
    new = describe_dataset(dataset.categories(), dataset.infos(), dataset.media_type())
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
    """The items that the store lacks or has otherwise, with when they were added; counted as they are passed on."""
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    for item in dataset:
        key = key_of(item)
        row = reader.find(key)
        stored = None if row is None else reader.record(row).payload
        added = now if stored is None else stored.get("attributes", {}).get(ADDED)
        if added is not None:
            item = item.wrap(attributes={**item.attributes, ADDED: added})
        if stored is None:
            done.added += 1
        elif _as_stored(key, encoder.encode(item, frozenset({EMBEDDING_ATTRIBUTE}))) == _without_precision(stored):
            done.left += 1
            continue
        else:
            done.changed += 1
        yield item


def _as_stored(key: ItemKey, payload: Mapping[str, Any]) -> dict[str, Any]:
    return from_line(to_line(key, payload))[1]


def _without_precision(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if name not in ("precision", "object_precision")}
