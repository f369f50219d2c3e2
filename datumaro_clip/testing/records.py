"""Records to fill stores with, and what to compare of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from datumaro_clip.store import CaptionVector, Header, ObjectVector, Record
from datumaro_clip.store.base import Array
from datumaro_clip.vectors import ItemKey, VectorSpace, unit_rows

SPACE = VectorSpace("sha256:" + "5" * 64, 8, "contract")
HEADER = Header(space=SPACE, precision="f32", device="CPU", categories={"label": {"items": []}}, infos={"by": "us"})


def make_records(count: int, seed: int = 0) -> list[Record]:
    """Records with and without vectors, captions, objects, scores and payloads; the same ones for the same seed."""
    vectors = unit_rows(np.random.default_rng(seed).standard_normal((max(count, 1), 2, SPACE.dimension)).reshape(-1, 8))
    return [_record(i, vectors[2 * i], vectors[2 * i + 1]) for i in range(count)]


def _record(i: int, vector: Array, text: Array) -> Record:
    captions = tuple(CaptionVector(n, text, None if n else 0.25) for n in range(i % 3))
    payload = {"attributes": {"n": i, "text": "ü\n"}} if i % 2 else {}
    key, embedding = ItemKey(f"dir/{i} é", ("train", "val")[i % 2]), None if i % 4 == 3 else vector
    return Record(key, payload, embedding, captions, tuple(_objects(i, text)))


def _objects(i: int, vector: Array) -> Iterator[ObjectVector]:
    """None, one or two: a detector's, and a person's, whose class, confidence and source are not known."""
    if i % 5 in (1, 4):
        yield ObjectVector(0, vector, (1.5, 2.0, 30.25 + i, 40.0), f"class {i % 3}", i / 8 % 1, "sha256:d", f"{i:064x}")
    if i % 5 == 4:
        yield ObjectVector(3, -vector, (0.0, 0.0, 7.0, 7.0))


def assert_same(found: Record, wanted: Record, dtype: str = "float32") -> None:
    """Raise AssertionError unless two records are equal, vectors as the dtype keeps them."""
    assert (found.key, dict(found.payload)) == (wanted.key, dict(wanted.payload))
    assert (found.embedding is None) == (wanted.embedding is None)
    if found.embedding is not None and wanted.embedding is not None:
        np.testing.assert_array_equal(found.embedding, wanted.embedding.astype(dtype).astype(np.float32))
    assert [c.annotation_index for c in found.captions] == [c.annotation_index for c in wanted.captions]
    assert [c.score for c in found.captions] == [c.score for c in wanted.captions]
    for mine, theirs in zip(found.captions, wanted.captions, strict=True):
        np.testing.assert_array_equal(mine.vector, theirs.vector.astype(dtype).astype(np.float32))
    assert [_facts(o) for o in found.objects] == [_facts(o) for o in wanted.objects]
    for one, other in zip(found.objects, wanted.objects, strict=True):
        np.testing.assert_array_equal(one.vector, other.vector.astype(dtype).astype(np.float32))


def _facts(found: ObjectVector) -> dict[str, object]:
    """All that is said of an object but its vector."""
    return {name: value for name, value in vars(found).items() if name != "vector"}


def files_of(root: Path) -> dict[str, bytes]:
    """Every file of a store and its bytes."""
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def vectors_of(records: list[Record]) -> Array:
    """The vectors of the records that have one, (N, D)."""
    return np.stack([record.embedding for record in records if record.embedding is not None])


def vectors_in(record: Record, group: str) -> list[Array]:
    """A record's vectors of one of the store's groups."""
    if group == "embeddings":
        return [] if record.embedding is None else [record.embedding]
    return [part.vector for part in (record.captions if group == "captions" else record.objects)]
