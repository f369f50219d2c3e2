"""Datumaro's items as the payloads of a store's records, and back; the dataset's description as a store's header."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datumaro.components.dataset_base import DatasetItem, IDataset
from datumaro.components.media import MediaElement, MediaType

from datumaro_clip.errors import StoreCorruptError, StoreFormatError, StoreWriteError
from datumaro_clip.host.codec.annotations import decode_annotation, encode_annotation
from datumaro_clip.host.codec.categories import decode_categories, encode_categories
from datumaro_clip.host.codec.media import MediaReader, MediaWriter
from datumaro_clip.host.codec.values import CodecError, decode_value, encode_value
from datumaro_clip.store import Header, MediaFolder, Record, StoreReader
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE, Embedding, ItemKey, ObjectEmbedding, VectorSpace

# Errors that Datumaro's constructors may raise for a damaged or foreign payload.
_NONSENSE = (
    *(CodecError, AssertionError, AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError),
    ValueError,
)


class ItemEncoder:
    """Turns items into payloads.

    Parameters
    ----------
    folder : MediaFolder
        Where media are kept.
    save_media : bool
    image_ext : str, optional
    """

    def __init__(self, folder: MediaFolder, *, save_media: bool, image_ext: str | None = None) -> None:
        self.media = MediaWriter(folder, save=save_media, image_ext=image_ext)

    def encode(self, item: DatasetItem) -> dict[str, Any]:
        """Return an item's payload, without the vectors that it carries, for which a store has columns.

        Raises
        ------
        StoreWriteError
            If the item holds something that is not data.
        """
        name, media = f"{item.subset}/{item.id}", self.media
        attributes = {key: value for key, value in item.attributes.items() if key != EMBEDDING_ATTRIBUTE}
        try:
            parts = {
                "media": None if item.media is None else media.encode(item.media, name),
                "annotations": [
                    encode_annotation(note, media, f"{name}.annotation-{i}") for i, note in enumerate(item.annotations)
                ],
                "attributes": encode_value(attributes),
            }
        except CodecError as exc:
            raise StoreWriteError(
                f"item '{item.id}' (subset '{item.subset}') cannot be stored: it holds {exc}. "
                "Remove it from the item, or turn it into numbers, texts or arrays"
            ) from exc
        return {part: value for part, value in parts.items() if value}


class ItemDecoder:
    """Turns payloads into items.

    Parameters
    ----------
    root : Path
        The store.
    """

    def __init__(self, root: Path) -> None:
        self._media = MediaReader(root)

    def decode(self, key: ItemKey, payload: Mapping[str, Any]) -> DatasetItem:
        """Return the item that was encoded; its pictures and masks are not decoded yet.

        Raises
        ------
        StoreCorruptError
            If the payload was not made by :class:`ItemEncoder`.
        """
        try:
            media = payload.get("media")
            return DatasetItem(
                id=key.id,
                subset=key.subset,
                media=None if media is None else self._media.decode(media),
                annotations=[decode_annotation(value, self._media) for value in payload.get("annotations", [])],
                attributes=decode_value(payload.get("attributes", {})),
            )
        except _NONSENSE as exc:
            # A StoreCorruptError is a ValueError, and its message ends with the cure.
            what = exc.args[0] if isinstance(exc, StoreCorruptError) else exc
            raise StoreCorruptError(f"item {key} of the store cannot be read: {what}") from exc


def attach_vectors(item: DatasetItem, record: Record, space: VectorSpace | None, precision: str) -> None:
    """Give an item and its annotations the vectors that a store has of them, in their attribute ``clip_embedding``.

    Parameters
    ----------
    item : DatasetItem
        What :class:`ItemDecoder` made of the record.
    record : Record
    space : VectorSpace or None
        The store's.
    precision : str
        The segment's.

    Raises
    ------
    StoreCorruptError
        If there is a vector of an annotation that the item does not have.
    """
    if space is None:
        return
    if record.embedding is not None:
        of_item = str(record.payload.get("precision", precision))
        item.attributes[EMBEDDING_ATTRIBUTE] = Embedding(record.embedding, space.fingerprint, space.model, of_item)
    of_objects = str(record.payload.get("object_precision", precision))
    for found in record.objects:
        if found.annotation_index >= len(item.annotations):
            raise StoreCorruptError(
                f"item {record.key} has a vector of annotation {found.annotation_index}, but no such annotation"
            )
        item.annotations[found.annotation_index].attributes[EMBEDDING_ATTRIBUTE] = ObjectEmbedding(
            found.vector, space.fingerprint, space.model, of_objects, found.bbox, found.source
        )


def describe_dataset(
    source: IDataset, categories: Any = None, *, dtype: str = "float32", compression: str = "none"
) -> Header:
    """Return the header of a store for a dataset; its vectors are declared when they come.

    Parameters
    ----------
    source : IDataset
    categories : mapping, optional
        Categories to be written instead of the dataset's own.
    dtype, compression : str
        How vectors are kept.

    Raises
    ------
    StoreWriteError
        If categories or infos hold something that is not data.
    """
    try:
        return Header(
            dtype=dtype,
            compression=compression,
            media_type=source.media_type()._type.name.lower(),
            categories=encode_categories(source.categories() if categories is None else categories),
            infos=encode_value(dict(source.infos())),
        )
    except CodecError as exc:
        raise StoreWriteError(f"the dataset cannot be stored: its categories or infos hold {exc}") from exc


class DatasetDescription:
    """The dataset's categories, infos and media type, read from a store's header.

    Attributes
    ----------
    categories : dict
    infos : dict
    media_type : type

    Raises
    ------
    StoreFormatError
        If another program wrote something there that Datumaro does not have.
    """

    def __init__(self, reader: StoreReader) -> None:
        header = reader.header
        try:
            self.categories = decode_categories(header.categories)
            self.infos: dict[str, Any] = decode_value(dict(header.infos))
            self.media_type: type[MediaElement] = MediaType[header.media_type.upper()].media or MediaElement
        except (*_NONSENSE, NotImplementedError) as exc:
            raise StoreFormatError(f"the dataset in {reader.path} is not one that Datumaro knows: {exc!r}") from exc
