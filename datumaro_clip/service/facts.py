"""What pages and filters ask of a store's items beside the index's columns: read once a segment, and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from datumaro_clip.service.described import Described, describe
from datumaro_clip.store import SegmentReader, StoreReader
from datumaro_clip.vectors import ItemKey

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Numbers of each item.
NUMBERS = ("added", "alignment", "width", "height", "objects", "captions", "confidence")


class ObjectTable(NamedTuple):
    """Every box of a store, by row: the item's row, and the class's number among :attr:`FactReader.classes`."""

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
        Float64 by name (``NUMBERS``): seconds since 1970; score of the best caption; pixels; counts; confidence of the
        surest box, 1 for a person's. NaN where there is none.
    annotated : numpy.ndarray
        Whether there is an annotation beside captions.
    objects : ObjectTable
    """

    keys: list[ItemKey]
    texts: list[str]
    numbers: dict[str, Floats]
    annotated: npt.NDArray[np.bool_]
    objects: ObjectTable

    def __len__(self) -> int:
        return len(self.keys)


class FactReader:
    """Gives the facts of one store as it grows; a segment is read when it first appears.

    Attributes
    ----------
    classes : list of str
        Names of boxes' classes; what has a number keeps it.
    """

    def __init__(self) -> None:
        self.classes: list[str] = []
        self._codes: dict[str, int] = {}
        self._known: dict[str, Facts] = {}

    def facts(self, store: StoreReader) -> Facts:
        """The facts of a store's live items."""
        names = store.header.class_names
        self._known = {
            segment.entry.digest: self._known.get(segment.entry.digest) or self._read(segment, names)
            for segment in store.segments
        }
        return _joined([_kept(self._known[segment.entry.digest], segment.is_live) for segment in store.segments])

    def _read(self, segment: SegmentReader, names: Sequence[str]) -> Facts:
        """A segment's facts, the removed rows' included."""
        keys: list[ItemKey] = []
        described: list[Described] = []
        for key, payload in segment.parsed():
            keys.append(key)
            described.append(describe(payload, names))
        boxes = [(row, self._code(each.class_name)) for row, item in enumerate(described) for each in item.objects]
        table = np.array(boxes, np.int64).reshape(-1, 2)
        return Facts(
            keys=keys,
            texts=[_text(key, item) for key, item in zip(keys, described, strict=True)],
            numbers=_numbers(segment, described),
            annotated=np.array([len(item.annotations) > len(item.captions) for item in described], bool),
            objects=ObjectTable(table[:, 0], table[:, 1]),
        )

    def _code(self, name: str) -> int:
        code = self._codes.setdefault(name, len(self.classes))
        if code == len(self.classes):
            self.classes.append(name)
        return code


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
        "captions": column(lambda item: len(item.captions)),
        "confidence": column(lambda item: max((o.certainty for o in item.objects), default=None)),
    }


def _text(key: ItemKey, item: Described) -> str:
    words = (key.id, item.title or "", *(caption.text for caption in item.captions))
    return "\n".join(dict.fromkeys(words)).lower()


def _kept(facts: Facts, keep: npt.NDArray[np.bool_]) -> Facts:
    """The facts of some rows, counted anew."""
    if keep.all():
        return facts
    rows = np.flatnonzero(keep)
    boxes = keep[facts.objects.rows]
    return Facts(
        keys=[facts.keys[row] for row in rows],
        texts=[facts.texts[row] for row in rows],
        numbers={name: column[keep] for name, column in facts.numbers.items()},
        annotated=facts.annotated[keep],
        objects=ObjectTable((np.cumsum(keep) - 1)[facts.objects.rows[boxes]], facts.objects.codes[boxes]),
    )


def _joined(parts: list[Facts]) -> Facts:
    """The facts of consecutive segments as those of one store."""
    starts = np.cumsum([0, *(len(part) for part in parts)])
    rows = (part.objects.rows + start for part, start in zip(parts, starts, strict=False))
    return Facts(
        keys=[key for part in parts for key in part.keys],
        texts=[text for part in parts for text in part.texts],
        numbers={name: _flat((part.numbers[name] for part in parts), np.float64) for name in NUMBERS},
        annotated=_flat((part.annotated for part in parts), np.bool_),
        objects=ObjectTable(_flat(rows, np.int64), _flat((part.objects.codes for part in parts), np.int64)),
    )


def _flat(columns: Iterable[npt.NDArray[Any]], dtype: Any) -> Any:
    return np.concatenate([np.zeros(0, dtype), *columns])
