"""The content of an index in a search server: a document for each item, and its progress in each segment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from datumaro_clip.index.columns import label_of
from datumaro_clip.index.filters import attribute_text, parse_date
from datumaro_clip.index.snapshot import GROUPS, OBJECTS
from datumaro_clip.store import ObjectVector, SegmentReader, StoreReader
from datumaro_clip.store.base import ADDED, TAGS, tags_of
from datumaro_clip.store.columns import checksum
from datumaro_clip.vectors import FloatArray, ItemKey, VectorSpace

# Digits of a segment's digest that name it in an engine.
_DIGITS = 16
#: A segment's name, and the number in it of a picture's item, or of an object among the segment's objects.
Place = tuple[str, int]


@dataclass(frozen=True, eq=False)
class Document:
    """An item in a server.

    Attributes
    ----------
    key : ItemKey
    segment : str
        The first digits of its segment's digest.
    row : int
        The item's row in the segment.
    version : int
        The segment's number; a later version of the same item has a higher one.
    embedding : numpy.ndarray or None
        (D,) float32.
    objects : tuple of ObjectVector
    first_object : int
        The number of its first object among the segment's.
    tags, classes : tuple of str
    score : float or None
        The largest confidence of its labelled annotations and objects; None where it has none.
    added : datetime or None
    attributes : mapping
        Texts, numbers, booleans and None.
    captions : tuple of str
        Its texts.
    filename : str
        The name of its picture's file; empty if there is none.
    checksum : int
        CRC-32 of its vectors.
    """

    key: ItemKey
    segment: str
    row: int
    version: int
    embedding: FloatArray | None
    objects: tuple[ObjectVector, ...]
    first_object: int
    tags: tuple[str, ...]
    classes: tuple[str, ...]
    score: float | None
    added: datetime | None
    attributes: Mapping[str, Any]
    captions: tuple[str, ...]
    filename: str
    checksum: int


@dataclass(frozen=True)
class Progress:
    """How much of a segment a server holds: so many of its first rows, without so many that were removed."""

    rows: int
    removed: int


@dataclass(frozen=True)
class State:
    """The state of an index in a server, which is kept there.

    Attributes
    ----------
    space : VectorSpace
    digest : str
        Digest of the store's manifest that was pushed last; empty during a push.
    segments : mapping of str to Progress
        By :func:`segment_name`.
    """

    space: VectorSpace
    digest: str = ""
    segments: Mapping[str, Progress] = field(default_factory=dict)


def segment_name(segment: SegmentReader) -> str:
    """Return the name that a server has for a segment."""
    return segment.entry.digest[:_DIGITS]


def documents_of(store: StoreReader, segment: SegmentReader, start: int) -> Iterator[Document]:
    """Yield the documents of a segment's live items, from a row on."""
    names = store.header.class_names
    objects = segment.item_rows(GROUPS[OBJECTS])
    for row in segment.live[np.searchsorted(segment.live, start) :].tolist():
        record = segment.record(row)
        payload = record.payload
        attributes, annotations = payload.get("attributes", {}), payload.get("annotations", ())
        labels = [found for found in map(label_of, annotations) if found and found[0] < len(names)]
        classes = [(names[label], score) for label, score in labels]
        classes += [(o.class_name, 1.0 if o.confidence is None else o.confidence) for o in record.objects]
        vectors = [vector for vector in (record.embedding, *(o.vector for o in record.objects)) if vector is not None]
        media = payload.get("media", {})
        path = media.get("file") or media.get("path") or (media.get("archive") or {}).get("member") or ""
        yield Document(
            key=record.key,
            segment=segment_name(segment),
            row=row,
            version=segment.entry.number,
            embedding=record.embedding,
            objects=record.objects,
            first_object=int(np.searchsorted(objects, row)),
            tags=tuple(dict.fromkeys(tags_of(attributes.get(TAGS)))),
            classes=tuple(dict.fromkeys(name for name, _ in classes)),
            score=max((score for _, score in classes), default=None),
            added=parse_date(attributes.get(ADDED)),
            attributes={
                n: v for n, v in attributes.items() if n not in (TAGS, ADDED) and attribute_text(v) is not None
            },
            captions=tuple(str(a["caption"]) for a in annotations if isinstance(a, dict) and a.get("caption")),
            filename=str(path).replace("\\", "/").rpartition("/")[2],
            checksum=checksum(np.stack(vectors)) if vectors else 0,
        )
