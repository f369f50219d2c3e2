"""Whether ids, labels, captions, boxes, media and vectors of a dataset agree with one another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from datumaro_clip.vectors import ItemKey, VectorSpace, is_unit_rows

ERROR, WARNING, INFO = "error", "warning", "info"

SEVERITIES = {
    "RepeatedId": ERROR,
    "UnknownSubset": WARNING,
    "MissingMedia": ERROR,
    "UndecodableMedia": ERROR,
    "LabelOutsideCategories": ERROR,
    "EmptyCaption": WARNING,
    "UndecodableCaption": WARNING,
    "MissingCaption": INFO,
    "EmptyBox": ERROR,
    "BoxOutsidePicture": ERROR,
    "MissingVector": WARNING,
    "NonFiniteVector": ERROR,
    "VectorNotUnitLength": ERROR,
    "MixedVectorSpaces": ERROR,
}

# Annotation tools round boxes outwards to whole pixels.
_BOX_SLACK = 1.0


class Fault(NamedTuple):
    """One thing that does not agree: its kind (a key of ``SEVERITIES``), the item, and a sentence."""

    kind: str
    key: ItemKey
    message: str

    @property
    def severity(self) -> str:
        """``error``, ``warning`` or ``info``."""
        return SEVERITIES[self.kind]


class NumberedBox(NamedTuple):
    """A box with the index of its annotation; x, y, width and height in pixels."""

    annotation: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class ItemRecord:
    """What integrity is judged by.

    Attributes
    ----------
    key : ItemKey
    media_error : tuple of (reason, message), optional
        Why the picture cannot be decoded.
    has_media : bool
        Whether the item has a picture at all.
    size : tuple of int, optional
        Width and height in pixels.
    labels : tuple of (annotation index, label index)
    captions : tuple of (annotation index, text)
    boxes : tuple of NumberedBox
    vector : numpy.ndarray, optional
        Shape (D,), as stored, not normalised.
    space : VectorSpace, optional
    """

    key: ItemKey
    has_media: bool = True
    media_error: tuple[str, str] | None = None
    size: tuple[int, int] | None = None
    labels: tuple[tuple[int, int], ...] = ()
    captions: tuple[tuple[int, str], ...] = ()
    boxes: tuple[NumberedBox, ...] = ()
    vector: npt.NDArray[np.float32] | None = None
    space: VectorSpace | None = None


def find_faults(records: Iterable[ItemRecord], label_count: int, subsets: Iterable[str] | None = None) -> list[Fault]:
    """Everything that does not agree, item by item, then what only the whole dataset shows.

    Parameters
    ----------
    records : iterable of ItemRecord
    label_count : int
        Number of label categories.
    subsets : iterable of str, optional
        Names that subsets may have; any where omitted.
    """
    known = None if subsets is None else frozenset(subsets)
    found: list[Fault] = []
    seen: Counter[ItemKey] = Counter()
    vectors: list[ItemRecord] = []
    captioned, bare = 0, []
    for record in records:
        found += _of_item(record, label_count, known)
        seen[record.key] += 1
        captioned += bool(record.captions)
        bare += [] if record.captions else [record.key]
        vectors.append(ItemRecord(record.key, record.has_media, vector=record.vector, space=record.space))
    found += [Fault("RepeatedId", key, f"{count} items have this id") for key, count in seen.items() if count > 1]
    if captioned:
        found += [Fault("MissingCaption", key, "others have captions, this item has none") for key in bare]
    return found + list(_across_vectors(vectors))


def _of_item(record: ItemRecord, label_count: int, subsets: frozenset[str] | None) -> Iterator[Fault]:
    if subsets is not None and record.key.subset not in subsets:
        names = ", ".join(sorted(subsets))
        yield Fault("UnknownSubset", record.key, f"subset '{record.key.subset}' is none of {names}")
    yield from _media(record)
    yield from _labels(record, label_count)
    yield from _captions(record)
    yield from _boxes(record)
    yield from _vector(record)


def _media(record: ItemRecord) -> Iterator[Fault]:
    if not record.has_media:
        yield Fault("MissingMedia", record.key, "the item has no picture")
    elif record.media_error is not None:
        reason, message = record.media_error
        yield Fault("MissingMedia" if reason == "missing" else "UndecodableMedia", record.key, message)


def _labels(record: ItemRecord, label_count: int) -> Iterator[Fault]:
    for annotation, label in record.labels:
        if not 0 <= label < label_count:
            text = f"annotation {annotation} has label {label}, but there are {label_count} categories"
            yield Fault("LabelOutsideCategories", record.key, text)


def _captions(record: ItemRecord) -> Iterator[Fault]:
    for annotation, text in record.captions:
        if not text.strip():
            yield Fault("EmptyCaption", record.key, f"annotation {annotation} is an empty caption")
        elif "\ufffd" in text or any(0xD800 <= ord(char) <= 0xDFFF for char in text):
            yield Fault("UndecodableCaption", record.key, f"annotation {annotation} has lost characters: {text!r}")


def _boxes(record: ItemRecord) -> Iterator[Fault]:
    for box in record.boxes:
        where = f"annotation {box.annotation}, box ({box.x:g}, {box.y:g}, {box.width:g}, {box.height:g})"
        if not np.isfinite(box[1:]).all() or box.width <= 0 or box.height <= 0:
            yield Fault("EmptyBox", record.key, f"{where} has no area")
        elif record.size is not None and not _inside(box, *record.size):
            width, height = record.size
            yield Fault("BoxOutsidePicture", record.key, f"{where} reaches outside the picture of {width}x{height}")


def _inside(box: NumberedBox, width: int, height: int) -> bool:
    right, bottom = box.x + box.width, box.y + box.height
    low = min(box.x, box.y) >= -_BOX_SLACK
    return low and right <= width + _BOX_SLACK and bottom <= height + _BOX_SLACK


def _vector(record: ItemRecord) -> Iterator[Fault]:
    if record.vector is None:
        return
    if not np.isfinite(record.vector).all():
        yield Fault("NonFiniteVector", record.key, "clip_embedding has values that are not finite")
    elif not is_unit_rows(record.vector[None]):
        length = float(np.linalg.norm(record.vector))
        yield Fault("VectorNotUnitLength", record.key, f"clip_embedding has length {length:.4g}, wanted 1")


def _across_vectors(records: list[ItemRecord]) -> Iterator[Fault]:
    """Items without a vector where others have one; vectors that are not of the most frequent space."""
    spaces = Counter(record.space for record in records if record.space is not None)
    if not spaces:
        return
    usual = spaces.most_common(1)[0][0]
    for record in records:
        if record.space is None and record.has_media:
            yield Fault("MissingVector", record.key, "others have a clip_embedding, this item has none")
        elif record.space is not None and record.space != usual:
            yield Fault("MixedVectorSpaces", record.key, f"its vector is of {record.space}, most are of {usual}")
