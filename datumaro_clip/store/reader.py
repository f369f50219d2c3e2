"""Reading a store: items by row or by key, vectors in blocks or as one matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from datumaro_clip.errors import StoreCorruptError
from datumaro_clip.store.base import DTYPES, Array, CaptionBlock, Header, Record, key_hash
from datumaro_clip.store.columns import RowSource
from datumaro_clip.store.hashes import HashIndex, possible_rows
from datumaro_clip.store.kinds import store_kind
from datumaro_clip.store.opening import open_segments
from datumaro_clip.store.rows import StoredRows
from datumaro_clip.store.segments import Rows, SegmentReader
from datumaro_clip.vectors import ItemKey


class SegmentVectors(NamedTuple):
    """One segment's vectors, unread and unchecked.

    Attributes
    ----------
    rows : numpy.ndarray
        (k,) int64, the store row of each vector's item; -1 where the item was removed.
    vectors : array-like
        (k, D) in the store's dtype: a read-only map, or a dataset that is read when sliced.
    """

    rows: Rows
    vectors: RowSource


class StoreReader:
    """A store as it was when it was opened; later writes do not disturb it.

    Parameters
    ----------
    path : Path
        The store's directory.

    Attributes
    ----------
    path : Path
    kind : StoreKind
    header : Header
    subsets : dict
        Live items by subset.
    embedding_count, caption_count : int
        Live vectors.

    Raises
    ------
    StoreNotFoundError, StoreFormatError, StoreCorruptError
        If there is no store, a foreign one, or a damaged one. Opening reads no vectors.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        manifest, self.segments = open_segments(path)
        self.kind = store_kind(manifest.kind)
        self.manifest = manifest
        self.header: Header = manifest.header
        self.subsets = dict(manifest.subsets)
        self.embedding_count = manifest.embeddings
        self.caption_count = manifest.captions
        self._starts = np.cumsum([0, *(segment.entry.live for segment in self.segments)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __enter__(self) -> StoreReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files; arrays handed out keep theirs."""
        for segment in self.segments:
            segment.close()
        vars(self).pop("embeddings", None)

    def keys(self) -> Iterator[ItemKey]:
        """The items' keys, in row order."""
        for segment in self.segments:
            for local in segment.live:
                yield segment.key(int(local))

    def records(self) -> Iterator[Record]:
        """The items, in row order, holding a few blocks at a time."""
        for segment in self.segments:
            for local in segment.live:
                yield segment.record(int(local))

    def key(self, row: int) -> ItemKey:
        """The key of one row, 0 ≤ row < len(self)."""
        segment, local = self.locate(row)
        return segment.key(local)

    def record(self, row: int) -> Record:
        """One row, 0 ≤ row < len(self)."""
        segment, local = self.locate(row)
        return segment.record(local)

    def find(self, key: ItemKey) -> int | None:
        """The row of a key; None if it is not in the store."""
        return self._row(key, self._hash_index)

    def find_all(self, keys: Sequence[ItemKey]) -> list[int | None]:
        """What :meth:`find` says of each key; quicker, where they are few, than sorting a large store's hashes."""
        rows = possible_rows(self._hashes, [key_hash(key) for key in keys])
        index = HashIndex(self._hashes[rows], rows)
        return [self._row(key, index) for key in keys]

    def locate(self, row: int) -> tuple[SegmentReader, int]:
        """The segment of a store row, and the row in it."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of a store of {len(self)} items")
        index = int(np.searchsorted(self._starts, row, side="right")) - 1
        segment = self.segments[index]
        return segment, int(segment.live[row - self._starts[index]])

    @cached_property
    def embeddings(self) -> tuple[SegmentVectors, ...]:
        """The vectors, segment by segment, not yet read."""
        return tuple(
            SegmentVectors(self._store_rows(index, segment.embedding_item), segment.columns["embeddings"].rows)
            for index, segment in enumerate(self.segments)
            if "embeddings" in segment.columns
        )

    @cached_property
    def embedding_rows(self) -> Rows:
        """The store row of each live vector, (N,), in the order of :meth:`matrix`."""
        rows = [vectors.rows[vectors.rows >= 0] for vectors in self.embeddings]
        return np.concatenate([np.zeros(0, np.int64), *rows])

    def embedding_keys(self) -> Iterator[ItemKey]:
        """The key of each live vector's item, in the order of :meth:`matrix`."""
        return (self.key(int(row)) for row in self.embedding_rows)

    def iter_embeddings(self, block_rows: int = 16384) -> Iterator[tuple[Rows, Array]]:
        """Live vectors in blocks, checked as they are read.

        Yields
        ------
        rows : numpy.ndarray
            (b,) int64 store rows, b ≤ ``block_rows``.
        block : numpy.ndarray
            (b, D) in the store's dtype.
        """
        for index, segment in enumerate(self.segments):
            if "embeddings" in segment.columns:
                rows = self._store_rows(index, segment.embedding_item)
                for keep, start, stop in _blocks(rows, block_rows):
                    yield rows[start:stop][keep], segment.columns["embeddings"].read(start, stop)[keep]

    def iter_captions(self, block_rows: int = 16384) -> Iterator[CaptionBlock]:
        """Live caption vectors in blocks, checked as they are read."""
        for index, segment in enumerate(self.segments):
            if "caption_embeddings" in segment.columns:
                rows = self._store_rows(index, segment.caption_item)
                columns = [segment.columns[f"caption_{name}"] for name in ("annotation", "embeddings", "scores")]
                for keep, start, stop in _blocks(rows, block_rows):
                    annotations, vectors, scores = (column.read(start, stop)[keep] for column in columns)
                    yield CaptionBlock(rows[start:stop][keep], annotations, vectors, scores)

    def matrix(self) -> Array:
        """All live vectors, (N, D), in the store's dtype.

        A ``clip_mmap`` store of one segment without removed items is mapped: nothing is copied, and nothing
        checked (``check`` does that). Any other store is read, block by block, each checked.
        """
        mapped = self._mapped()
        return self._copied() if mapped is None else mapped

    def stored_rows(self) -> StoredRows:
        """All live vectors, (N, D), read and checked when they are sliced; slices of a map are not copied."""
        with_vectors = [(i, segment) for i, segment in enumerate(self.segments) if "embeddings" in segment.columns]
        parts = [
            (segment.columns["embeddings"], np.flatnonzero(self._store_rows(index, segment.embedding_item) >= 0))
            for index, segment in with_vectors
        ]
        return StoredRows(parts, self._dimension, DTYPES[self.header.dtype])

    def check(self) -> None:
        """Read everything.

        Raises
        ------
        StoreCorruptError
            At the first block that contradicts its checksum, or count that contradicts the rows.
        """
        for segment in self.segments:
            segment.check()
        captions = sum(len(block.rows) for block in self.iter_captions())
        if (len(self.embedding_rows), captions) != (self.embedding_count, self.caption_count):
            raise StoreCorruptError(f"{self.path} holds other numbers of vectors than its manifest says")

    @property
    def _dimension(self) -> int:
        return 0 if self.header.space is None else self.header.space.dimension

    def _mapped(self) -> Array | None:
        """All live vectors, where one map holds them and nothing else."""
        if not (len(self.segments) == len(self.embeddings) == 1 and self.kind.supports_zero_copy):
            return None
        rows, vectors = self.embeddings[0]
        return np.asarray(vectors) if len(rows) == self.embedding_count else None

    def _copied(self) -> Array:
        matrix = np.empty((self.embedding_count, self._dimension), DTYPES[self.header.dtype])
        start = 0
        for rows, block in self.iter_embeddings():
            matrix[start : start + len(rows)] = block
            start += len(rows)
        return matrix

    def _store_rows(self, index: int, local: Rows) -> Rows:
        """Store rows of a segment's rows; -1 for removed ones."""
        start, segment = self._starts[index], self.segments[index]
        if not segment.entry.removed:
            return np.asarray(local + start, dtype=np.int64)
        to_row = np.full(segment.entry.items, -1, np.int64)
        to_row[segment.live] = start + np.arange(segment.entry.live)
        return to_row[local]

    def _row(self, key: ItemKey, index: HashIndex) -> int | None:
        return next((row for row in index.rows_of(key_hash(key)) if self.key(row) == key), None)

    @cached_property
    def _hash_index(self) -> HashIndex:
        return HashIndex(self._hashes, np.arange(len(self)))

    @cached_property
    def _hashes(self) -> npt.NDArray[np.uint32]:
        """The hash of each row's key."""
        parts = [segment.columns["item_hash"].all()[segment.live] for segment in self.segments]
        return np.concatenate([np.zeros(0, np.uint32), *parts])


def _blocks(rows: Rows, block_rows: int) -> Iterator[tuple[npt.NDArray[np.bool_] | slice, int, int]]:
    """What to keep of each block of rows that has live ones, and where the block is."""
    for start in range(0, len(rows), block_rows):
        stop = min(start + block_rows, len(rows))
        live = rows[start:stop] >= 0
        if live.all():
            yield slice(None), start, stop
        elif live.any():
            yield live, start, stop
