"""A store's columns as typed arrays in one binary answer, with which the page filters and draws by itself."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from datumaro_clip.explorer.regions import Regions
from datumaro_clip.index import OBJECTS, PICTURES
from datumaro_clip.index.columns import Words
from datumaro_clip.index.columns import object_columns as classes_of_objects
from datumaro_clip.service.snapshot import Snapshot
from datumaro_clip.similarity.layout import Points
from datumaro_clip.similarity.scores import IndexArray

#: Value of a row that has none, in a column of kind ``category``.
NONE = 65535
# An attribute with more distinct values is a name, not a category: nobody filters by it.
_MOST_VALUES = 200
# The facts that are columns, unless all rows have the same number.
_NUMBERS = ("alignment", "confidence", "objects", "width", "height")

Part = npt.NDArray[Any]


class Column(NamedTuple):
    """One column.

    Attributes
    ----------
    name : str
    kind : str
        ``category``: one value a row, uint16, :data:`NONE` where there is none. ``categories``: the values of all rows,
        uint16, and where each row's begin, uint32 (N + 1). ``number``: float32, NaN where there is none. ``date``:
        seconds since 1970, float64. ``row``: uint32, a whole number.
    values : list of str
        Names of a category's values.
    parts : list of numpy.ndarray
    """

    name: str
    kind: str
    values: list[str]
    parts: list[Part]


class Packed(NamedTuple):
    """Columns as the page takes them: their descriptions, and the bytes of all their arrays."""

    specs: list[dict[str, Any]]
    data: bytes


def columns_of(snapshot: Snapshot, points: Points | None, regions: Regions) -> Iterator[Column]:
    """Yield the columns of a snapshot, in the order in which the page shows them.

    Parameters
    ----------
    snapshot : Snapshot
        N items.
    points : numpy.ndarray, optional
        Shape (M, 2), float32: the place on the map of each item that has a vector.
    regions : Regions
        The regions of those points.
    """
    columns, facts = snapshot.index.columns, snapshot.facts
    there = snapshot.index.targets[PICTURES].items
    if points is not None:
        yield from _places(points, there, len(snapshot))
    yield _single("subset", columns.subsets, len(snapshot))
    yield _several("class", columns.labels, len(snapshot))
    yield tagged(snapshot, [])
    for name in _NUMBERS:
        numbers = facts.numbers[name]
        if len(np.unique(numbers[~np.isnan(numbers)])) > 1:
            yield Column(name, "number", [], [numbers.astype(np.float32)])
    if not np.isnan(facts.numbers["added"]).all():
        yield Column("added", "date", [], [facts.numbers["added"]])
    if len(np.unique(facts.annotated)) > 1:
        yield Column("annotated", "category", ["no", "yes"], [facts.annotated.astype(np.uint16)])
    if len(regions.names) > 1:
        names = {name: code for code, name in enumerate(dict.fromkeys(regions.names))}
        codes = np.array([names[name] for name in regions.names])[regions.owners]
        yield _single("cluster", Words(there, codes, tuple(names)), len(snapshot))
    yield from _attributes(columns.attributes, len(snapshot))


def object_columns(snapshot: Snapshot, points: Points) -> Iterator[Column]:
    """Yield the columns of a snapshot's M objects: places (M, 2) on their map, row, annotation, class, confidence."""
    target, (classes, confidences) = snapshot.index.targets[OBJECTS], classes_of_objects(snapshot.reader)
    count = len(target)
    yield from _places(points, np.arange(count), count)
    yield Column("row", "row", [], [target.items.astype(np.uint32)])
    yield Column("annotation", "row", [], [target.annotations.astype(np.uint32)])
    yield _single("class", Words(np.arange(count), classes.codes, classes.words), count)
    yield Column("confidence", "number", [], [confidences.astype(np.float32)])


def _places(points: Points, rows: IndexArray, count: int) -> Iterator[Column]:
    """Yield the columns x and y; a row without a place has NaN."""
    for axis, name in enumerate(("x", "y")):
        column = np.full(count, np.nan, np.float32)
        column[rows] = points[:, axis]
        yield Column(name, "number", [], [column])


def tagged(snapshot: Snapshot, changes: Iterable[tuple[int, str, bool]]) -> Column:
    """Return the column of tags after changes, each a row, a tag, and whether it is added (True) or removed (False)."""
    held = snapshot.index.columns.tags
    words = {word: code for code, word in enumerate(held.words)}
    pairs = set(zip(held.items.tolist(), held.codes.tolist(), strict=True))
    for row, tag, is_added in changes:
        pair = (row, words.setdefault(tag, len(words)))
        (pairs.add if is_added else pairs.discard)(pair)
    table = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    return _several("tags", Words(table[:, 0], table[:, 1], tuple(words)), len(snapshot))


def packed(columns: Sequence[Column]) -> Packed:
    """Put columns into one run of bytes; every array begins at a multiple of 8."""
    specs: list[dict[str, Any]] = []
    pieces: list[bytes] = []
    offset = 0
    for column in columns:
        parts = []
        for part in column.parts:
            data = part.tobytes()
            parts.append({"dtype": str(part.dtype), "offset": offset, "length": len(part)})
            pieces.append(data + bytes(-len(data) % 8))
            offset += len(pieces[-1])
        specs.append(
            {"name": column.name, "title": column.name, "kind": column.kind, "values": column.values, "parts": parts}
        )
    return Packed(specs, b"".join(pieces))


def _single(name: str, words: Words, count: int) -> Column:
    """Return a column with one value for each row; the first, where a row has several."""
    column = np.full(count, NONE, np.uint16)
    column[words.items[::-1]] = words.codes[::-1]
    return Column(name, "category", list(words.words), [column])


def _several(name: str, words: Words, count: int) -> Column:
    """Return a column with all values of each row, each once."""
    pairs = np.unique(np.stack([words.items, words.codes], axis=1), axis=0)
    starts = np.searchsorted(pairs[:, 0], np.arange(count + 1)).astype(np.uint32)
    return Column(name, "categories", list(words.words), [pairs[:, 1].astype(np.uint16), starts])


def _attributes(words: Words, count: int) -> Iterator[Column]:
    """Yield a column for each attribute that is worth filtering by: of numbers, or else of categories."""
    codes_of: dict[str, list[int]] = defaultdict(list)
    for code, word in enumerate(words.words):
        codes_of[word.partition("=")[0]].append(code)
    for name, codes in sorted(codes_of.items()):
        values = [json.loads(words.words[code].partition("=")[2]) for code in codes]
        if len(codes) < 2 or name.startswith("clip_"):
            continue
        if len(codes) == count and all(isinstance(value, int | str) for value in values):
            continue  # an identifier: nobody filters by it
        is_own = np.isin(words.codes, codes)
        items, own_codes = words.items[is_own], np.searchsorted(codes, words.codes[is_own])
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            column = np.full(count, np.nan, np.float32)
            column[items] = np.array(values, np.float32)[own_codes]
            yield Column(f"attribute:{name}", "number", [], [column])
        elif len(codes) <= _MOST_VALUES:
            texts = tuple(value if isinstance(value, str) else json.dumps(value) for value in values)
            yield _single(f"attribute:{name}", Words(items, own_codes, texts), count)
