"""What a kind of store must be able to do, and which kinds there are."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from datumaro_clip.errors import MissingDependencyError, OptionError
from datumaro_clip.store.columns import BlockSink, RowSource
from datumaro_clip.store.manifest import SegmentEntry

_HOMES = {"clip_hdf5": "datumaro_clip.store.hdf5", "clip_mmap": "datumaro_clip.store.mmap"}


class SegmentSink(BlockSink, Protocol):
    """A segment that is being written."""

    def close(self) -> dict[str, int]:
        """Finish and sync the files; their names and sizes."""

    def discard(self) -> None:
        """Close what is open; the files are removed by the caller."""


class SegmentSource(Protocol):
    """A segment that is open for reading, and stays readable when its files are removed."""

    @property
    def columns(self) -> Mapping[str, RowSource]:
        """The rows of each column."""

    def close(self) -> None:
        """Let go of the files."""


class StoreKind(Protocol):
    """How segments become files. What a kind can do is asked of its attributes, never guessed.

    Attributes
    ----------
    name : str
        Datumaro's name of the format.
    supports_append : bool
        Whether items can be added, changed and removed at the cost of what changes.
    supports_zero_copy : bool
        Whether vectors are mapped rather than read.
    compressions : tuple of str
        What ``compression`` may be.
    """

    name: str
    supports_append: bool
    supports_zero_copy: bool
    compressions: tuple[str, ...]

    def segment_path(self, root: Path, name: str) -> Path:
        """The file or directory of a segment."""

    def create_segment(self, root: Path, name: str, compression: str) -> SegmentSink:
        """Begin a segment.

        Raises
        ------
        OSError
            If it cannot be written.
        """

    def open_segment(self, root: Path, entry: SegmentEntry) -> SegmentSource:
        """Open a segment after checking its files against the manifest; reads no rows.

        Raises
        ------
        StoreCorruptError
            If a file is missing, or of another size or structure than the manifest says.
        """


def store_kind(name: str) -> StoreKind:
    """The kind of store by this name.

    Raises
    ------
    OptionError
        If there is none.
    MissingDependencyError
        If the library that it needs is not installed.
    """
    if name not in _HOMES:
        raise OptionError(f"there is no store kind {name!r}; there are {', '.join(_HOMES)}")
    try:
        return cast(StoreKind, import_module(_HOMES[name]).KIND)
    except ModuleNotFoundError as exc:
        raise MissingDependencyError(exc.name or name, None, f"the format {name}") from exc
