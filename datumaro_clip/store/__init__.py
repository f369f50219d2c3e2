"""Embedding stores: items, and the vectors of their pictures, captions and objects, in a directory that appears whole.

``docs/storage-format.md`` defines the format.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from datumaro_clip.errors import OptionError, StoreWriteError
from datumaro_clip.store.archives import ArchiveMember
from datumaro_clip.store.base import COMPRESSIONS, DTYPES, CaptionVector, Header, ObjectBlock, ObjectVector, Record
from datumaro_clip.store.hashes import locate, repeated_keys
from datumaro_clip.store.kinds import StoreKind, kind_names, store_kind
from datumaro_clip.store.lock import WriterLock
from datumaro_clip.store.manifest import VECTOR_GROUPS, find_kind, read_manifest, store_digest
from datumaro_clip.store.media import MediaFolder, media_path
from datumaro_clip.store.reader import StoreReader
from datumaro_clip.store.segments import SegmentReader
from datumaro_clip.store.writer import StoreWriter, already_there
from datumaro_clip.vectors import ItemKey

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
OnRepeat = Literal["refuse", "first", "last"]


class Merged(NamedTuple):
    """Counts of a merge: stores merged, items of the result, and items left out because another has their key."""

    stores: int
    items: int
    left_out: int


def open_store(path: PathLike) -> StoreReader:
    """Open a store for reading; reads no vectors yet.

    Raises
    ------
    StoreNotFoundError
        If there is no store at the path.
    StoreFormatError
        If it is foreign, or of a version that this release does not know.
    StoreCorruptError
        If manifest and files contradict one another.
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
        Its directory; made if it does not exist.
    kind : str
        ``clip_hdf5``, ``clip_mmap``, or another of :func:`kind_names`.
    header : Header
        Its space may be None, and declared later.
    compression : str, optional
        ``none``, ``gzip`` or ``lzf``; by default the header's.
    overwrite : bool
        Replace a store of the same kind that is there; it stays whole until the new one is.
    repeat : bool
        Allow a store of the same kind that is there, if it holds exactly what is written now, as after a command that
        was killed at its end. If it holds anything else, it stays as it is, and the writer's ``commit`` fails.

    Raises
    ------
    OptionError
        If the kind does not exist, or does not support the compression.
    StoreWriteError
        If the directory cannot be written, another process writes there, or it holds a store already, or a ``media``
        folder or names of segments that belong to something else.
    """
    root = Path(path)
    if compression is not None:
        header = replace(header, compression=compression)
    lock = WriterLock(root)
    with lock.released_on_error():
        there = find_kind(root)
        if there not in (None, kind):
            raise StoreWriteError(
                f"{root} holds a {there} store already, not of the kind {kind}: name another directory"
            )
        in_the_way = there == kind and not overwrite
        if in_the_way and not repeat:
            raise already_there(root)
        return StoreWriter(root, store_kind(kind), header, lock, repeats=in_the_way)


def merge_stores(
    sources: Sequence[PathLike],
    target: PathLike,
    *,
    on_repeat: OnRepeat = "refuse",
    overwrite: bool = False,
    link: bool = True,
) -> Merged:
    """Merge stores into a new one, by taking over whole segments and media; computes no vector.

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
        Replace a store of the same kind at the target; otherwise a store there must be the result of the same merge.
    link : bool
        Hard-link segments and media, which never change, if the system can; otherwise copy them.

    Raises
    ------
    StoreNotFoundError, StoreFormatError, StoreCorruptError
        If a source is no sound store.
    StoreWriteError
        If the stores differ in what must be equal, two items share a key, or the target cannot be written.
    SpaceMismatchError
        If their vectors are of two spaces.
    """
    with ExitStack() as stack:
        stores = [stack.enter_context(open_store(path)) for path in sources]
        header = _merged_header(stores)
        if any(Path(path).resolve() == Path(target).resolve() for path in sources):
            raise StoreWriteError(f"{target} is one of the stores to merge; name another directory")
        left_out = _repeated_rows(stores, on_repeat)
        with create_store(target, stores[0].kind.name, header, overwrite=overwrite, repeat=True) as writer:
            for store, rows in zip(stores, left_out, strict=True):
                writer.adopt(store, rows, link=link)
        lost = sum(map(len, left_out))
        return Merged(len(stores), sum(map(len, stores)) - lost, lost)


def _merged_header(stores: Sequence[StoreReader]) -> Header:
    """Make the header of a store that will adopt others, which will declare what computed their vectors."""
    if not stores:
        raise OptionError("name at least one store to merge")
    first = stores[0]
    for other in stores[1:]:
        if other.header.categories != first.header.categories:
            raise StoreWriteError(
                f"{other.path} has other categories than {first.path}; make them alike first, as with clip_labels"
            )
    infos = {name: value for store in reversed(stores) for name, value in store.header.infos.items()}
    with_vectors = next((store for store in stores if store.header.space is not None), first)
    return replace(
        first.header, space=None, precision="unknown", device="unknown", dtype=with_vectors.header.dtype, infos=infos
    )


def _repeated_rows(stores: Sequence[StoreReader], on_repeat: OnRepeat) -> list[list[int]]:
    """Return the rows of each store to leave out, so that each key stays once."""
    starts = np.cumsum([0, *map(len, stores)])
    hashes = np.concatenate([np.zeros(0, np.uint32), *(store.key_hashes for store in stores)])

    def key_of(row: int) -> ItemKey:
        index, local = locate(starts, row)
        return stores[index].key(local)

    repeated = repeated_keys(hashes, key_of)
    if repeated and on_repeat == "refuse":
        key, rows = next(iter(repeated.items()))
        one, other = (stores[locate(starts, row)[0]].path for row in rows[:2])
        raise StoreWriteError(
            f"{len(repeated)} items are in several stores, as {key} in {one} and {other}; "
            "say which stay with --on-repeat first or last"
        )
    left_out: list[list[int]] = [[] for _ in stores]
    for rows in repeated.values():
        for row in rows[1:] if on_repeat == "first" else rows[:-1]:
            index, local = locate(starts, row)
            left_out[index].append(local)
    return left_out


def append_to_store(path: PathLike, header: Header | None = None) -> StoreWriter:
    """Begin to add, replace and remove items of a store; only what changes is written.

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
