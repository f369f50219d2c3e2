"""The contents of a store, header and records, independent of files and of Datumaro."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from datumaro_clip.errors import OptionError, StoreError, StoreWriteError, with_cure
from datumaro_clip.system.machine import library_versions
from datumaro_clip.vectors import FloatArray, ItemKey, Provenance, VectorSpace

DTYPES = {"float32": "<f4", "float16": "<f2"}
COMPRESSIONS = ("none", "gzip", "lzf")
#: Attributes of items with one meaning in all stores: an item's tags (see :func:`tags_of`), and when it was added, in
#: ISO 8601.
TAGS, ADDED = "tags", "clip_added"

# Libraries whose versions a store records, because they affect its contents.
_LIBRARIES = ("datumaro", "datumaro-clip", "h5py", "numpy", "openvino")

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Header:
    """The settings and facts of a whole store.

    Attributes
    ----------
    space : VectorSpace or None
        The one space of all its vectors; None while it has no vectors.
    precision, device : str
        Precision and device that computed the newest vectors.
    dtype : str
        ``float32`` or ``float16``: the type of the stored vectors.
    media_type : str
        Datumaro's name of the medium in lower case.
    categories, infos : mapping
        JSON values.
    compression : str
        ``none``, ``gzip`` or ``lzf``.
    versions : mapping
        Library versions, by name.
    """

    space: VectorSpace | None = None
    precision: str = "unknown"
    device: str = "unknown"
    dtype: str = "float32"
    media_type: str = "image"
    categories: Mapping[str, Any] = field(default_factory=dict)
    infos: Mapping[str, Any] = field(default_factory=dict)
    compression: str = "none"
    versions: Mapping[str, str] = field(default_factory=partial(library_versions, _LIBRARIES))

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise OptionError(f"a store's dtype must be one of {', '.join(DTYPES)}, got {self.dtype!r}")
        if self.compression not in COMPRESSIONS:
            raise OptionError(f"compression must be one of {', '.join(COMPRESSIONS)}, got {self.compression!r}")

    @property
    def class_names(self) -> list[str]:
        """The names of the dataset's labels, in the order of their numbers."""
        return [str(name) for name, *_ in self.categories.get("label", {}).get("items", ())]

    @property
    def provenance(self) -> Provenance | None:
        """Space, precision and device of the newest vectors; None if there are no vectors."""
        return None if self.space is None else Provenance(self.space, self.precision, self.device)

    def computed_by(self, provenance: Provenance) -> Header:
        """Return the header with the space, precision and device of a provenance."""
        return replace(self, space=provenance.space, precision=provenance.precision, device=provenance.device)


@dataclass(frozen=True, eq=False)
class CaptionVector:
    """The vector of one of an item's texts.

    Attributes
    ----------
    annotation_index : int
        Position of the text's annotation among the item's annotations.
    vector : numpy.ndarray
        Shape (D,), unit length.
    score : float or None
        Cosine similarity of text and picture, in [-1, 1].
    """

    annotation_index: int
    vector: FloatArray
    score: float | None = None


@dataclass(frozen=True, eq=False)
class ObjectVector:
    """The vector of one object in an item's picture, computed from the part of the picture inside its box.

    Attributes
    ----------
    annotation_index : int
        Position of the object's annotation among the item's annotations.
    vector : numpy.ndarray
        Shape (D,), unit length.
    bbox : tuple of float
        x1, y1, x2, y2 in pixels of the stored picture, kept as float32; the box that the vector was computed from.
    class_name : str
        The object's class; empty if it has none.
    confidence : float or None
        The detector's confidence in [0, 1]; None for a box that was not detected.
    detector : str
        Fingerprint of the detector; empty for a box that was not detected.
    source : str
        SHA-256, as 64 hexadecimal digits, of what the vector was computed from (picture, box, options of the crop);
        empty if unknown.
    """

    annotation_index: int
    vector: FloatArray
    bbox: tuple[float, float, float, float]
    class_name: str = ""
    confidence: float | None = None
    detector: str = ""
    source: str = ""


@dataclass(frozen=True, eq=False)
class Record:
    """One item of a store.

    Attributes
    ----------
    key : ItemKey
    payload : dict
        JSON values (no NaN, integers of 64 bits at most).
    embedding : numpy.ndarray or None
        Shape (D,), unit length; float32 when read.
    captions : tuple of CaptionVector
    objects : tuple of ObjectVector
    """

    key: ItemKey
    payload: Mapping[str, Any] = field(default_factory=dict)
    embedding: FloatArray | None = None
    captions: tuple[CaptionVector, ...] = ()
    objects: tuple[ObjectVector, ...] = ()


