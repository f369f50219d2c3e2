"""What a kind of store must be able to do, and which kinds there are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from datumaro_clip.errors import MissingDependencyError, OptionError, PluginError
from datumaro_clip.store.columns import BlockSink, RowSource
from datumaro_clip.system.entry_points import STORES, load, offered

if TYPE_CHECKING:
    from datumaro_clip.store.manifest import SegmentEntry


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
        Datumaro's name of the format, and the entry point's; letters, digits and underscores.
    title : str
        How its files are called in help texts, as in "HDF5".
    supports_append : bool
        Whether items can be added, changed and removed at the cost of what changes.
    supports_zero_copy : bool
        Whether vectors are mapped rather than read.
    compressions : tuple of str
        What ``compression`` may be.
    """

    name: str
    title: str
    supports_append: bool
    supports_zero_copy: bool
    compressions: tuple[str, ...]

    def segment_path(self, root: Path, name: str) -> Path:
        """The file or directory of a segment: called by the segment's name, with an extension or without one."""

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


@cache
def kind_names() -> tuple[str, ...]:
    """The kinds of store that are installed, by name; ours among them."""
    return tuple(sorted(offered(STORES)))


@cache
def store_kind(name: str) -> StoreKind:
    """The kind of store by this name.

    Raises
    ------
    OptionError
        If there is none.
    MissingDependencyError
        If a library that it needs is not installed.
    PluginError
        If the package that brings it is broken.
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
