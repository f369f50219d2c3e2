"""Kinds of store: the interface that each implements, and how to find one by its name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Protocol

from datumaro_clip.errors import MissingDependencyError, OptionError, PluginError
from datumaro_clip.store.columns import BlockSink, RowSource, SegmentEntry
from datumaro_clip.system.entry_points import STORES, load, offered


class SegmentSink(BlockSink, Protocol):
    """A segment that is being written."""

    def close(self) -> dict[str, int]:
        """Finish and sync the files; return their names and sizes."""

    def discard(self) -> None:
        """Close open files; the caller removes them."""


class SegmentSource(Protocol):
    """A segment that is open for reading, and stays readable when its files are removed."""

    @property
    def columns(self) -> Mapping[str, RowSource]:
        """The rows of each column."""

    def close(self) -> None:
        """Close the files."""


class StoreKind(Protocol):
    """How segments are stored as files; the attributes say what the kind supports.

    Attributes
    ----------
    name : str
        Datumaro's name of the format, and the entry point's; letters, digits and underscores.
    title : str
        Name of its files in help texts, such as "HDF5".
    supports_append : bool
        Whether items can be added, changed and removed by writing only what changes.
    supports_zero_copy : bool
        Whether vectors are mapped rather than read.
    compressions : tuple of str
        The values of ``compression`` that it supports.
    """

    name: str
    title: str
    supports_append: bool
    supports_zero_copy: bool
    compressions: tuple[str, ...]

    def segment_path(self, root: Path, name: str) -> Path:
        """Return the file or directory of a segment: the segment's name, with or without an extension."""

    def create_segment(self, root: Path, name: str, compression: str) -> SegmentSink:
        """Begin a segment.

        Raises
        ------
        OSError
            If it cannot be written.
        """

    def open_segment(self, root: Path, entry: SegmentEntry) -> SegmentSource:
        """Check a segment's files against the manifest, and open it; reads no rows.

        Raises
        ------
        StoreCorruptError
            If a file is missing, or of another size or structure than the manifest says.
        """


@cache
def kind_names() -> tuple[str, ...]:
    """List the names of the installed kinds of store, ours among them."""
    return tuple(sorted(offered(STORES)))


@cache
def store_kind(name: str) -> StoreKind:
    """Return the kind of store of this name.

    Raises
    ------
    OptionError
        If there is none.
    MissingDependencyError
        If a library that it needs is not installed.
    PluginError
        If the package that provides it is broken.
    """
    if name not in kind_names():
        raise OptionError(
            f"there is no store kind {name!r}; there are {', '.join(kind_names())}. Install the package that brings it"
        )
    try:
        kind: StoreKind = load(offered(STORES)[name])
    except PluginError as exc:
        if isinstance(exc.__cause__, ModuleNotFoundError):
            raise MissingDependencyError(exc.__cause__.name or name, None, f"the format {name}") from exc
        raise
    if kind.name != name:
        raise PluginError(f"the store kind {name!r} calls itself {kind.name!r}; upgrade the package that brings it")
    return kind
