"""Embedding stores: items, their vectors and their captions' vectors, in one directory that appears whole.

The format is ``docs/storage-format.md``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from datumaro_clip.errors import StoreWriteError
from datumaro_clip.store.archives import ArchiveMember
from datumaro_clip.store.base import (
    COMPRESSIONS,
    DTYPES,
    CaptionVector,
    Header,
    ObjectBlock,
    ObjectVector,
    Record,
)
from datumaro_clip.store.kinds import StoreKind, kind_names, store_kind
from datumaro_clip.store.lock import WriterLock
from datumaro_clip.store.manifest import VECTOR_GROUPS, find_kind, read_manifest, store_digest
from datumaro_clip.store.media import MediaFolder, media_path
from datumaro_clip.store.merging import Merged, OnRepeat, merged_header, repeated_rows
from datumaro_clip.store.reader import StoreReader
from datumaro_clip.store.segments import SegmentReader
from datumaro_clip.store.writer import StoreWriter, already_there

__all__ = [
    "COMPRESSIONS",
    "DTYPES",
    "VECTOR_GROUPS",
    "ArchiveMember",
    "CaptionVector",
    "Header",
    "MediaFolder",
    "Merged",
    "ObjectBlock",
    "ObjectVector",
    "Record",
    "SegmentReader",
    "StoreKind",
    "StoreReader",
    "StoreWriter",
    "already_there",
    "append_to_store",
    "create_store",
    "kind_names",
    "media_path",
    "merge_stores",
    "open_store",
    "store_digest",
    "store_kind",
]

PathLike = str | os.PathLike[str]


def open_store(path: PathLike) -> StoreReader:
    """Open a store for reading; no vectors are read.

    Raises
    ------
    StoreNotFoundError
        If there is no store at the path.
    StoreFormatError
        If it is foreign, or of a version that this release does not know.
    StoreCorruptError
        If its manifest or files contradict one another.
    """
    return StoreReader(Path(path))


def create_store(
    path: PathLike,
    kind: str,
    header: Header,
    *,
    compression: str | None = None,
    overwrite: bool = False,
    repeat: bool = False,
) -> StoreWriter:
    """Begin a new store.

    Parameters
    ----------
    path : path
        Its directory; made if it is not there.
    kind : str
        ``clip_hdf5``, ``clip_mmap``, or another of :func:`kind_names`.
    header : Header
        Its space may be None, and declared later.
    compression : str, optional
        ``none``, ``gzip`` or ``lzf``; the header's where omitted.
    overwrite : bool
        Replace a store of the same kind that is there; it stays whole until the new one is.
    repeat : bool
        Write again what a store of the same kind that is there may hold already, as a command does that was killed at
        its end. If it does not hold just that, it stays as it is, and the writer's ``commit`` fails.

    Raises
    ------
    OptionError
        If the kind does not exist, or cannot compress so.
    StoreWriteError
        If the directory cannot be written, another process writes there, a store is there already, or something
        else with a ``media`` folder or names like a segment's.
    """
    root = Path(path)
    if compression is not None:
        header = replace(header, compression=compression)
    lock = WriterLock(root)
    with lock.released_on_error():
        there = find_kind(root)
        if there is not None and not (overwrite and there == kind):
            if there != kind:
                raise StoreWriteError(
                    f"{root} holds a {there} store already, not of the kind {kind}: name another directory"
                )
            if not repeat:
                raise already_there(root)
            return StoreWriter(root, store_kind(kind), header, lock, repeats=True)
        return StoreWriter(root, store_kind(kind), header, lock)


def merge_stores(
    sources: Sequence[PathLike],
    target: PathLike,
    *,
    on_repeat: OnRepeat = "refuse",
    overwrite: bool = False,
    link: bool = True,
) -> Merged:
    """Make one store of several: whole segments, removed rows and all, and media; no vector is computed.

    Items come in the order of the sources. A crash leaves what was at the target, or the merged store.

    Parameters
    ----------
    sources : sequence of path
        Stores of one kind, vector space, dtype, media type and categories; they stay as they are.
    target : path
        Another directory.
    on_repeat : str
        Which of the items that share a key stays: the ``first``, the ``last``, or ``refuse``.
    overwrite : bool
        Replace a store of the same kind that is at the target; else it may only be what the same merge has left there.
    link : bool
        Let segments and media, which are never changed, be one file in both stores, where the system can; else copy.

    Raises
    ------
    StoreNotFoundError, StoreFormatError, StoreCorruptError
        If a source is no sound store.
    StoreWriteError
        If the stores do not fit one another, two items share a key, or the disk does not take it.
    SpaceMismatchError
        If their vectors are of two spaces.
    """
    with ExitStack() as stack:
        stores = [stack.enter_context(open_store(path)) for path in sources]
        header = merged_header(stores)
        if any(Path(path).resolve() == Path(target).resolve() for path in sources):
            raise StoreWriteError(f"{target} is one of the stores to merge; name another directory")
        left_out = repeated_rows(stores, on_repeat)
        with create_store(target, stores[0].kind.name, header, overwrite=overwrite, repeat=True) as writer:
            for store, rows in zip(stores, left_out, strict=True):
                writer.adopt(store, rows, link=link)
        lost = sum(map(len, left_out))
        return Merged(len(stores), sum(map(len, stores)) - lost, lost)


def append_to_store(path: PathLike, header: Header | None = None) -> StoreWriter:
    """Begin to add, replace and remove items of a store, at the cost of what changes.

    Parameters
    ----------
    path : path
        The store's directory.
    header : Header, optional
        New categories, infos and media type; space, dtype and compression stay the store's.

    Raises
    ------
    StoreNotFoundError, StoreFormatError, StoreCorruptError
        If there is no sound store.
    StoreWriteError
        If the directory cannot be written, or another process writes there.
    """
    root = Path(path)
    read_manifest(root)
    lock = WriterLock(root)
    with lock.released_on_error():
        previous = StoreReader(root)
        new = header or replace(previous.header, versions=Header().versions)
        may_change = ("versions", "categories", "infos", "media_type")
        continued = replace(previous.header, **{name: getattr(new, name) for name in may_change})
        return StoreWriter(root, previous.kind, continued, lock, previous)
