"""The manifest: the file that lists what a store consists of; each write replaces it whole."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from datumaro_clip.errors import (
    OptionError,
    StoreCorruptError,
    StoreError,
    StoreFormatError,
    StoreNotFoundError,
    with_cure,
)
from datumaro_clip.store.base import DTYPES, Header
from datumaro_clip.store.columns import BLOCK_BYTES, ColumnSpec, SegmentEntry
from datumaro_clip.store.kinds import kind_names
from datumaro_clip.system.files import atomic_write, is_safe_relative
from datumaro_clip.vectors import VectorSpace

#: The version of the format that is written, and those that are read.
FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)

_FIRST_LINE = re.compile(rb'\{"format":"(\w+)","format_version":(\d{1,9}),"sha256":"([0-9a-f]{64})",')
_SEGMENT_NAME = re.compile(r"segment-(\d{6,12})")
_SEGMENT_FILE = re.compile(r"(segment-\d{6,12})(\.\w+)?")
# Keeps numbers in the manifest below NumPy's limit on a dimension.
_MOST_ROWS = 2**48
# Far more than the checksums and removed rows of any store take; refuses a hostile file of absurd size.
_MOST_BYTES = 1 << 28
_MOST_HEAD = 256
#: The dtypes that each column may have, and the shape of its rows; None for vectors, (D,).
COLUMNS: Mapping[str, tuple[tuple[str, ...], tuple[int, ...] | None]] = {
    "items": (("|u1",), ()),
    "item_offsets": (("<u8",), ()),
    "item_hash": (("<u4",), ()),
    "embeddings": (("<f4", "<f2"), None),
    "embedding_item": (("<i8",), ()),
    "caption_embeddings": (("<f4", "<f2"), None),
    "caption_item": (("<i8",), ()),
    "caption_annotation": (("<i8",), ()),
    "caption_scores": (("<f4",), ()),
    "object_embeddings": (("<f4", "<f2"), None),
    "object_item": (("<i8",), ()),
    "object_annotation": (("<i8",), ()),
    "object_bbox": (("<f4",), (4,)),
    "object_class": (("<u4",), ()),
    "object_confidence": (("<f4",), ()),
    "object_detector": (("<u4",), ()),
    "object_source": (("|u1",), (32,)),
}
#: Each group's columns, with one row for each vector: the vectors, the rows of their items, and further columns.
VECTOR_GROUPS: Mapping[str, tuple[str, ...]] = {
    "embeddings": ("embeddings", "embedding_item"),
    "captions": ("caption_embeddings", "caption_item", "caption_annotation", "caption_scores"),
    "objects": (
        *("object_embeddings", "object_item", "object_annotation", "object_bbox", "object_class"),
        *("object_confidence", "object_detector", "object_source"),
    ),
}

_UNLIKE_THE_FORMAT = (
    *(ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError),
    OptionError,
)


@dataclass(frozen=True)
class Manifest:
    """The contents of a manifest: one state of a store."""

    kind: str
    header: Header
    subsets: Mapping[str, int] = field(default_factory=dict)
    segments: tuple[SegmentEntry, ...] = ()
    embeddings: int = 0
    captions: int = 0
    objects: int = 0
    digest: str = field(default="", compare=False)

    @property
    def items(self) -> int:
        """Number of live items."""
        return sum(segment.live for segment in self.segments)


def segment_name(number: int) -> str:
    """Return the name of the segment with a number."""
    return f"segment-{number:06d}"


def segment_number(name: str) -> int:
    """Return the number in a segment's name; 0 if it is no such name."""
    match = _SEGMENT_NAME.fullmatch(name)
    return int(match[1]) if match else 0


def segment_of(file_name: str) -> str | None:
    """Return the segment that a file or directory is named after; None if it is named otherwise."""
    match = _SEGMENT_FILE.fullmatch(file_name)
    return match[1] if match else None


def manifest_path(root: Path, kind: str) -> Path:
    """Return the path of the manifest of a store of this kind."""
    return root / f"{kind}.json"


