"""A segment: the rows that one write added, as columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datumaro_clip.errors import InvalidVectorError, StoreCorruptError, StoreError
from datumaro_clip.store.base import (
    DTYPES,
    Array,
    CaptionVector,
    Record,
    from_line,
    key_hashes,
    subset_runs,
    to_line,
    to_lines,
)
from datumaro_clip.store.columns import Column, ColumnSpec, ColumnWriter
from datumaro_clip.store.hashes import HashIndex
from datumaro_clip.store.kinds import SegmentSink, SegmentSource
from datumaro_clip.store.manifest import SegmentEntry
from datumaro_clip.store.unit import require_unit_rows
from datumaro_clip.vectors import ItemKey

# Rows that are gathered before they become arrays.
_PENDING = 1024
# Keys that become lines and hashes at once.
_KEYS = 16384

Rows = npt.NDArray[np.int64]


class SegmentWriter:
    """Turns records into columns, holding no more than a few blocks of each.

    Attributes
    ----------
    items : int
        Records added.
    subsets : Counter
        Records written, by subset: after :meth:`finish`, all that were added.
    """

    def __init__(self, sink: SegmentSink, dtype: str) -> None:
        self._sink = sink
        self._vector_dtype = DTYPES[dtype]
        self._columns: dict[str, ColumnWriter] = {}
        self._pending: list[tuple[int, Record]] = []
        self._extend("item_offsets", "<u8", np.zeros(1, np.uint64))
        self._bytes = 0
        self.items = 0
        self.subsets: Counter[str] = Counter()

    def add(self, record: Record) -> None:
        """Append a record whose vectors are unit rows."""
        self._pending.append((self.items, record))
        self.items += 1
        if len(self._pending) == _PENDING:
            self._flush()

    def add_rows(self, keys: Sequence[ItemKey], vectors: Array) -> None:
        """Append records that have a vector and nothing else; ``vectors`` is (n, D), checked here, a part at a time."""
        self._flush()
        for start in range(0, len(keys), _KEYS):
            part = slice(start, start + _KEYS)
            rows = np.ascontiguousarray(vectors[part], self._vector_dtype)
            require_unit_rows(keys[part], rows)
            # First, so that they are written while the keys become lines.
            self._extend("embeddings", self._vector_dtype, rows)
            runs = subset_runs(keys[part])
            self._write_lines(b"".join([to_lines(subset, ids) for subset, ids in runs]))
            self._count_and_hash(runs)
        self._extend("embedding_item", "<i8", np.arange(self.items, self.items + len(keys)))
        self._sink.wait()
        self.items += len(keys)

    def finish(self) -> tuple[dict[str, ColumnSpec], dict[str, int]]:
        """Write what is pending; what each column is, and the files with their sizes."""
        self._flush()
        for _, column in sorted(self._columns.items()):
            column.flush()
        return {name: column.spec for name, column in sorted(self._columns.items())}, self._sink.close()

    def discard(self) -> None:
        """Let go of the files, whatever they hold."""
        self._sink.discard()

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        self._write_lines(b"".join(to_line(record.key, record.payload) for _, record in pending))
        self._count_and_hash(subset_runs([record.key for _, record in pending]))
        self._write_embeddings([(row, r.embedding) for row, r in pending if r.embedding is not None])
        self._write_captions([(row, caption) for row, record in pending for caption in record.captions])

    def _write_lines(self, lines: bytes) -> None:
        characters = np.frombuffer(lines, np.uint8)
        self._extend("items", "|u1", characters)
        # JSON escapes a newline inside a string.
        self._extend("item_offsets", "<u8", self._bytes + 1 + np.flatnonzero(characters == ord("\n")))
        self._bytes += len(lines)

    def _count_and_hash(self, runs: list[tuple[str, list[str]]]) -> None:
        for subset, ids in runs:
            self.subsets[subset] += len(ids)
        hashes = [crc32 for subset, ids in runs for crc32 in key_hashes(subset, ids)]
        self._extend("item_hash", "<u4", np.array(hashes, np.uint32))

    def _write_embeddings(self, rows: list[tuple[int, Array]]) -> None:
        if rows:
            self._extend("embeddings", self._vector_dtype, _stacked([vector for _, vector in rows]))
            self._extend("embedding_item", "<i8", np.array([row for row, _ in rows]))

    def _write_captions(self, rows: list[tuple[int, CaptionVector]]) -> None:
        if not rows:
            return
        captions = [caption for _, caption in rows]
        self._extend("caption_embeddings", self._vector_dtype, _stacked([caption.vector for caption in captions]))
        self._extend("caption_item", "<i8", np.array([row for row, _ in rows]))
        self._extend("caption_annotation", "<i8", np.array([c.annotation_index for c in captions]))
        scores = [np.nan if c.score is None else c.score for c in captions]
        self._extend("caption_scores", "<f4", np.array(scores))

    def _extend(self, column: str, dtype: str, rows: Array) -> None:
        if len(rows) and column not in self._columns:
            self._columns[column] = ColumnWriter(column, dtype, rows.shape[1:], self._sink)
        if len(rows):
            self._columns[column].extend(rows)


def _stacked(vectors: list[Array]) -> Array:
    """Vectors (D,) as the rows of one matrix."""
    shapes = {np.shape(vector) for vector in vectors}
    if len(shapes) != 1:
        raise InvalidVectorError(f"vectors of one store must have one shape (D,), got {sorted(shapes)}")
    return np.stack(vectors)


class SegmentReader:
    """A segment's records and vectors; rows are counted within the segment, removed ones included."""

    def __init__(self, root: Path, entry: SegmentEntry, source: SegmentSource) -> None:
        self.entry = entry
        self._path = root / entry.name
        self._source = source
        rows = source.columns
        self._columns: Mapping[str, Column] | None = {
            name: Column(f"{self._path}/{name}", spec, rows[name]) for name, spec in entry.columns.items()
        }

    @property
    def columns(self) -> Mapping[str, Column]:
        """The columns, by name; raises :class:`StoreError` once they are closed."""
        if self._columns is None:
            raise StoreError(f"{self._path} was closed; open the store again")
        return self._columns

    @cached_property
    def live(self) -> Rows:
        """Rows that were not removed, ascending."""
        keep = np.ones(self.entry.items, dtype=bool)
        keep[list(self.entry.removed)] = False
        return np.flatnonzero(keep)

    def line(self, row: int) -> bytes:
        """A record's JSON."""
        start, stop = (int(offset) for offset in self.columns["item_offsets"].read(row, row + 2))
        if not start < stop <= len(self.columns["items"]):
            raise StoreCorruptError(f"record {row} of {self._path} lies outside its file")
        return self.columns["items"].read(start, stop).tobytes()

    def key(self, row: int) -> ItemKey:
        """A record's key."""
        return self._parsed(row)[0]

    def record(self, row: int) -> Record:
        """A record with its vectors, as float32."""
        key, payload = self._parsed(row)
        return Record(key, payload, self.embedding(row), tuple(self._captions_of(row)))

    def embedding(self, row: int) -> npt.NDArray[np.float32] | None:
        """An item's vector (D,), if it has one."""
        index = int(np.searchsorted(self.embedding_item, row))
        if index == len(self.embedding_item) or self.embedding_item[index] != row:
            return None
        return np.asarray(self.columns["embeddings"].read(index, index + 1)[0], dtype=np.float32)

    @cached_property
    def embedding_item(self) -> Rows:
        """The row of each vector's item, ascending."""
        return self._item_rows("embedding_item", "embeddings")

    @cached_property
    def caption_item(self) -> Rows:
        """The row of each caption vector's item, ascending."""
        return self._item_rows("caption_item", "caption_embeddings")

    def repeated_key(self) -> ItemKey | None:
        """A key that two records share, if there is one; only records of equal hash are read."""
        suspects = HashIndex(self.columns["item_hash"].all(), np.arange(self.entry.items)).repeated()
        keys = Counter(self.key(int(row)) for row in suspects)
        return next((key for key, count in keys.items() if count > 1), None)

    def check(self) -> None:
        """Read every block of every column, and every record."""
        for column in self.columns.values():
            column.check()
        for row in range(self.entry.items):
            self._parsed(row)

    def close(self) -> None:
        """Let go of the files; arrays handed out keep theirs."""
        self._source.close()
        self._columns = None
        for rows in ("embedding_item", "caption_item"):
            vars(self).pop(rows, None)

    def _parsed(self, row: int) -> tuple[ItemKey, dict[str, Any]]:
        line = self.line(row)
        try:
            return from_line(line)
        except ValueError as exc:
            raise StoreCorruptError(f"record {row} of {self._path} is not what the format says: {exc}") from exc

    def _captions_of(self, row: int) -> Iterator[CaptionVector]:
        start, stop = np.searchsorted(self.caption_item, [row, row + 1])
        for index in range(int(start), int(stop)):
            score = float(self.columns["caption_scores"].read(index, index + 1)[0])
            yield CaptionVector(
                int(self.columns["caption_annotation"].read(index, index + 1)[0]),
                np.asarray(self.columns["caption_embeddings"].read(index, index + 1)[0], dtype=np.float32),
                None if np.isnan(score) else score,
            )

    def _item_rows(self, name: str, vectors: str) -> Rows:
        if vectors not in self.columns:
            return np.zeros(0, np.int64)
        rows = self.columns[name].all()
        if len(rows) != len(self.columns[vectors]) or rows[0] < 0 or rows[-1] >= self.entry.items:
            raise StoreCorruptError(f"{name} of {self._path} does not fit its vectors")
        return rows