class ObjectBlock(NamedTuple):
    """Object vectors of consecutive rows.

    Attributes
    ----------
    rows : numpy.ndarray
        (b,) int64 rows of the items, in the store or in the segment, whichever returned the block.
    annotations : numpy.ndarray
        (b,) int64, indices among the items' annotations.
    vectors : numpy.ndarray
        (b, D) in the store's dtype.
    boxes : numpy.ndarray
        (b, 4) float32: x1, y1, x2, y2 in pixels of the stored picture.
    classes, detectors : numpy.ndarray
        (b,) of str.
    confidences : numpy.ndarray
        (b,) float32 in [0, 1]; NaN for a box that was not detected.
    sources : numpy.ndarray
        (b, 32) uint8: SHA-256 of what the vectors were computed from; zeros if unknown.
    """

    rows: npt.NDArray[np.int64]
    annotations: npt.NDArray[np.int64]
    vectors: Array
    boxes: FloatArray
    classes: npt.NDArray[np.str_]
    confidences: FloatArray
    detectors: npt.NDArray[np.str_]
    sources: npt.NDArray[np.uint8]


def key_hash(key: ItemKey) -> int:
    """Return a key's entry in the column ``item_hash``: the CRC-32 of subset, NUL, id."""
    return key_hashes(key.subset, [key.id])[0]


def key_hashes(subset: str, ids: Sequence[str]) -> list[int]:
    """Return the :func:`key_hash` of each of a subset's ids."""
    start = zlib.crc32(f"{subset}\0".encode("utf-8", "surrogatepass"))
    return [zlib.crc32(id.encode("utf-8", "surrogatepass"), start) for id in ids]


def subset_runs(keys: Sequence[ItemKey]) -> list[tuple[str, list[str]]]:
    """Group consecutive keys of one subset: (subset, ids) pairs, in order."""
    return [(subset, [key.id for key in run]) for subset, run in groupby(keys, attrgetter("subset"))]


def to_line(key: ItemKey, payload: Mapping[str, Any]) -> bytes:
    """Write a record as its line of JSON, newline included."""
    fields = {"id": key.id, "subset": key.subset}
    record = {**fields, "payload": payload} if payload else fields
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        # A lone surrogate, as in the name of a file that is not UTF-8: JSON can escape it, but orjson refuses it.
        return json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def to_lines(subset: str, ids: Sequence[str]) -> bytes:
    """Write records that are only keys as lines of JSON; as :func:`to_line`, for many ids of one subset."""
    with suppress(TypeError):
        text = orjson.dumps(ids)
        # If no id holds a quote, the bytes between two ids occur nowhere else.
        if ids and rb"\"" not in text:
            tail = b'","subset":' + orjson.dumps(subset) + b"}\n"
            return b'{"id":"' + text[2:-2].replace(b'","', tail + b'{"id":"') + tail
    return b"".join(to_line(ItemKey(id, subset), {}) for id in ids)


def from_line(line: bytes) -> tuple[ItemKey, dict[str, Any]]:
    """Parse the key and payload of a record's line.

    Raises
    ------
    ValueError
        If it is no line of a record.
    """
    try:
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            record = json.loads(line)
        key, payload = ItemKey(record["id"], record["subset"]), record.get("payload", {})
    except (KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ValueError(f"{exc!r}") from exc
    if not (isinstance(key.id, str) and isinstance(key.subset, str) and isinstance(payload, dict)):
        raise ValueError("id, subset or payload is of another type")
    return key, payload


def tags_of(value: object) -> list[str]:
    """Return an item's tags from its attribute: a list, plain or as the format marks lists, or a text with commas."""
    values = value.get("v") if isinstance(value, Mapping) else value
    if isinstance(values, str):
        values = [part for part in map(str.strip, values.split(",")) if part]
    values = values if isinstance(values, list | tuple | set) else ()
    return [str(tag) for tag in values if isinstance(tag, str | int | float)]


@contextmanager
def write_errors(path: object) -> Iterator[None]:
    """Turn errors of the file system in a block into :class:`StoreWriteError`."""
    try:
        yield
    except StoreError:
        raise
    except OSError as exc:
        raise StoreWriteError(
            f"cannot write the store {path}: {with_cure(exc)}; what was stored there before is unchanged, and the same "
            "command can be run again"
        ) from exc
