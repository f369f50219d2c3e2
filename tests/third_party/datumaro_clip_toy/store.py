"""A kind of store: a segment is a directory with the raw bytes of each column in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from datumaro_clip.errors import StoreCorruptError


class ToySink:
    """Writes a segment."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self._files = {}

    def write(self, column: str, rows: np.ndarray, block_rows: int) -> None:
        """Append blocks of a column."""
        if column not in self._files:
            self._files[column] = (self._directory / f"{column}.raw").open("xb")
        self._files[column].write(np.ascontiguousarray(rows).data.cast("B"))

    def wait(self) -> None:
        """Nothing is held back."""

    def close(self) -> dict[str, int]:
        """Finish and sync the files; their names and sizes."""
        sizes = {}
        for column, file in self._files.items():
            with file:
                file.flush()
                os.fsync(file.fileno())
                sizes[f"{column}.raw"] = file.tell()
        return sizes

    def discard(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()


class ToySource:
    """A segment that is open for reading."""

    def __init__(self, directory: Path, entry: object) -> None:
        self._columns = {}
        for column, spec in entry.columns.items():
            path = directory / f"{column}.raw"
            if not path.is_file() or path.stat().st_size != spec.nbytes:
                raise StoreCorruptError(f"{path} is missing or of another size than the manifest says")
            self._columns[column] = np.frombuffer(path.read_bytes(), spec.dtype).reshape(spec.shape)

    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        """The rows of each column."""
        return self._columns

    def close(self) -> None:
        """Nothing is open."""


class ToyKind:
    """What ``-f toy_store`` names."""

    name = "toy_store"
    title = "plain files"
    supports_append = True
    supports_zero_copy = False
    compressions = ("none",)

    def segment_path(self, root: Path, name: str) -> Path:
        """The segment's directory."""
        return root / name

    def create_segment(self, root: Path, name: str, compression: str) -> ToySink:
        """Begin a segment."""
        return ToySink(self.segment_path(root, name))

    def open_segment(self, root: Path, entry: object) -> ToySource:
        """Open a segment."""
        return ToySource(self.segment_path(root, entry.name), entry)


KIND = ToyKind()
