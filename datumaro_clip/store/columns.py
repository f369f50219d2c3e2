"""Columns of a segment, cut into blocks, each with a checksum that is checked when the block is first read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

try:
    from zlib_ng.zlib_ng import crc32
except ImportError:  # zlib_ng has no wheel for some machines; zlib gives equal checksums, several times slower.
    from zlib import crc32

from datumaro_clip.errors import StoreCorruptError
from datumaro_clip.store.base import Array

# Small enough to check for a single look-up, large enough that checksums and chunk indices cost little.
BLOCK_BYTES = 1 << 20
# Blocks in one write: enough that a call costs little, few enough to stay in memory.
_TOGETHER = 16
# Blocks of a column that stay in memory, for a few threads that read rows one by one.
_KEPT_BLOCKS = 4


@dataclass(frozen=True)
class ColumnSpec:
    """A column's entry in the manifest: NumPy dtype string, shape, rows in a block, checksums of the blocks."""

    dtype: str
    shape: tuple[int, ...]
    block_rows: int
    crc32: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Size of the uncompressed column in bytes."""
        return int(np.prod(self.shape, dtype=object)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class SegmentEntry:
    """A segment's entry in the manifest; the attributes are the keys of ``docs/storage-format.md``."""

    name: str
    items: int
    removed: tuple[int, ...]
    precision: str
    device: str
    versions: Mapping[str, str]
    files: Mapping[str, int]
    columns: Mapping[str, ColumnSpec]
    classes: tuple[str, ...] = ()
    detectors: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal digits, of the contents of all columns, removed rows included."""
        content = {name: vars(column) for name, column in sorted(self.columns.items())}
        text = json.dumps([content, self.classes, self.detectors], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def number(self) -> int:
        """The number in its name, ``segment-NUMBER``."""
        return int(self.name.rpartition("-")[2])

    @property
    def live(self) -> int:
        """Number of rows that no later write removed."""
        return self.items - len(self.removed)


class BlockSink(Protocol):
    """Writes blocks, in order."""

    def write(self, column: str, rows: Array, block_rows: int) -> None:
        """Append blocks to a column: contiguous rows, on loan, ``block_rows`` to a block; only its last is shorter."""

    def wait(self) -> None:
        """Wait until the rows on loan are no longer needed; raise the error of a write."""


class RowSource(Protocol):
    """Rows that are read when sliced: a mapped array or an HDF5 dataset."""

    def __getitem__(self, rows: slice, /) -> Any:
        """Read rows, shape (stop - start, ...)."""


def checksum(block: Array) -> int:
    """Return the CRC-32 of an array's bytes in C order, equal to that of ``zlib.crc32`` but many times as fast."""
    return crc32(np.ascontiguousarray(block).data.cast("B"))


class ColumnWriter:
    """Cuts rows into blocks and writes them to a sink; copies only rows that do not fill a block."""

    def __init__(self, name: str, dtype: str, row_shape: tuple[int, ...], sink: BlockSink) -> None:
        row_bytes = np.dtype(dtype).itemsize * int(np.prod(row_shape))
        self._name, self._sink = name, sink
        self._block_rows = max(1, BLOCK_BYTES // row_bytes)
        self._block = np.empty((self._block_rows, *row_shape), dtype)
        self._filled = 0
        self._rows = 0
        self._checksums: list[int] = []

    def extend(self, rows: Array) -> None:
        """Append rows of shape (n, *row_shape)."""
        while len(rows):
            taken = self._gather(rows) if self._filled or len(rows) < self._block_rows else self._pass_on(rows)
            rows = rows[taken:]

    def flush(self) -> None:
        """Write the rows that are left as a last, shorter block."""
        if self._filled:
            filled, self._filled = self._block[: self._filled], 0
            self._block = np.empty_like(self._block)
            self._give(filled)

    @property
    def spec(self) -> ColumnSpec:
        """The manifest's entry for the rows written."""
        shape = (self._rows, *self._block.shape[1:])
        return ColumnSpec(self._block.dtype.str, shape, self._block_rows, tuple(self._checksums))

    def _gather(self, rows: Array) -> int:
        """Fill the block from the first rows; return how many it took."""
        part = rows[: self._block_rows - self._filled]
        self._block[self._filled : self._filled + len(part)] = part
        self._filled += len(part)
        if self._filled == self._block_rows:
            self.flush()
        return len(part)

    def _pass_on(self, rows: Array) -> int:
        """Write as many of the first rows as are whole blocks, without copying; return how many."""
        taken = self._block_rows * min(len(rows) // self._block_rows, _TOGETHER)
        self._give(np.ascontiguousarray(rows[:taken], self._block.dtype))
        return taken

    def _give(self, rows: Array) -> None:
        size = self._block_rows
        self._checksums += [checksum(rows[start : start + size]) for start in range(0, len(rows), size)]
        self._rows += len(rows)
        self._sink.write(self._name, rows, size)


class Column:
    """A column of a stored segment; each block is checked when it is first read.

    Attributes
    ----------
    rows : RowSource
        The rows themselves, unchecked.
    spec : ColumnSpec
    """

    def __init__(self, name: str, spec: ColumnSpec, rows: RowSource) -> None:
        self.rows, self.spec = rows, spec
        self._name = name
        self._checked = bytearray(len(spec.crc32))
        self._latest: tuple[tuple[int, Array], ...] = ()

    def __len__(self) -> int:
        return self.spec.shape[0]

    def read(self, start: int, stop: int) -> Array:
        """Read rows ``start`` to ``stop``, shape (stop - start, ...), in the stored dtype; mapped rows are not copied.

        Raises
        ------
        StoreCorruptError
            If a block contradicts its checksum.
        """
        pieces = list(self._pieces(start, stop))
        if isinstance(self.rows, np.ndarray):
            return self.rows[start:stop]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def all(self) -> Array:
        """Read every row."""
        return self.read(0, len(self))

    def check(self) -> None:
        """Read and check every block again."""
        for index in range(len(self.spec.crc32)):
            self._require_sound(index, self._load(index))

    def _pieces(self, start: int, stop: int) -> Iterator[Array]:
        size = self.spec.block_rows
        for index in range(start // size, max(start, stop - 1) // size + 1):
            yield self._read_block(index)[max(start - index * size, 0) : max(stop - index * size, 0)]

    def _read_block(self, index: int) -> Array:
        # Other threads may read too, so the shared tuple is read once and replaced whole.
        latest = self._latest
        for kept, block in latest:
            if kept == index:
                return block
        block = self._load(index)
        if not self._checked[index]:
            self._require_sound(index, block)
        self._latest = (index, block), *latest[: _KEPT_BLOCKS - 1]
        return block

    def _load(self, index: int) -> Array:
        start = index * self.spec.block_rows
        try:
            block: Array = self.rows[start : min(start + self.spec.block_rows, len(self))]
        except (OSError, RuntimeError, ValueError) as exc:
            raise StoreCorruptError(f"block {index} of {self._name} cannot be read: {exc}") from exc
        return block

    def _require_sound(self, index: int, block: Array) -> None:
        if checksum(block) != self.spec.crc32[index]:
            raise StoreCorruptError(
                f"block {index} of {self._name} contradicts its checksum: the file was damaged after it was written"
            )
        self._checked[index] = True