def find_kind(root: Path) -> str | None:
    """Return the kind of the store in a directory; None if there is none.

    Raises
    ------
    StoreFormatError
        If there are stores of two kinds, or one of a kind that is not installed.
    StoreError
        If the directory may not be read.
    """
    try:
        found = [kind for kind in kind_names() if manifest_path(root, kind).is_file()]
        unknown = (
            [] if found or not root.is_dir() else [path.name for path in root.glob("*.json") if _is_manifest(path)]
        )
    except PermissionError as exc:
        raise StoreError(with_cure(exc)) from exc
    if unknown:
        raise StoreFormatError(
            f"{root} holds the manifest {unknown[0]}, of a kind of store that is not installed; install its package"
        )
    if len(found) > 1:
        raise StoreFormatError(f"{root} holds a {' and a '.join(found)} store: move one of them elsewhere")
    return found[0] if found else None


def _is_manifest(path: Path) -> bool:
    """Return whether a file begins as the manifest of the kind that it is named after."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        match = _FIRST_LINE.match(file.read(_MOST_HEAD))
    return match is not None and match[1].decode() == path.stem


def write_manifest(root: Path, manifest: Manifest) -> None:
    """Replace the manifest at once: a reader sees the old one or the new one."""
    body = manifest_body(manifest)[1:]
    digest = hashlib.sha256(body).hexdigest()
    first = f'{{"format":"{manifest.kind}","format_version":{FORMAT_VERSION},"sha256":"{digest}",\n'
    with atomic_write(manifest_path(root, manifest.kind)) as file:
        file.write(first.encode() + body)


def manifest_body(manifest: Manifest) -> bytes:
    """Return a manifest's JSON, without format, version and digest."""
    # As ``asdict``, which would copy the checksums one by one.
    segments = [
        {**vars(segment), "columns": {name: vars(column) for name, column in segment.columns.items()}}
        for segment in manifest.segments
    ]
    value = {
        "header": asdict(manifest.header),
        "items": manifest.items,
        "embeddings": manifest.embeddings,
        "captions": manifest.captions,
        "objects": manifest.objects,
        "subsets": dict(manifest.subsets),
        "segments": segments,
    }
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def read_manifest(root: Path) -> Manifest:
    """Read the manifest of the store in a directory.

    Raises
    ------
    StoreNotFoundError
        If there is no store.
    StoreFormatError
        If the manifest is foreign, or of a version that this release does not know.
    StoreCorruptError
        If it contradicts its digest or itself.
    """
    kind, path = _locate(root)
    body, digest = _checked_body(path, kind)
    try:
        return replace(_from_json(kind, json.loads(body)), digest=digest)
    except _UNLIKE_THE_FORMAT as exc:
        raise StoreCorruptError(f"{path} contradicts the format: {exc!r}") from exc


def store_digest(path: str | os.PathLike[str]) -> str:
    """Return the digest of a store's manifest, which changes with every write; reads only its first line.

    Raises
    ------
    StoreNotFoundError, StoreFormatError
        If there is no store, or a foreign one.
    StoreError
        If its manifest cannot be read.
    """
    kind, manifest = _locate(Path(path))
    try:
        with manifest.open("rb") as file:
            return _head(manifest, file.readline(_MOST_HEAD), kind)[1]
    except OSError as exc:
        raise StoreError(with_cure(exc)) from exc


def _locate(root: Path) -> tuple[str, Path]:
    """Return the kind and the manifest's path of the store in a directory; raise an error if there is none."""
    kind = find_kind(root)
    if kind is not None:
        return kind, manifest_path(root, kind)
    if root.is_file():
        raise StoreNotFoundError(f"{root} is a file and no embedding store; name the store's directory")
    if not root.exists():
        raise StoreNotFoundError(f"there is no embedding store at {root}, nor anything else; check the path")
    names = " or ".join(f"{kind}.json" for kind in kind_names())
    raise StoreNotFoundError(
        f"{root} holds no embedding store: there is no {names} in it; datum export -f clip_hdf5 -o DIR writes one"
    )


