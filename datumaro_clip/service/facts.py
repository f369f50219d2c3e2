"""Facts about a store's items that pages and filters need beside the index's columns: read once per segment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, compress
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from datumaro_clip.service.described import Described, describe
from datumaro_clip.store import SegmentReader, StoreReader
from datumaro_clip.vectors import ItemKey

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

#: Numbers of each item.
NUMBERS = ("added", "alignment", "width", "height", "objects", "confidence")


class ObjectTable(NamedTuple):
    """The boxes of a store: each one's item as a row, and its class as a number among :attr:`FactReader.classes`."""

    rows: Ints
    codes: Ints


@dataclass(frozen=True)
class Facts:
    """Arrays over a store's live items, (N,) by row.

    Attributes
    ----------
    keys : list of ItemKey
    texts : list of str
        Id, title and captions in lower case, for filters by words.
    numbers : dict of numpy.ndarray
        Float64 by name (``NUMBERS``): seconds since 1970; score of the best caption; pixels; how many boxes; greatest
        confidence of a box, 1 for a box that a person drew. NaN where there is none.
    annotated : numpy.ndarray
        Whether there is an annotation other than captions.
    objects : ObjectTable
    """

    keys: list[ItemKey]
    texts: list[str]
    numbers: dict[str, Floats]
    annotated: Mask
    objects: ObjectTable

    def __len__(self) -> int:
        return len(self.keys)


class FactReader:
    """Reads the facts of one store as it grows; each segment is read once.

    Attributes
    ----------
    classes : list of str
        Names of boxes' classes; a class keeps its number.
    """

    def __init__(self) -> None:
        self.classes: list[str] = []
        self._known: dict[str, Facts] = {}

    def facts(self, store: StoreReader) -> Facts:
        """Return the facts of a store's live items."""
        names = store.header.class_names
        self._known = {
            segment.entry.digest: self._known.get(segment.entry.digest) or self._read(segment, names)
            for segment in store.segments
        }
        return _joined([(self._known[segment.entry.digest], segment.is_live) for segment in store.segments])

    def _read(self, segment: SegmentReader, names: Sequence[str]) -> Facts:
        """Read a segment's facts, removed rows included."""
        keys: list[ItemKey] = []
        described: list[Described] = []
        for key, payload in segment.parsed():
            keys.append(key)
            described.append(describe(payload, names))
        codes = {name: code for code, name in enumerate(self.classes)}
        boxes = [
            (row, codes.setdefault(each.class_name, len(codes)))
            for row, item in enumerate(described)
            for each in item.objects
        ]
        self.classes += list(codes)[len(self.classes) :]
        table = np.array(boxes, np.int64).reshape(-1, 2)
        return Facts(
            keys=keys,
            texts=[_text(key, item) for key, item in zip(keys, described, strict=True)],
            numbers=_numbers(segment, described),
            annotated=np.array([len(item.annotations) > len(item.captions) for item in described], bool),
            objects=ObjectTable(table[:, 0], table[:, 1]),
        )


def _numbers(segment: SegmentReader, described: list[Described]) -> dict[str, Floats]:
    def column(value: Callable[[Described], float | None]) -> Floats:
        return np.array([np.nan if (v := value(item)) is None else v for item in described], np.float64)

    alignment = np.full(len(described), np.nan)
    rows = segment.item_rows("captions")
    if len(rows):
        np.fmax.at(alignment, rows, segment.columns["caption_scores"].all().astype(np.float64))
    return {
        "added": column(lambda item: item.added),
        "alignment": alignment,
        "width": column(lambda item: item.size and float(item.size[1])),
        "height": column(lambda item: item.size and float(item.size[0])),
        "objects": column(lambda item: len(item.objects)),
        "confidence": column(lambda item: max((o.certainty for o in item.objects), default=None)),
    }


def _text(key: ItemKey, item: Described) -> str:
    words = (key.id, item.title or "", *(caption.text for caption in item.captions))
    return "\n".join(dict.fromkeys(words)).lower()


def _joined(parts: Sequence[tuple[Facts, Mask]]) -> Facts:
    """Join the facts of consecutive segments, each with a mask of its live rows, leaving out removed rows."""
    facts = [part for part, _ in parts]
    live = _flat((mask for _, mask in parts), np.bool_)
    starts = np.cumsum([0, *map(len, facts)])
    rows = _flat((part.objects.rows + start for part, start in zip(facts, starts, strict=False)), np.int64)
    codes = _flat((part.objects.codes for part in facts), np.int64)
    is_kept = live[rows]
    alive = live.tolist()
    return Facts(
        keys=list(compress(chain.from_iterable(part.keys for part in facts), alive)),
        texts=list(compress(chain.from_iterable(part.texts for part in facts), alive)),
        numbers={name: _flat((part.numbers[name] for part in facts), np.float64)[live] for name in NUMBERS},
        annotated=_flat((part.annotated for part in facts), np.bool_)[live],
        objects=ObjectTable((np.cumsum(live) - 1)[rows[is_kept]], codes[is_kept]),
    )


def _flat(columns: Iterable[npt.NDArray[Any]], dtype: Any) -> Any:
    """Concatenate columns, of which there may be none."""
    return np.concatenate([np.zeros(0, dtype), *columns])
