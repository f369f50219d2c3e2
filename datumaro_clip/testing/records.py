"""Make records for stores, and compare records and files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from datumaro_clip.store import VECTOR_GROUPS, CaptionVector, Header, ObjectVector, Record
from datumaro_clip.store.base import Array
from datumaro_clip.vectors import ItemKey, VectorSpace, unit_rows

SPACE = VectorSpace("sha256:" + "5" * 64, 8, "contract")
HEADER = Header(space=SPACE, precision="f32", device="CPU", categories={"label": {"items": []}}, infos={"by": "us"})


def make_records(count: int, seed: int = 0) -> list[Record]:
    """Make records with and without vectors, captions, objects, scores and payloads; equal for equal seeds."""
    vectors = unit_rows(np.random.default_rng(seed).standard_normal((max(count, 1), 2, SPACE.dimension)).reshape(-1, 8))
    return [_record(i, vectors[2 * i], vectors[2 * i + 1]) for i in range(count)]


def _record(i: int, vector: Array, text: Array) -> Record:
    captions = tuple(CaptionVector(n, text, None if n else 0.25) for n in range(i % 3))
    payload = {"attributes": {"n": i, "text": "ü\n"}} if i % 2 else {}
    key, embedding = ItemKey(f"dir/{i} é", ("train", "val")[i % 2]), None if i % 4 == 3 else vector
    return Record(key, payload, embedding, captions, tuple(_objects(i, text)))


def _objects(i: int, vector: Array) -> Iterator[ObjectVector]:
    """Yield no, one or two objects: a detected one, and one without class, confidence and source."""
    if i % 5 in (1, 4):
        yield ObjectVector(0, vector, (1.5, 2.0, 30.25 + i, 40.0), f"class {i % 3}", i / 8 % 1, "sha256:d", f"{i:064x}")
    if i % 5 == 4:
        yield ObjectVector(3, -vector, (0.0, 0.0, 7.0, 7.0))


def assert_same(found: Iterable[Record], wanted: Iterable[Record], dtype: str = "float32") -> None:
    """Assert that records are equal and in the same order, their vectors rounded to the dtype."""
    for mine, theirs in zip(found, wanted, strict=True):
        assert (mine.key, dict(mine.payload)) == (theirs.key, dict(theirs.payload))
        assert [(c.annotation_index, c.score) for c in mine.captions] == [
            (c.annotation_index, c.score) for c in theirs.captions
        ]
        assert [_facts(o) for o in mine.objects] == [_facts(o) for o in theirs.objects]
        for group in VECTOR_GROUPS:
            rounded = [vector.astype(dtype).astype(np.float32) for vector in vectors_in(theirs, group)]
            np.testing.assert_array_equal(vectors_in(mine, group), rounded)


def _facts(found: ObjectVector) -> dict[str, object]:
    """Return everything of an object but its vector."""
    return {name: value for name, value in vars(found).items() if name != "vector"}


def files_of(root: Path) -> dict[str, bytes]:
    """Return the bytes of every file of a store, by name."""
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def vectors_of(records: list[Record]) -> Array:
    """Return the vectors of the records that have one, (N, D)."""
    return np.stack([record.embedding for record in records if record.embedding is not None])


def vectors_in(record: Record, group: str) -> list[Array]:
    """Return a record's vectors in one of the store's groups."""
    if group == "embeddings":
        return [] if record.embedding is None else [record.embedding]
    return [part.vector for part in (record.captions if group == "captions" else record.objects)]