def _checked_body(path: Path, kind: str) -> tuple[bytes, str]:
    """Check format, version and digest of a manifest; return its JSON without the first line, and the digest."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise StoreFormatError(f"{path} is too large to be a store's manifest; name another directory")
        content = path.read_bytes()
    except PermissionError as exc:
        raise StoreError(with_cure(exc)) from exc
    except OSError as exc:
        raise StoreCorruptError(f"{path} cannot be read: {exc}") from exc
    first, _, body = content.partition(b"\n")
    version, digest = _head(path, first, kind)
    if version not in READABLE_VERSIONS:
        raise StoreFormatError(
            f"{path} is of format version {version}; this release reads versions "
            f"{' and '.join(map(str, READABLE_VERSIONS))}. Install a newer datumaro-clip"
        )
    if hashlib.sha256(body).hexdigest() != digest:
        raise StoreCorruptError(f"{path} contradicts its digest: it was damaged or changed by hand")
    return b"{" + body, digest


def _head(path: Path, first: bytes, kind: str) -> tuple[int, str]:
    """Return format version and digest from a manifest's first line."""
    match = _FIRST_LINE.fullmatch(first.removesuffix(b"\n"))
    if match is None or match[1].decode() != kind:
        raise StoreFormatError(
            f"{path} is not the manifest of a {kind} store, or its first line is damaged: "
            "name another directory, or restore the store from a copy"
        )
    return int(match[2]), match[3].decode()


def _from_json(kind: str, value: dict[str, Any]) -> Manifest:
    header = dict(value["header"])
    space = header.pop("space")
    manifest = Manifest(
        kind=kind,
        header=Header(space=None if space is None else VectorSpace(**space), **header),
        subsets=dict(value["subsets"]),
        segments=tuple(_segment(entry) for entry in value["segments"]),
        embeddings=int(value["embeddings"]),
        captions=int(value["captions"]),
        objects=int(value.get("objects", 0)),
    )
    dimension = None if manifest.header.space is None else manifest.header.space.dimension
    for entry in manifest.segments:
        for name in entry.columns.keys() & {vectors for vectors, *_ in VECTOR_GROUPS.values()}:
            kept_as = entry.columns[name].dtype, entry.columns[name].shape[1]
            _require(kept_as == (DTYPES[manifest.header.dtype], dimension), f"{name} unlike the header")
    _require(len({entry.name for entry in manifest.segments}) == len(manifest.segments), "a segment named twice")
    _require(sum(manifest.subsets.values()) == manifest.items == value["items"], "subsets of another number of items")
    return manifest


def _segment(value: dict[str, Any]) -> SegmentEntry:
    columns = {name: _column(name, spec) for name, spec in value["columns"].items()}
    lists = {name: tuple(value.get(name, ())) for name in ("removed", "classes", "detectors")}
    entry = SegmentEntry(**{**value, **lists, "columns": columns})
    _require(segment_number(entry.name) > 0, f"segment name {entry.name!r}")
    _require(all(is_safe_relative(name) for name in entry.files), "a file name that leaves the store")
    _require(all(type(name) is str for name in (*entry.classes, *entry.detectors)), "a class that is no name")
    removed = np.array(entry.removed, dtype=np.int64)
    _require(bool(np.all(np.diff(removed) > 0)), "removed rows out of order")
    _require(not len(removed) or (removed[0] >= 0 and removed[-1] < entry.items), "removed rows that are not there")
    _require("items" in columns, "no records")
    _require(columns["item_offsets"].shape == (entry.items + 1,), "offsets for another number of items")
    _require(columns["item_hash"].shape == (entry.items,), "hashes for another number of items")
    for group in VECTOR_GROUPS.values():
        lengths = {columns[name].shape[0] if name in columns else 0 for name in group}
        _require(len(lengths) == 1, f"columns of different lengths: {', '.join(group)}")
    return entry


def _column(name: str, value: dict[str, Any]) -> ColumnSpec:
    spec = ColumnSpec(value["dtype"], tuple(value["shape"]), value["block_rows"], tuple(value["crc32"]))
    dtypes, row_shape = COLUMNS[name]
    _require(spec.dtype in dtypes, f"column {name!r} of {spec.dtype!r}")
    _require(all(isinstance(n, int) and 0 < n < _MOST_ROWS for n in spec.shape), f"the shape of column {name!r}")
    is_row = len(spec.shape) == 2 if row_shape is None else spec.shape[1:] == row_shape
    _require(is_row, f"the shape of column {name!r}")
    _require(all(isinstance(n, int) for n in (spec.block_rows, *spec.crc32)), f"the blocks of column {name!r}")
    _require(spec.block_rows > 0, f"the blocks of column {name!r}")
    _require(-(-spec.shape[0] // spec.block_rows) == len(spec.crc32), f"the checksums of column {name!r}")
    row_bytes = spec.nbytes // spec.shape[0]
    _require(spec.block_rows == max(1, BLOCK_BYTES // row_bytes), f"the blocks of column {name!r}")
    return spec


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)
