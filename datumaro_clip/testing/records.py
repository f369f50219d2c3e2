"""Records to fill stores with, and what to compare of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datumaro_clip.store import CaptionVector, Header, Record
from datumaro_clip.store.base import Array
from datumaro_clip.vectors import ItemKey, VectorSpace, unit_rows

SPACE = VectorSpace("sha256:" + "5" * 64, 8, "contract")
HEADER = Header(space=SPACE, precision="f32", device="CPU", categories={"label": {"items": []}}, infos={"by": "us"})


def make_records(count: int, seed: int = 0) -> list[Record]:
    """Records with and without vectors, captions, scores and payloads; the same ones for the same seed."""
    vectors = unit_rows(np.random.default_rng(seed).standard_normal((max(count, 1), 2, SPACE.dimension)).reshape(-1, 8))
    return [_record(i, vectors[2 * i], vectors[2 * i + 1]) for i in range(count)]


def _record(i: int, vector: Array, text: Array) -> Record:
    captions = tuple(CaptionVector(n, text, None if n else 0.25) for n in range(i % 3))
    payload = {"attributes": {"n": i, "text": "ü\n"}} if i % 2 else {}
    return Record(ItemKey(f"dir/{i} é", ("train", "val")[i % 2]), payload, None if i % 4 == 3 else vector, captions)


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


def files_of(root: Path) -> dict[str, bytes]:
    """Every file of a store and its bytes."""
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def vectors_of(records: list[Record]) -> Array:
    """The vectors of the records that have one, (N, D)."""
    return np.stack([record.embedding for record in records if record.embedding is not None])
