"""Write a store: new segments beside the old ones, then one rename of the manifest that makes them the store."""

from __future__ import annotations

import filecmp
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from datumaro_clip.errors import InvalidVectorError, OptionError, StoreError, StoreWriteError
from datumaro_clip.store.base import DTYPES, Array, Header, ObjectVector, Record, write_errors
from datumaro_clip.store.columns import SegmentEntry
from datumaro_clip.store.hashes import locate, repeated_keys
from datumaro_clip.store.kinds import StoreKind
from datumaro_clip.store.lock import WriterLock, clear_leftovers, named_segments
from datumaro_clip.store.manifest import (
    VECTOR_GROUPS,
    Manifest,
    manifest_body,
    read_manifest,
    segment_name,
    write_manifest,
)
from datumaro_clip.store.media import MediaFolder, link_or_copy
from datumaro_clip.store.reader import StoreReader
from datumaro_clip.store.segments import SegmentReader, SegmentWriter, require_unit_rows
from datumaro_clip.vectors import ItemKey, Provenance, require_same_space


class StoreWriter:
    """One write to a store; at its end, all of it becomes visible, or nothing.

    A context manager: it commits when the block ends without an exception, and aborts otherwise. Made by
    :func:`~datumaro_clip.store.create_store` and :func:`~datumaro_clip.store.append_to_store`.

    Attributes
    ----------
    path : Path
    header : Header
    media : MediaFolder
        Keeps the media of the records.
    """

    def __init__(
        self,
        path: Path,
        kind: StoreKind,
        header: Header,
        lock: WriterLock,
        previous: StoreReader | None = None,
        *,
        repeats: bool = False,
    ) -> None:
        if header.compression not in kind.compressions:
            raise OptionError(f"{kind.name} cannot compress with {header.compression}; use clip_hdf5")
        self.path, self.header = path, header
        self.media = MediaFolder(path)
        self._kind, self._lock, self._previous, self._repeats = kind, lock, previous, repeats
        self._removed: dict[str, set[int]] = defaultdict(set)
        self._subsets: Counter[str] = Counter({} if previous is None else previous.subsets)
        self._vectors: Counter[str] = Counter()
        self._segment: SegmentWriter | None = None
        self._adopted: list[SegmentEntry] = []
        # Names of this write's segments; the last is that of added items.
        self._names: list[str] = []
        self._is_half_made = False
        with write_errors(path):
            self._highest = clear_leftovers(path, kind)

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.commit()
        else:
            self.abort()

    def declare(self, provenance: Provenance) -> None:
        """Declare what computes the vectors; must precede the first vector, unless the header says it.

        Raises
        ------
        SpaceMismatchError
            If the store's vectors are of another space.
        """
        if self.header.space is not None:
            require_same_space(self.header.space, provenance.space)
        self.header = self.header.computed_by(provenance)

    def add(self, record: Record) -> None:
        """Add an item; replaces one that an earlier write stored under the same key.

        Raises
        ------
        StoreWriteError
            If the store cannot be written; the write can then only be aborted.
        InvalidVectorError
            If a vector is not a unit row of the store's dimension, or an object's box or confidence is impossible;
            nothing was added.
        """
        vectors = (record.embedding, *(c.vector for c in record.captions), *(o.vector for o in record.objects))
        for vector in vectors:
            if vector is not None:
                self._require_fitting(np.shape(vector))
                require_unit_rows([record.key], np.asarray(vector, DTYPES[self.header.dtype])[None])
        for found in record.objects:
            _require_sound(record.key, found)
        with write_errors(self.path):
            segment = self._begin()
            if self._previous is not None:
                self._remove_row(self._previous, record.key.subset, self._previous.find(record.key))
            segment.add(record)
        self._is_half_made = False

    def add_rows(self, keys: Sequence[ItemKey], vectors: Array) -> None:
        """Add items with a vector and nothing else, (n, D) unit rows; faster than adding them one by one.

        Raises
        ------
        StoreWriteError, InvalidVectorError
            As :meth:`add`; but a row that is not of unit length is found after others were written, so that the write
            can then only be aborted.
        """
        if np.ndim(vectors) != 2 or len(keys) != len(vectors):
            raise InvalidVectorError(f"wanted {len(keys)} vectors (N, D), got shape {np.shape(vectors)}")
        self._require_fitting(np.shape(vectors)[1:])
        with write_errors(self.path):
            segment = self._begin()
            if self._previous is not None:
                for key, row in zip(keys, self._previous.find_all(keys), strict=True):
                    self._remove_row(self._previous, key.subset, row)
            segment.add_rows(keys, vectors)
        self._is_half_made = False

    def remove(self, key: ItemKey) -> bool:
        """Remove an item that an earlier write stored; return whether there was one."""
        self._require_usable()
        return self._previous is not None and self._remove_row(self._previous, key.subset, self._previous.find(key))

    def adopt(self, store: StoreReader, without: Collection[int] = (), *, link: bool = True) -> None:
        """Take over segments and media of another store as they are; computes and compares no vector.

        Rewrites a segment's records only if a medium in them had to be renamed, because another file has its name.
        Items come in the order of the adopted stores, before those that are added one by one.

        Parameters
        ----------
        store : StoreReader
            A store of the same kind, space, dtype and media type.
        without : collection of int
            Store rows to leave out.
        link : bool
            Hard-link the files, which never change, if the system can; otherwise copy them.

        Raises
        ------
        StoreWriteError
            If its kind, dtype or media type differs, or this store cannot be written; the write can then only be
            aborted.
        SpaceMismatchError
            If its vectors are of another space.
        """
        self._require_usable()
        for what, mine, other in (
            ("kind", self._kind.name, store.kind.name),
            ("dtype", self.header.dtype, self.header.dtype if store.header.space is None else store.header.dtype),
            ("media type", self.header.media_type, store.header.media_type),
        ):
            if mine != other:
                raise StoreWriteError(f"{store.path} is of the {what} {other}, wanted {mine}; export it anew as that")
        if store.header.provenance is not None:
            self.declare(store.header.provenance)
        left_out: dict[str, set[int]] = defaultdict(set)
        for segment, local in map(store.locate, without):
            left_out[segment.entry.name].add(local)
        self._is_half_made = True
        with write_errors(self.path):
            self._subsets.update(store.subsets)
            self._subsets.subtract(store.key(row).subset for row in without)
            renamed = self.media.adopt(store.path, link=link)
            for segment in store.segments:
                removed = tuple(sorted({*segment.entry.removed, *left_out[segment.entry.name]}))
                if len(removed) < segment.entry.items:
                    self._take(store.path, segment, removed, renamed, link=link)
        self._is_half_made = False

    def _take(
        self, root: Path, segment: SegmentReader, removed: tuple[int, ...], renamed: Mapping[str, str], *, link: bool
    ) -> None:
        name, old = self._next_name(), segment.entry
        if renamed and any(_renamed(payload, renamed) != payload for _, payload in segment.parsed()):
            anew = SegmentWriter(self._kind.create_segment(self.path, name, self.header.compression), self.header.dtype)
            for row in sorted(set(range(old.items)) - set(removed)):
                record = segment.record(row)
                anew.add(replace(record, payload=_renamed(record.payload, renamed)))
            entry = replace(
                anew.finish(name, self.header), precision=old.precision, device=old.device, versions=old.versions
            )
        else:
            source, target = (self._kind.segment_path(*place) for place in ((root, old.name), (self.path, name)))
            for file, copy in _paired(source, target, old):
                copy.parent.mkdir(exist_ok=True)
                link_or_copy(file, copy, link=link)
            files_by_name = {file.replace(old.name, name): size for file, size in old.files.items()}
            entry = replace(old, name=name, removed=removed, files=files_by_name)
        self._adopted.append(entry)

    def _next_name(self) -> str:
        self._highest += 1
        self._names.append(segment_name(self._highest))
        return self._names[-1]

    def _remove_row(self, previous: StoreReader, subset: str, row: int | None) -> bool:
        if row is None:
            return False
        segment, local = previous.locate(row)
        removed = self._removed[segment.entry.name]
        is_news = local not in removed
        removed.add(local)
        self._subsets[subset] -= is_news
        return is_news

    def commit(self) -> None:
        """Make what was written the store, and end the write; a second call does nothing.

        Raises
        ------
        StoreWriteError
            If the store cannot be written, two items share a key, or an item could not be added whole.
        """
        if not self._lock.is_held:
            return
        try:
            self._require_usable()
            with write_errors(self.path):
                manifest = self._manifest()
                self.media.sync()
                if not _is_stored(self.path, manifest, self._kind):
                    if self._repeats:
                        raise already_there(self.path)
                    write_manifest(self.path, manifest)
        except BaseException:
            self.abort()
            raise
        self._close_previous()
        with suppress(OSError):
            clear_leftovers(self.path, self._kind)
            if self._previous is None:
                self.media.remove_others()
        self._lock.release()

    def abort(self) -> None:
        """End the write, and leave what was stored before as it was; does nothing after :meth:`commit`."""
        if not self._lock.is_held:
            return
        if self._segment is not None:
            self._segment.discard()
        self._close_previous()
        # An interruption may come after the rename that made this write the store; its media then stay.
        if set(self._names).isdisjoint(named_segments(self.path) or ()):
            self.media.discard()
        with suppress(OSError):
            clear_leftovers(self.path, self._kind)
        self._lock.give_up()

    def _close_previous(self) -> None:
        """Close the files of the previous store, because some systems remove no open files."""
        if self._previous is not None:
            self._previous.close()

    def _require_usable(self) -> None:
        if not self._lock.is_held:
            raise StoreWriteError(f"this write to {self.path} has ended; begin another with append_to_store")
        if self._is_half_made:
            raise StoreWriteError(
                f"an item could not be written, so nothing of this write to {self.path} can be stored; begin another"
            )

    def _begin(self) -> SegmentWriter:
        """Return the segment to add to; until the caller resets ``_is_half_made``, the write cannot be committed."""
        self._require_usable()
        self._is_half_made = True
        if self._segment is None:
            sink = self._kind.create_segment(self.path, self._next_name(), self.header.compression)
            self._segment = SegmentWriter(sink, self.header.dtype)
        return self._segment

    def _manifest(self) -> Manifest:
        """Finish the segment of added items, and return the manifest of the store after this write."""
        added = []
        if self._segment is not None:
            added.append(self._segment.finish(self._names[-1], self.header))
            self._subsets.update(self._segment.subsets)
        old = [] if self._previous is None else self._previous.segments
        new = [SegmentReader(self.path, e, self._kind.open_segment(self.path, e)) for e in (*self._adopted, *added)]
        entries = [self._counted(segment) for segment in (*old, *new)]
        # An added item has replaced a stored item of its key; an adopted item has not.
        compared = slice(None) if self._adopted else slice(len(old), None)
        repeated = _repeated_key([*old, *new][compared], entries[compared])
        for segment in new:
            segment.close()
        if repeated is not None:
            raise StoreWriteError(
                f"two items are called {repeated}; an item's id and subset must be its own: rename one, or drop it "
                "with clip_clean"
            )
        return Manifest(
            kind=self._kind.name,
            header=self.header,
            subsets={name: count for name, count in self._subsets.items() if count},
            segments=tuple(entry for entry in entries if entry.live),
            embeddings=self._vectors["embeddings"],
            captions=self._vectors["captions"],
            objects=self._vectors["objects"],
        )

    def _counted(self, segment: SegmentReader) -> SegmentEntry:
        """Return a segment's entry after this write, and count its live vectors."""
        entry = segment.entry
        removed = np.array(sorted({*entry.removed, *self._removed.get(entry.name, ())}), np.int64)
        if len(removed) == len(entry.removed):
            self._vectors.update({group: segment.live_count(group) for group in VECTOR_GROUPS})
            return entry
        for group in VECTOR_GROUPS:
            rows = segment.item_rows(group)
            self._vectors[group] += len(rows) - int(np.isin(rows, removed).sum())
        return replace(entry, removed=tuple(removed.tolist()))

    def _require_fitting(self, shape: tuple[int, ...]) -> None:
        if self.header.space is None:
            raise InvalidVectorError("say what computed the vectors before adding any: StoreWriter.declare(provenance)")
        if shape != (self.header.space.dimension,):
            raise InvalidVectorError(f"a vector of {self.header.space} was wanted, got one of shape {shape}")


