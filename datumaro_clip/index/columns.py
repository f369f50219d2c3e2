"""The columns by which a store's items can be filtered: read from the records once, then kept in the cache."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from datumaro_clip.index.cached import Entry
from datumaro_clip.index.filters import Filter, attribute_text, microseconds, parse_date
from datumaro_clip.similarity.scores import FloatArray, IndexArray
from datumaro_clip.store import SegmentReader, StoreReader
from datumaro_clip.store.base import ADDED, TAGS, tags_of

Mask = npt.NDArray[np.bool_]

_NO_DATE = np.iinfo(np.int64).min


class Words(NamedTuple):
    """Which item has which word; an item may have several.

    Attributes
    ----------
    items : numpy.ndarray
        (n,) int64, rows.
    codes : numpy.ndarray
        (n,) int64, indices of words.
    words : tuple of str
    """

    items: IndexArray
    codes: IndexArray
    words: tuple[str, ...]

    def among(self, wanted: Iterable[str]) -> Mask:
        """Return a mask (n,) of the pairs whose word is among some words."""
        chosen = set(wanted)
        is_wanted = np.array([word in chosen for word in self.words], np.bool_)
        return is_wanted[self.codes]


@dataclass(frozen=True, eq=False)
class ItemColumns:
    """Columns over rows of items.

    Attributes
    ----------
    count : int
        Rows.
    subsets, tags, attributes : Words
        Attributes are ``NAME=JSON``.
    labels : Words
        The classes of the items' labelled annotations.
    scores : numpy.ndarray
        (n,) float32, the confidence of each of ``labels``; 1 where there is none.
    added : numpy.ndarray
        (count,) int64, microseconds from 1970 on; the least of all numbers where there is no date.
    """

    count: int
    subsets: Words
    tags: Words
    attributes: Words
    labels: Words
    scores: FloatArray
    added: IndexArray

    def mask(self, wanted: Filter) -> Mask:
        """Return a mask of the rows that meet a filter's conditions on items: all but classes and score."""
        mask = np.ones(self.count, np.bool_)
        for words, some in ((self.subsets, wanted.subsets), (self.tags, wanted.tags)):
            if some:
                mask &= self._having(words.items[words.among(some)])
        for name in wanted.attributes:
            texts = [f"{name}={value}" for value in wanted.attribute_values(name)]
            mask &= self._having(self.attributes.items[self.attributes.among(texts)])
        if wanted.added_from is not None:
            mask &= self.added >= microseconds(wanted.added_from)
        if wanted.added_before is not None:
            mask &= (self.added < microseconds(wanted.added_before)) & (self.added != _NO_DATE)
        return mask

    def labelled(self, wanted: Filter) -> Mask:
        """Return a mask of the rows that have an annotation that meets a filter's conditions on objects."""
        return self._having(self.labels.items[object_mask(self.labels, self.scores, wanted)])

    def _having(self, items: IndexArray) -> Mask:
        mask = np.zeros(self.count, np.bool_)
        mask[items] = True
        return mask


def object_mask(classes: Words, scores: FloatArray, wanted: Filter) -> Mask:
    """Return a mask of the objects that have a class and a score that a filter wants."""
    mask = classes.among(wanted.classes) if wanted.classes else np.ones(len(scores), np.bool_)
    return mask if wanted.min_score is None else mask & (scores >= np.float32(wanted.min_score))


