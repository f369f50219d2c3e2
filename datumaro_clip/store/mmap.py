"""``clip_mmap``: one NumPy file for each column, mapped when read."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from datumaro_clip.errors import StoreCorruptError
from datumaro_clip.store.base import Array
from datumaro_clip.store.behind import InTurn, WriteBehind
from datumaro_clip.store.columns import ColumnSpec, SegmentEntry

HEADER_BYTES = 128
# The file of records has no header, so that people can read it.
PLAIN = {"items": "items.jsonl"}


def npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Return a NumPy format 1.0 header of 128 bytes, whose length does not depend on the number of rows."""
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    start = b"\x93NUMPY\x01\x00" + (HEADER_BYTES - 10).to_bytes(2, "little")
    return start + text.ljust(HEADER_BYTES - 11) + b"\n"


def file_name(column: str) -> str:
    """Return the name of a column's file in its segment's directory."""
    return PLAIN.get(column, f"{column}.npy")


class MmapSink:
    """Writes a segment's blocks to one file for each column."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self._files: dict[str, BinaryIO] = {}
        self._shapes: dict[str, tuple[str, tuple[int, ...]]] = {}
        self._turns = InTurn("store-writer")
        self._behind = WriteBehind()

    def write(self, column: str, rows: Array, block_rows: int) -> None:
        """Append blocks; the file does not mark where a block ends."""
        if column not in self._files:
            self._files[column] = (self._directory / file_name(column)).open("xb")
            if column not in PLAIN:
                self._files[column].write(bytes(HEADER_BYTES))
            self._shapes[column] = rows.dtype.str, (0, *rows.shape[1:])
        self._turns.begin(partial(self._append, self._files[column], rows))
        dtype, shape = self._shapes[column]
        self._shapes[column] = dtype, (shape[0] + len(rows), *shape[1:])

    def wait(self) -> None:
        """Wait until all blocks are in their files."""
        self._turns.wait()

    def close(self) -> dict[str, int]:
        """Write the headers, now that the shapes are known, and sync."""
        self._turns.wait()
        self._turns.close()
        self._behind.close()
        sizes = {}
        for column, file in sorted(self._files.items()):
            with file:
                sizes[file_name(column)] = file.tell()
                if column not in PLAIN:
                    file.seek(0)
                    file.write(npy_header(*self._shapes[column]))
                os.fsync(file.fileno())
        return sizes

    def discard(self) -> None:
        """Close the files, whatever they hold."""
        self._turns.close()
        with suppress(OSError):
            self._behind.close()
        for file in self._files.values():
            with suppress(OSError):
                file.close()

    def _append(self, file: BinaryIO, rows: Array) -> None:
        file.write(rows.data.cast("B"))
        self._behind.wrote(file.fileno(), rows.nbytes)


class MmapSource:
    """A segment's files, mapped.

    Attributes
    ----------
    columns : dict of str to numpy.ndarray
        Read-only maps.
    """

    def __init__(self, directory: Path, entry: SegmentEntry) -> None:
        self.columns = {name: _mapped(directory, entry, name, spec) for name, spec in entry.columns.items()}

    def close(self) -> None:
        """Drop the maps; arrays that were handed out keep theirs."""
        self.columns = {}


def _mapped(directory: Path, entry: SegmentEntry, column: str, spec: ColumnSpec) -> Array:
    """Map a column's file as an array, if its size and header are as the manifest says."""
    path = directory / file_name(column)
    offset = 0 if column in PLAIN else HEADER_BYTES
    try:
        size = path.stat().st_size
        if size != offset + spec.nbytes or entry.files.get(path.name) != size:
            raise StoreCorruptError(f"{path} has {size} bytes, but the manifest says {offset + spec.nbytes}")
        with path.open("rb") as file:
            if offset and file.read(offset) != npy_header(spec.dtype, spec.shape):
                raise StoreCorruptError(f"{path} has another header than the manifest says")
        return np.memmap(path, spec.dtype, "r", offset, spec.shape)
    except FileNotFoundError as exc:
        raise StoreCorruptError(f"{path} is missing from the store") from exc


class MmapKind:
    """See :class:`datumaro_clip.store.kinds.StoreKind`."""

    name = "clip_mmap"
    title = "NumPy files that are mapped when read"
    supports_append = True
    supports_zero_copy = True
    compressions: tuple[str, ...] = ("none",)

    def segment_path(self, root: Path, name: str) -> Path:
        """Return the path of the segment's directory."""
        return root / name

    def create_segment(self, root: Path, name: str, compression: str) -> MmapSink:
        """Begin a directory of column files."""
        return MmapSink(self.segment_path(root, name))

    def open_segment(self, root: Path, entry: SegmentEntry) -> MmapSource:
        """Map the column files."""
        return MmapSource(self.segment_path(root, entry.name), entry)


KIND = MmapKind()
