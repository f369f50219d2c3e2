"""Write and read a segment: the rows that one write added, as columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datumaro_clip.errors import InvalidVectorError, StoreCorruptError, StoreError
from datumaro_clip.store.base import (
    DTYPES,
    Array,
    CaptionVector,
    Header,
    ObjectBlock,
    ObjectVector,
    Record,
    from_line,
    key_hashes,
    subset_runs,
    to_line,
    to_lines,
)
from datumaro_clip.store.columns import Column, ColumnWriter, SegmentEntry
from datumaro_clip.store.kinds import SegmentSink, SegmentSource
from datumaro_clip.store.manifest import COLUMNS, VECTOR_GROUPS
from datumaro_clip.vectors import ItemKey, is_unit_rows, unit_lengths

# Records that are gathered before they become arrays.
_PENDING = 1024
# Keys that become lines and hashes in one step.
_KEYS = 16384
_SHA256_BYTES = 32

Rows = npt.NDArray[np.int64]


class SegmentWriter:
    """Turns records into columns, with at most a few blocks of each in memory.

    Attributes
    ----------
    items : int
        Number of records added.
    subsets : Counter
        Number of records written by subset; all that were added are written by :meth:`finish`.
    """

    def __init__(self, sink: SegmentSink, dtype: str) -> None:
        self._sink = sink
        self._vector_dtype = DTYPES[dtype]
        self._columns: dict[str, ColumnWriter] = {}
        # The number of each class name and detector of the objects.
        self._classes: dict[str, int] = {}
        self._detectors: dict[str, int] = {}
        self._pending: list[tuple[int, Record]] = []
        self._extend("item_offsets", [0])
        self._bytes = 0
        self.items = 0
        self.subsets: Counter[str] = Counter()

    def add(self, record: Record) -> None:
        """Append a record whose vectors are unit rows."""
        self._pending.append((self.items, record))
        self.items += 1
        if len(self._pending) == _PENDING:
            self._flush()

    def add_rows(self, keys: Sequence[ItemKey], vectors: Array) -> None:
        """Append records with a vector and nothing else; checks ``vectors``, (n, D), a part at a time."""
        self._flush()
        for start in range(0, len(keys), _KEYS):
            part = slice(start, start + _KEYS)
            rows = np.ascontiguousarray(vectors[part], self._vector_dtype)
            require_unit_rows(keys[part], rows)
            # Before the keys, so that the vectors are written while keys become lines.
            self._extend("embeddings", rows)
            runs = subset_runs(keys[part])
            self._write_lines(b"".join([to_lines(subset, ids) for subset, ids in runs]))
            self._count_and_hash(runs)
        self._extend("embedding_item", np.arange(self.items, self.items + len(keys)))
        self._sink.wait()
        self.items += len(keys)

    def finish(self, name: str, header: Header) -> SegmentEntry:
        """Write what is pending, and return the segment's entry in the manifest.

        Parameters
        ----------
        name : str
            The segment's name.
        header : Header
            With the precision, device and versions that computed the vectors.
        """
        self._flush()
        for _, column in sorted(self._columns.items()):
            column.flush()
        return SegmentEntry(
            name=name,
            items=self.items,
            removed=(),
            precision=header.precision,
            device=header.device,
            versions=header.versions,
            files=self._sink.close(),
            columns={name: column.spec for name, column in sorted(self._columns.items())},
            classes=tuple(self._classes),
            detectors=tuple(self._detectors),
        )

    def discard(self) -> None:
        """Close the files, whatever they hold."""
        self._sink.discard()

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        self._write_lines(b"".join(to_line(record.key, record.payload) for _, record in pending))
        self._count_and_hash(subset_runs([record.key for _, record in pending]))
        own = [(row, record.embedding) for row, record in pending if record.embedding is not None]
        captions = [(row, caption) for row, record in pending for caption in record.captions]
        objects = [(row, found) for row, record in pending for found in record.objects]
        columns: dict[str, list[Any]] = {
            "embeddings": [vector for _, vector in own],
            "embedding_item": [row for row, _ in own],
            "caption_embeddings": [c.vector for _, c in captions],
            "caption_item": [row for row, _ in captions],
            "caption_annotation": [c.annotation_index for _, c in captions],
            "caption_scores": [np.nan if c.score is None else c.score for _, c in captions],
            "object_embeddings": [o.vector for _, o in objects],
            "object_item": [row for row, _ in objects],
            "object_annotation": [o.annotation_index for _, o in objects],
            "object_bbox": [o.bbox for _, o in objects],
            "object_class": [self._classes.setdefault(o.class_name, len(self._classes)) for _, o in objects],
            "object_confidence": [np.nan if o.confidence is None else o.confidence for _, o in objects],
            "object_detector": [self._detectors.setdefault(o.detector, len(self._detectors)) for _, o in objects],
            "object_source": [tuple(bytes.fromhex(o.source) or bytes(_SHA256_BYTES)) for _, o in objects],
        }
        for name, values in columns.items():
            self._extend(name, values)

    def _write_lines(self, lines: bytes) -> None:
        characters = np.frombuffer(lines, np.uint8)
        self._extend("items", characters)
        # Every newline ends a line, because JSON escapes those inside strings.
        self._extend("item_offsets", self._bytes + 1 + np.flatnonzero(characters == ord("\n")))
        self._bytes += len(lines)

    def _count_and_hash(self, runs: list[tuple[str, list[str]]]) -> None:
        for subset, ids in runs:
            self.subsets[subset] += len(ids)
        self._extend("item_hash", [crc32 for subset, ids in runs for crc32 in key_hashes(subset, ids)])

    def _extend(self, column: str, values: list[Any] | Array) -> None:
        if not len(values):
            return
        (dtype, *_), row_shape = COLUMNS[column]
        rows = np.asarray(values, self._vector_dtype if row_shape is None else dtype)
        if column not in self._columns:
            self._columns[column] = ColumnWriter(column, rows.dtype.str, rows.shape[1:], self._sink)
        self._columns[column].extend(rows)


class SegmentReader:
    """A segment's records and vectors; its rows include removed ones.

    Each column is read at its first use; reading vectors decodes no payload.

    Attributes
    ----------
    entry : SegmentEntry
        The segment's entry in the manifest; ``entry.name`` and ``entry.digest`` identify it.
    """

    def __init__(self, root: Path, entry: SegmentEntry, source: SegmentSource) -> None:
        self.entry = entry
        self._path = root / entry.name
        self._source = source
        rows = source.columns
        self._columns: Mapping[str, Column] | None = {
            name: Column(f"{self._path}/{name}", spec, rows[name]) for name, spec in entry.columns.items()
        }
        self._item_rows: dict[str, Rows] = {}

    def __len__(self) -> int:
        return self.entry.items

    @property
    def columns(self) -> Mapping[str, Column]:
        """The columns by name; raises :class:`StoreError` after :meth:`close`."""
        if self._columns is None:
            raise StoreError(f"{self._path} was closed; open the store again")
        return self._columns

    @cached_property
    def is_live(self) -> npt.NDArray[np.bool_]:
        """(n,): whether each row is live, that is not removed."""
        keep = np.ones(self.entry.items, dtype=bool)
        keep[list(self.entry.removed)] = False
        return keep

    @cached_property
    def live(self) -> Rows:
        """The live rows, ascending."""
        return np.flatnonzero(self.is_live)

    def live_count(self, group: str) -> int:
        """Count the vectors of live items in a group (``embeddings``, ``captions``, ``objects``)."""
        if not self.entry.removed:
            vectors = self.entry.columns.get(VECTOR_GROUPS[group][0])
            return 0 if vectors is None else vectors.shape[0]
        return int(self.is_live[self.item_rows(group)].sum())

    def keys(self) -> Iterator[ItemKey]:
        """Yield every row's key, removed rows included."""
        return (key for key, _ in self.parsed())

    def parsed(self) -> Iterator[tuple[ItemKey, dict[str, Any]]]:
        """Yield every row's key and payload, removed rows included."""
        for start in range(0, self.entry.items, _KEYS):
            stop = min(start + _KEYS, self.entry.items)
            offsets = self.columns["item_offsets"].read(start, stop + 1).astype(np.int64)
            if not (np.all(np.diff(offsets) > 0) and offsets[-1] <= len(self.columns["items"])):
                raise StoreCorruptError(f"records {start} to {stop - 1} of {self._path} lie outside their file")
            text = self.columns["items"].read(int(offsets[0]), int(offsets[-1])).tobytes()
            limits = (offsets - offsets[0]).tolist()
            for row, (first, last) in enumerate(pairwise(limits), start):
                yield self._parsed(row, text[first:last])

    def key(self, row: int) -> ItemKey:
        """Read a record's key."""
        return self._parsed(row, self._line(row))[0]

    def payload(self, row: int) -> dict[str, Any]:
        """Read a record's payload; reads no vector."""
        return self._parsed(row, self._line(row))[1]

    def record(self, row: int) -> Record:
        """Read a record with its vectors, as float32."""
        key, payload = self._parsed(row, self._line(row))
        return Record(key, payload, self.embedding(row), tuple(self._captions_of(row)), tuple(self._objects_of(row)))

    def embedding(self, row: int) -> npt.NDArray[np.float32] | None:
        """Read an item's vector (D,); None if it has none."""
        item = self.item_rows("embeddings")
        index = int(np.searchsorted(item, row))
        if index == len(item) or item[index] != row:
            return None
        return np.asarray(self.columns["embeddings"].read(index, index + 1)[0], dtype=np.float32)

    def item_rows(self, group: str) -> Rows:
        """Return the item's row of each vector in a group (``embeddings``, ``captions``, ``objects``), ascending."""
        if group not in self._item_rows:
            self._item_rows[group] = self._read_item_rows(group)
        return self._item_rows[group]

    def objects(self, start: int = 0, stop: int | None = None) -> ObjectBlock:
        """Read object vectors ``start`` to ``stop``, by default all, of a segment with some; ``rows`` are its own."""
        rows = self.item_rows("objects")[start:stop]
        columns = {name: self.columns[name].read(start, start + len(rows)) for name in VECTOR_GROUPS["objects"]}
        return ObjectBlock(
            rows=rows,
            annotations=columns["object_annotation"],
            vectors=columns["object_embeddings"],
            boxes=columns["object_bbox"],
            classes=self._names(self.entry.classes, columns["object_class"]),
            confidences=columns["object_confidence"],
            detectors=self._names(self.entry.detectors, columns["object_detector"]),
            sources=columns["object_source"],
        )

    def check(self) -> None:
        """Read and check every block, record and vector, and the items that the vectors belong to."""
        for column in self.columns.values():
            column.check()
        hashes = [crc32 for subset, ids in subset_runs(list(self.keys())) for crc32 in key_hashes(subset, ids)]
        if not np.array_equal(self.columns["item_hash"].all(), hashes):
            raise StoreCorruptError(f"item_hash of {self._path} does not fit its records")
        for group, (vectors, *_) in VECTOR_GROUPS.items():
            rows = self.item_rows(group)
            for start in range(0, len(rows), _KEYS):
                if not is_unit_rows(self.columns[vectors].read(start, min(start + _KEYS, len(rows)))):
                    raise StoreCorruptError(f"{vectors} of {self._path} has rows that are not of unit length")
        if len(self.item_rows("objects")):
            self.objects()

    def close(self) -> None:
        """Close the files; arrays that were handed out stay valid."""
        self._source.close()
        self._columns = None
        self._item_rows.clear()

    def _line(self, row: int) -> bytes:
        """Read a record's JSON."""
        start, stop = (int(offset) for offset in self.columns["item_offsets"].read(row, row + 2))
        if not start < stop <= len(self.columns["items"]):
            raise StoreCorruptError(f"record {row} of {self._path} lies outside its file")
        return self.columns["items"].read(start, stop).tobytes()

    def _parsed(self, row: int, line: bytes) -> tuple[ItemKey, dict[str, Any]]:
        try:
            return from_line(line)
        except ValueError as exc:
            raise StoreCorruptError(f"record {row} of {self._path} is not what the format says: {exc}") from exc

    def _captions_of(self, row: int) -> Iterator[CaptionVector]:
        start, stop = map(int, np.searchsorted(self.item_rows("captions"), [row, row + 1]))
        if start == stop:
            return
        vectors, _, annotations, scores = (self.columns[name].read(start, stop) for name in VECTOR_GROUPS["captions"])
        for annotation, vector, score in zip(annotations, vectors, scores, strict=True):
            own_vector = np.asarray(vector, dtype=np.float32)
            yield CaptionVector(int(annotation), own_vector, None if np.isnan(score) else float(score))

    def _objects_of(self, row: int) -> Iterator[ObjectVector]:
        start, stop = map(int, np.searchsorted(self.item_rows("objects"), [row, row + 1]))
        if start == stop:
            return
        _, annotations, vectors, boxes, classes, confidences, detectors, sources = self.objects(start, stop)
        for i in range(len(annotations)):
            yield ObjectVector(
                int(annotations[i]),
                np.asarray(vectors[i], dtype=np.float32),
                tuple(boxes[i].tolist()),
                str(classes[i]),
                None if np.isnan(confidences[i]) else float(confidences[i]),
                str(detectors[i]),
                sources[i].tobytes().hex() if sources[i].any() else "",
            )

    def _read_item_rows(self, group: str) -> Rows:
        vectors, name = VECTOR_GROUPS[group][:2]
        if vectors not in self.columns:
            return np.zeros(0, np.int64)
        rows = self.columns[name].all()
        # An item has one vector of its own, but several captions and objects.
        least = 1 if group == "embeddings" else 0
        if rows[0] < 0 or rows[-1] >= self.entry.items or not np.all(np.diff(rows) >= least):
            raise StoreCorruptError(f"{name} of {self._path} does not fit its items")
        return rows

    def _names(self, names: Sequence[str], numbers: npt.NDArray[np.uint32]) -> npt.NDArray[np.str_]:
        """Return the class names or detectors of their numbers."""
        if len(numbers) and int(numbers.max()) >= len(names):
            raise StoreCorruptError(
                f"an object of {self._path} is of class or detector {numbers.max()}, of {len(names)}"
            )
        return np.array(names, np.str_)[numbers]


def require_unit_rows(keys: Sequence[ItemKey], rows: Array) -> None:
    """Check that vectors, in the dtype in which they will be stored, are finite and of unit length.

    Parameters
    ----------
    keys : sequence of ItemKey
        The item of each row.
    rows : numpy.ndarray
        (n, D), float32 or float16.

    Raises
    ------
    InvalidVectorError
        For the first row that is not; names its item.
    """
    is_unit, lengths = unit_lengths(rows)
    if not is_unit.all():
        row = int(np.argmin(is_unit))
        raise InvalidVectorError(
            f"a vector of {keys[row]} has length {lengths[row]:.6g}; a store keeps finite vectors of unit length: "
            "see datumaro_clip.vectors.unit_rows"
        )