def _paired(one: Path, other: Path, entry: SegmentEntry) -> list[tuple[Path, Path]]:
    """Pair the files of two segments with equal file names; a segment is a file or a directory."""
    return [(one, other)] if one.is_file() else [(one / name, other / name) for name in entry.files]


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Return a payload with the new names of its media."""
    if isinstance(value, list):
        return [_renamed(element, names) for element in value]
    if not isinstance(value, Mapping):
        return value
    renamed = {key: _renamed(element, names) for key, element in value.items()}
    if isinstance(value.get("file"), str):
        renamed["file"] = names.get(value["file"], value["file"])
    return renamed


def _repeated_key(segments: Sequence[SegmentReader], entries: Sequence[SegmentEntry]) -> ItemKey | None:
    """Return a key that two live rows of the segments share; None if there is none."""
    rows = [np.delete(np.arange(entry.items), list(entry.removed)) for entry in entries]
    hashes = [segment.columns["item_hash"].all()[live] for segment, live in zip(segments, rows, strict=True)]
    starts = np.cumsum([0, *map(len, rows)])

    def key(row: int) -> ItemKey:
        index, live = locate(starts, row)
        return segments[index].key(int(rows[index][live]))

    return next(iter(repeated_keys(np.concatenate([np.zeros(0, np.uint32), *hashes]), key)), None)


def already_there(root: Path) -> StoreWriteError:
    """Make the error for a store that is in the way of a new one; says what overwriting it would delete."""
    manifest = read_manifest(root)
    return StoreWriteError(
        f"{root} holds a {manifest.kind} store of {manifest.items} items already, which overwriting would delete; "
        f"to add to it, use: datum-clip add {root} DATASET"
    )


def _require_sound(key: ItemKey, found: ObjectVector) -> None:
    """Raise :class:`InvalidVectorError` unless an object's box, confidence and digest are possible."""
    x1, y1, x2, y2 = found.bbox
    if not (np.isfinite(found.bbox).all() and x1 <= x2 and y1 <= y2):
        raise InvalidVectorError(f"an object of {key} has the box {found.bbox}; wanted finite x1 <= x2 and y1 <= y2")
    if not (found.confidence is None or 0 <= found.confidence <= 1):
        raise InvalidVectorError(f"an object of {key} has the confidence {found.confidence}; wanted one from 0 to 1")
    if not re.fullmatch("([0-9a-f]{64})?", found.source):
        raise InvalidVectorError(f"an object of {key} has the source {found.source!r}; wanted 64 hexadecimal digits")
    if found.annotation_index < 0:
        raise InvalidVectorError(f"an object of {key} has the annotation {found.annotation_index}; wanted 0 or more")


def _is_stored(root: Path, manifest: Manifest, kind: StoreKind) -> bool:
    """Return whether the store on disk is the one that a manifest describes, except for the names of segments.

    The store then keeps its files, so that equal exports are equal bytes. The manifest's segments must be on the disk.
    """
    try:
        stored = read_manifest(root)
    except StoreError:
        return False

    def unnamed(one: Manifest) -> bytes:
        segments = (
            replace(s, name="", files={file.replace(s.name, ""): size for file, size in s.files.items()})
            for s in one.segments
        )
        return manifest_body(replace(one, segments=tuple(segments)))

    if unnamed(stored) != unnamed(manifest):
        return False
    for one, other in zip(stored.segments, manifest.segments, strict=True):
        old, new = (kind.segment_path(root, entry.name) for entry in (one, other))
        if old != new and not all(filecmp.cmp(*pair, shallow=False) for pair in _paired(old, new, one)):
            return False
    return True
