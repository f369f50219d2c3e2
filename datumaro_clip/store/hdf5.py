"""``clip_hdf5``: one HDF5 file for each segment, one chunked dataset for each column. The only importer of h5py."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from datumaro_clip.errors import StoreCorruptError, StoreError
from datumaro_clip.store.base import Array
from datumaro_clip.store.behind import InTurn, WriteBehind
from datumaro_clip.store.columns import ColumnSpec, SegmentEntry

# Pinned, so that every h5py writes the same bytes; since HDF5 1.10, metadata have checksums.
_LIBVER = ("v110", "v110")
# The only filters allowed, by their registered numbers: a file must not make HDF5 look for filter plug-ins.
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_LZF}
# Deflate expands one byte to at most 1032; LZF to fewer.
_MOST_EXPANSION = 1032
_GZIP_LEVEL = 4


class _GuardedFile:
    """The file that HDF5 writes to; it hides errors of the file system from HDF5.

    HDF5 crashes the process when it closes a file on a full disk. So the first error is stored for ``check`` to raise,
    and all later writes seem to succeed.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("x+b", buffering=0)
        self._behind = WriteBehind()
        self._error: OSError | None = None

    def check(self) -> None:
        """Raise the first error, if there was one."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Sync, unless there was an error or the file is closed already, and close."""
        self._remember(self._behind.close)
        if not self._file.closed:
            self._attempt(lambda: os.fsync(self._file.fileno()))
        self._remember(self._file.close)

    def write(self, data: memoryview) -> int:
        """Write at the current position."""
        self._attempt(lambda: self._write(memoryview(data).cast("B")))
        return len(data)

    def truncate(self, size: int) -> int:
        """Change the file's size."""
        self._attempt(lambda: self._file.truncate(size))
        return size

    def flush(self) -> None:
        """Do nothing: writes are not buffered."""

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        """Set the position."""
        return self._file.seek(position, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    def read(self, size: int) -> bytes:
        """Read at the current position; return zeros after an error."""
        return bytes(size) if self._error is not None else self._file.read(size)

    def _write(self, data: memoryview) -> None:
        rest = data
        while len(rest):
            rest = rest[self._file.write(rest) :]
        self._behind.wrote(self._file.fileno(), len(data))

    def _attempt(self, call: Callable[[], object]) -> None:
        """Make a call, unless there was an error before."""
        if self._error is None:
            self._remember(call)

    def _remember(self, call: Callable[[], object]) -> None:
        """Make a call, and store the first error."""
        try:
            call()
        except OSError as exc:
            self._error = self._error or exc


class Hdf5Sink:
    """Writes a segment's blocks as chunks of one file.

    HDF5 calls back into Python to write, and an exception there may crash the process. So HDF5 is called in a thread
    that Ctrl-C never interrupts.
    """

    def __init__(self, path: Path, compression: str) -> None:
        self._path = path
        self._filter: dict[str, Any] = {} if compression == "none" else {"compression": compression}
        if compression == "gzip":
            self._filter["compression_opts"] = _GZIP_LEVEL
        self._guard = _GuardedFile(path)
        self._turns = InTurn("store-hdf5")
        self._file = self._turns.ask(lambda: h5py.File(self._guard, "w", libver=_LIBVER))
        self._datasets: dict[str, h5py.Dataset] = {}

    def write(self, column: str, rows: Array, block_rows: int) -> None:
        """Append blocks, each as a chunk."""
        self._guard.check()
        self._turns.begin(partial(self._write, column, rows, block_rows))

    def wait(self) -> None:
        """Wait until all blocks are in the file."""
        try:
            self._turns.wait()
        finally:
            self._guard.check()

    def close(self) -> dict[str, int]:
        """Close and sync the file."""
        self.wait()
        self._turns.ask(self._file.close)
        self._turns.close()
        self._guard.close()
        self._guard.check()
        return {self._path.name: self._path.stat().st_size}

    def discard(self) -> None:
        """Close the file, whatever it holds."""
        with suppress(OSError, RuntimeError):
            self._turns.ask(self._file.close)
        self._turns.close()
        self._guard.close()

    def _write(self, column: str, rows: Array, block_rows: int) -> None:
        if column not in self._datasets:
            self._datasets[column] = self._create(column, rows[:block_rows])
        dataset = self._datasets[column]
        # h5py's low-level interface, because the high-level one asks HDF5 for the shape in each call.
        start = dataset.id.shape[0]
        dataset.id.set_extent((start + len(rows), *rows.shape[1:]))
        if self._filter:
            dataset[start:] = rows
        else:
            self._fill(dataset.id, start, rows)

    def _create(self, column: str, block: Array) -> h5py.Dataset:
        """Create the empty dataset, with chunks of the size of its first block; a short first block is the only one."""
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        if not self._filter:
            properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        return self._file.create_dataset(
            column,
            (0, *block.shape[1:]),
            block.dtype,
            chunks=block.shape,
            maxshape=(None, *block.shape[1:]),
            track_times=False,
            dcpl=properties,
            **self._filter,
        )

    def _fill(self, dataset: h5py.h5d.DatasetID, start: int, rows: Array) -> None:
        """Write rows where HDF5 has allocated their chunks; in one call if the chunks are adjacent.

        HDF5 itself would call back into Python twice for each chunk.
        """
        size = dataset.get_create_plist().get_chunk()[0]
        last = (len(rows) - 1) // size * size
        corner = (0,) * (rows.ndim - 1)
        chunks = (dataset.get_chunk_info_by_coord((start + row, *corner)) for row in (0, last))
        offset, end = (int(chunk.byte_offset) for chunk in chunks)
        if end - offset == last * rows[0].nbytes:
            self._guard.seek(offset)
            self._guard.write(rows.data)
        else:
            half = last // size // 2 * size + size
            self._fill(dataset, start, rows[:half])
            self._fill(dataset, start + half, rows[half:])


class Hdf5Source:
    """A segment's file, open for reading.

    Attributes
    ----------
    columns : dict of str to h5py.Dataset
        Slicing one reads and decompresses its chunks.
    """

    def __init__(self, path: Path, entry: SegmentEntry) -> None:
        try:
            size = path.stat().st_size
            if entry.files.get(path.name) != size:
                raise StoreCorruptError(f"{path} has {size} bytes, but the manifest says {entry.files.get(path.name)}")
            self._file = h5py.File(path, "r", locking=False)
        except FileNotFoundError as exc:
            raise StoreCorruptError(f"{path} is missing from the store") from exc
        except OSError as exc:
            if not os.access(path, os.R_OK):
                raise StoreError(f"{path} may not be read; check its permissions") from exc
            if "already open for write" in str(exc):
                raise StoreError(
                    f"{path} is open for writing in another program, or was when that was killed: close the file there "
                    f"or end the notebook's kernel that has it open; where there is none, run h5clear --status {path}"
                ) from exc
            raise StoreCorruptError(f"{path} is not a sound HDF5 file: {exc}") from exc
        self.columns = {name: self._dataset(path, name, spec) for name, spec in entry.columns.items()}

    def close(self) -> None:
        """Close the file."""
        self.columns = {}
        self._file.close()

    def _dataset(self, path: Path, column: str, spec: ColumnSpec) -> h5py.Dataset:
        """Return a column's dataset, if it is as the manifest says, and lies in this file itself."""
        try:
            hard = isinstance(self._file.get(column, getlink=True), h5py.HardLink)
            dataset = self._file[column] if hard else None
            if not isinstance(dataset, h5py.Dataset) or not _fits(dataset, spec):
                raise StoreCorruptError(f"{path} does not hold the column {column} that the manifest describes")
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as exc:
            if isinstance(exc, StoreCorruptError):
                raise
            raise StoreCorruptError(f"the column {column} of {path} cannot be read: {exc}") from exc
        return dataset


def _fits(dataset: h5py.Dataset, spec: ColumnSpec) -> bool:
    properties = dataset.id.get_create_plist()
    filters = {properties.get_filter(i)[0] for i in range(properties.get_nfilters())}
    return (
        properties.get_layout() == h5py.h5d.CHUNKED
        and filters <= _FILTERS
        and dataset.dtype == np.dtype(spec.dtype)
        and dataset.shape == spec.shape
        and dataset.chunks == (min(spec.block_rows, spec.shape[0]), *spec.shape[1:])
        and spec.nbytes <= dataset.id.get_storage_size() * _MOST_EXPANSION
    )


class Hdf5Kind:
    """See :class:`datumaro_clip.store.kinds.StoreKind`."""

    name = "clip_hdf5"
    title = "HDF5"
    supports_append = True
    supports_zero_copy = False
    compressions: tuple[str, ...] = ("none", "gzip", "lzf")

    def segment_path(self, root: Path, name: str) -> Path:
        """Return the path of the segment's file."""
        return root / f"{name}.h5"

    def create_segment(self, root: Path, name: str, compression: str) -> Hdf5Sink:
        """Begin a file."""
        return Hdf5Sink(self.segment_path(root, name), compression)

    def open_segment(self, root: Path, entry: SegmentEntry) -> Hdf5Source:
        """Open the file."""
        return Hdf5Source(self.segment_path(root, entry.name), entry)


KIND = Hdf5Kind()