def write_columns(segments: Sequence[SegmentReader], directory: Path) -> Mapping[str, Any]:
    """Write the columns of some segments, including removed rows, as ``NAME.npy``; return their words as notes."""
    words: dict[str, dict[str, int]] = {"subset": {}, TAGS: {}, "attribute": {}}
    pairs: dict[str, list[tuple[int, int]]] = {name: [] for name in words}
    labels: list[tuple[int, int, float]] = []
    added: list[int] = []
    undated = 0

    def note(name: str, row: int, word: str) -> None:
        pairs[name].append((row, words[name].setdefault(word, len(words[name]))))

    for row, (key, payload) in enumerate(chain.from_iterable(segment.parsed() for segment in segments)):
        note("subset", row, key.subset)
        attributes = payload.get("attributes", {})
        for tag in tags_of(attributes.get(TAGS)):
            note(TAGS, row, tag)
        for name, value in attributes.items():
            text = attribute_text(value)
            if text is not None:
                note("attribute", row, f"{name}={text}")
        date = parse_date(attributes.get(ADDED))
        undated += date is None and ADDED in attributes
        added.append(_NO_DATE if date is None else microseconds(date))
        labels += [(row, *found) for found in map(label_of, payload.get("annotations", ())) if found is not None]

    for name, found in pairs.items():
        np.save(directory / f"{name}.npy", np.array(found, np.int64).reshape(-1, 2).T.copy())
    np.save(directory / "label.npy", np.array([found[:2] for found in labels], np.int64).reshape(-1, 2).T.copy())
    np.save(directory / "label_score.npy", np.array([score for *_, score in labels], np.float32))
    np.save(directory / "added.npy", np.array(added, np.int64))
    return {**{name: list(known) for name, known in words.items()}, "undated": undated}


def read_columns(store: StoreReader, entries: Sequence[Entry]) -> ItemColumns:
    """Return the columns of a store's live items, from the cache entries of all its segments, in order."""
    alive = np.concatenate([np.zeros(0, np.bool_), *(segment.is_live for segment in store.segments)])
    numbers = np.where(alive, np.cumsum(alive) - 1, -1)
    limits = np.cumsum([len(entry.arrays["added"]) for entry in entries], dtype=np.int64)
    parts = list(zip(entries, np.split(numbers, limits), strict=False))

    def words(name: str) -> Words:
        pairs = ((entry.arrays[name], entry.notes[name], rows) for entry, rows in parts)
        return _joined([(rows[items], codes, known) for (items, codes), known, rows in pairs])

    names = store.header.class_names
    labels, scores = [], [np.zeros(0, np.float32)]
    for entry, rows in parts:
        items, codes = entry.arrays["label"]
        known = codes < len(names)
        labels.append((rows[items[known]], codes[known], names))
        scores.append(entry.arrays["label_score"][known][labels[-1][0] >= 0])
    objects, confidences = object_columns(store)
    return ItemColumns(
        count=len(store),
        subsets=words("subset"),
        tags=words(TAGS),
        attributes=words("attribute"),
        labels=_joined([*labels, objects]),
        scores=np.concatenate([*scores, confidences]),
        added=np.concatenate([np.zeros(0, np.int64), *(entry.arrays["added"][rows >= 0] for entry, rows in parts)]),
    )


def object_columns(store: StoreReader) -> tuple[Words, FloatArray]:
    """Return the class and the confidence of each live object vector of a store, in order; ``items`` are store rows."""
    known: dict[str, int] = {}
    codes, scores = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for segment in store.segments:
        if "object_class" in segment.columns:
            alive = segment.is_live[segment.item_rows("objects")]
            codes.append(_numbers(known, segment.entry.classes)[segment.columns["object_class"].all()[alive]])
            scores.append(segment.columns["object_confidence"].all()[alive])
    confidences = np.concatenate(scores)
    words = Words(store.vector_rows("objects"), np.concatenate(codes), tuple(known))
    return words, np.where(np.isnan(confidences), np.float32(1), confidences)


def _joined(parts: Iterable[tuple[IndexArray, IndexArray, Sequence[str]]]) -> Words:
    """Join the words of several parts, without those of removed rows (-1)."""
    known: dict[str, int] = {}
    items, codes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for rows, code, words in parts:
        items.append(rows[rows >= 0])
        codes.append(_numbers(known, words)[code[rows >= 0]])
    return Words(np.concatenate(items), np.concatenate(codes), tuple(known))


def _numbers(known: dict[str, int], words: Sequence[str]) -> IndexArray:
    """Return the number of each word; a new word gets the next number."""
    return np.array([known.setdefault(word, len(known)) for word in words], np.int64)


def label_of(annotation: Any) -> tuple[int, float] | None:
    """Return the label and the score of an annotation; None if it has no label."""
    label = annotation.get("label") if isinstance(annotation, dict) else None
    if not isinstance(label, int) or label < 0:
        return None
    score = annotation.get("attributes", {}).get("score", 1.0)
    return label, float(score) if isinstance(score, (int, float)) else 1.0
