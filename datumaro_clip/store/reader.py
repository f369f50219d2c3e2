"""Read a store: items by row or by key, vectors in blocks or as one matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from datumaro_clip.errors import StoreCorruptError, StoreError, with_cure
from datumaro_clip.store.base import DTYPES, Array, Header, ObjectBlock, Record, key_hash
from datumaro_clip.store.columns import SegmentEntry
from datumaro_clip.store.hashes import HashIndex, locate, possible_rows, repeated_keys
from datumaro_clip.store.kinds import store_kind
from datumaro_clip.store.manifest import VECTOR_GROUPS, Manifest, read_manifest
from datumaro_clip.store.rows import StoredRows
from datumaro_clip.store.segments import Rows, SegmentReader
from datumaro_clip.system.files import folder_size
from datumaro_clip.vectors import ItemKey

if TYPE_CHECKING:
    from typing_extensions import Self

# Attempts to open a store whose segments are removed by writes between reading its manifest and opening them.
_ATTEMPTS = 5


class StoreReader:
    """A store as it was when it was opened; later writes do not change it.

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
        Number of live items by subset.
    digest : str
        Changes with every write; :func:`~datumaro_clip.store.store_digest` tells whether there was a later one.
    segments : list of SegmentReader
        What each write added, oldest first; columns are read at their first use.
    embedding_count, caption_count, object_count : int
        Numbers of live vectors.

    Raises
    ------
    StoreNotFoundError, StoreFormatError, StoreCorruptError
        If there is no store, a foreign one, or a damaged one. Opening reads no vectors.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        manifest, self.segments = _open_segments(path)
        self.kind = store_kind(manifest.kind)
        self.header: Header = manifest.header
        self.subsets = dict(manifest.subsets)
        self.embedding_count = manifest.embeddings
        self.caption_count = manifest.captions
        self.object_count = manifest.objects
        self.digest = manifest.digest
        for group in VECTOR_GROUPS:
            if sum(segment.live_count(group) for segment in self.segments) != getattr(manifest, group):
                raise StoreCorruptError(f"{path} holds another number of {group} than its manifest says")
        self._vector_rows: dict[str, Rows] = {}
        self._starts = np.cumsum([0, *(segment.entry.live for segment in self.segments)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __repr__(self) -> str:
        subsets = ", ".join(f"{name} {count}" for name, count in self.subsets.items())
        items = f"{len(self)} items" + (f" ({subsets})" if subsets else "")
        groups = {"vectors": self.embedding_count, "of captions": self.caption_count, "of objects": self.object_count}
        counts = ", ".join(f"{count} {name}" for name, count in groups.items() if count or name == "vectors")
        space = "no space yet" if self.header.space is None else f"{self.header.space}, {self.header.dtype}"
        return f"{type(self).__name__}({str(self.path)!r}: {items}; {counts}; {space}; {_told_size(self.path)})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; arrays that were handed out stay valid."""
        for segment in self.segments:
            segment.close()

    def keys(self) -> Iterator[ItemKey]:
        """Yield the items' keys, in row order."""
        for segment in self.segments:
            yield from compress(segment.keys(), segment.is_live)

    def records(self) -> Iterator[Record]:
        """Yield the items, in row order, with a few blocks in memory at a time."""
        for segment in self.segments:
            for local in segment.live:
                yield segment.record(int(local))

    def key(self, row: int) -> ItemKey:
        """Read the key of one row, 0 ≤ row < len(self)."""
        segment, local = self.locate(row)
        return segment.key(local)

    def record(self, row: int) -> Record:
        """Read one row, 0 ≤ row < len(self)."""
        segment, local = self.locate(row)
        return segment.record(local)

    def find(self, key: ItemKey) -> int | None:
        """Find the row of a key; None if it is not in the store."""
        return self._row(key, self._hash_index)

    def find_all(self, keys: Sequence[ItemKey]) -> list[int | None]:
        """Find the row of each key; for a few keys, faster than :meth:`find`, which sorts all hashes first."""
        rows = possible_rows(self.key_hashes, [key_hash(key) for key in keys])
        index = HashIndex(self.key_hashes[rows], rows)
        return [self._row(key, index) for key in keys]

    def locate(self, row: int) -> tuple[SegmentReader, int]:
        """Return the segment of a store row, and the row in that segment."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of a store of {len(self)} items")
        index, local = locate(self._starts, row)
        segment = self.segments[index]
        return segment, int(segment.live[local])

    def vector_rows(self, group: str = "embeddings") -> Rows:
        """Return the store row of the item of each live vector of a group, (N,) int64, as :meth:`stored_rows` has them.

        Parameters
        ----------
        group : str
            ``embeddings`` (of pictures; ascending, at most one for each item), ``captions`` or ``objects``.
        """
        if group not in self._vector_rows:
            rows = [self._store_rows(i, segment.item_rows(group)) for i, segment in enumerate(self.segments)]
            self._vector_rows[group] = np.concatenate([np.zeros(0, np.int64), *(r[r >= 0] for r in rows)])
        return self._vector_rows[group]

    def stored_rows(self, group: str = "embeddings") -> StoredRows:
        """Return all live vectors of a group, (N, D), read and checked when indexed; slices of a map are not copied."""
        column = VECTOR_GROUPS[group][0]
        parts = [
            (segment.columns[column], np.flatnonzero(segment.is_live[segment.item_rows(group)]))
            for segment in self.segments
            if column in segment.columns
        ]
        dimension = 0 if self.header.space is None else self.header.space.dimension
        return StoredRows(parts, dimension, DTYPES[self.header.dtype])

    def embedding_keys(self) -> Iterator[ItemKey]:
        """Return the key of the item of each live picture vector, in the order of :meth:`matrix`."""
        return (self.key(int(row)) for row in self.vector_rows())

    def objects(self) -> Iterator[ObjectBlock]:
        """Read and check live object vectors, a segment at a time; ``rows`` are rows of the store."""
        for index, segment in enumerate(self.segments):
            if len(segment.item_rows("objects")):
                rows = self._store_rows(index, segment.item_rows("objects"))
                _, *columns = segment.objects()
                yield ObjectBlock(rows[rows >= 0], *(column[rows >= 0] for column in columns))

    def matrix(self) -> Array:
        """Return all live picture vectors, (N, D), in the store's dtype.

        A ``clip_mmap`` store of one segment without removed items is mapped: nothing is copied, and nothing checked
        (:meth:`check` does that). Any other store is read block by block, and each block is checked.
        """
        if self.kind.supports_zero_copy and len(self.segments) == 1 and not self.segments[0].entry.removed:
            column = self.segments[0].columns.get("embeddings")
            if column is not None:
                return np.asarray(column.rows)
        return self.stored_rows()[:]

    def check(self) -> None:
        """Read and check everything.

        Raises
        ------
        StoreCorruptError
            For the first block that contradicts its checksum, or record or number that contradicts the format.
        """
        subsets: Counter[str] = Counter()
        for segment in self.segments:
            segment.check()
            subsets.update(key.subset for key in compress(segment.keys(), segment.is_live))
        if subsets != self.subsets:
            raise StoreCorruptError(f"{self.path} holds other numbers of items in its subsets than its manifest says")
        for repeated in repeated_keys(self.key_hashes, self.key):
            raise StoreCorruptError(f"{self.path} holds two items called {repeated}")

    def _store_rows(self, index: int, local: Rows) -> Rows:
        """Convert rows of a segment to rows of the store; -1 for removed rows."""
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
        return HashIndex(self.key_hashes, np.arange(len(self)))

    @cached_property
    def key_hashes(self) -> npt.NDArray[np.uint32]:
        """The CRC-32 of each row's key, (N,)."""
        parts = [segment.columns["item_hash"].all()[segment.live] for segment in self.segments]
        return np.concatenate([np.zeros(0, np.uint32), *parts])


def _told_size(folder: Path) -> str:
    """Return the size of a store, pictures included, in a suitable unit."""
    size = float(folder_size(folder))
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def _open_segments(path: Path) -> tuple[Manifest, list[SegmentReader]]:
    """Open the manifest and its segments, in one and the same state of the store.

    Raises
    ------
    StoreNotFoundError, StoreFormatError, StoreCorruptError
        If there is no store, a foreign one, or a damaged one.
    """
    manifest = read_manifest(path)
    for _ in range(_ATTEMPTS):
        try:
            return manifest, [_open_segment(path, manifest, entry) for entry in manifest.segments]
        except StoreCorruptError:
            latest = read_manifest(path)
            if latest == manifest:
                raise
            manifest = latest
    raise StoreError(f"{path} was rewritten {_ATTEMPTS} times while it was being opened; try again later")


def _open_segment(path: Path, manifest: Manifest, entry: SegmentEntry) -> SegmentReader:
    try:
        return SegmentReader(path, entry, store_kind(manifest.kind).open_segment(path, entry))
    except StoreError:
        raise
    except PermissionError as exc:
        raise StoreError(with_cure(exc)) from exc
    except OSError as exc:
        raise StoreCorruptError(f"{entry.name} of {path} cannot be read: {exc}") from exc
