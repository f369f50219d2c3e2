"""What an index must find: computed from a store's records one by one, without any of the index's code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np

from datumaro_clip.similarity import exact_scores
from datumaro_clip.store import CaptionVector, Header, ObjectVector, Record, StoreReader, append_to_store, create_store
from datumaro_clip.testing.records import SPACE
from datumaro_clip.vectors import FloatArray, ItemKey, unit_rows

CLASSES = ("cat", "dog", "bird")
START = datetime(2024, 1, 1, tzinfo=timezone.utc)
LABELS = {"label": {"class": "LabelCategories", "items": [[name, "", []] for name in CLASSES], "groups": []}}
HEADER = Header(space=SPACE, precision="f32", device="CPU", categories=LABELS)


def make_items(count: int, seed: int = 0, first: int = 0) -> list[Record]:
    """Records with everything that can be filtered by; some vectors are equal, so that there are ties."""
    random = np.random.default_rng([seed, first])
    return [_item(first + i, random) for i in range(count)]


def _item(i: int, random: np.random.Generator) -> Record:
    vectors = unit_rows(random.standard_normal((6, SPACE.dimension)).round(1) + 1e-3)
    if i % 20 == 0:
        vectors[0] = unit_rows(np.ones((1, SPACE.dimension)))[0]
    boxes = [_box(number, random) for number in range(int(random.integers(0, 4)))]
    objects = tuple(
        ObjectVector(
            number, vectors[1 + number], (0, 0, 9, 9), CLASSES[box["label"]], box.get("attributes", {}).get("score")
        )
        for number, box in enumerate(boxes)
    )
    captions = tuple(CaptionVector(len(boxes) + n, vectors[4 + n], 0.5) for n in range(i % 3))
    attributes = {"weather": ("sun", "rain", None)[i % 3], "height": i % 4 / 2, "night": i % 2 == 0}
    if i % 4:
        attributes["tags"] = [f"t{i % 5}", "common"][: i % 3]
    if i % 6:
        attributes["clip_added"] = (START + timedelta(days=i)).isoformat().replace("+00:00", "Z")
    annotations = [*boxes, *({"type": "Caption", "caption": "words"} for _ in captions)]
    payload = {"attributes": attributes, "annotations": annotations}
    key = ItemKey(f"folder/item {i} é", ("train", "val", "test")[i % 3])
    return Record(key, payload, None if i % 11 == 10 else vectors[0], captions, objects)


def _box(number: int, random: np.random.Generator) -> dict[str, object]:
    score = {} if number == 2 else {"attributes": {"score": float(random.integers(0, 65)) / 64}}
    return {"type": "Bbox", "label": int(random.integers(0, 3)), "points": [0, 0, 9, 9], **score}


def write_items(path: Path, records: list[Record], kind: str = "clip_mmap", dtype: str = "float32") -> Path:
    """A store of some records."""
    header = Header(space=SPACE, precision="f32", device="CPU", categories=LABELS, dtype=dtype)
    with create_store(path, kind, header) as writer:
        for record in records:
            writer.add(record)
    return path


def change_items(path: Path, added: list[Record], removed: list[ItemKey]) -> None:
    """Add, replace and remove in one write."""
    with append_to_store(path) as writer:
        for key in removed:
            writer.remove(key)
        for record in added:
            writer.add(record)


@dataclass(frozen=True)
class Row:
    """One vector of a target: its item's store row and record, and the annotation that it is of."""

    item: int
    record: Record
    annotation: int
    vector: FloatArray
    found: ObjectVector | None = None

    @property
    def annotations(self) -> Iterator[tuple[str, float]]:
        """The class and score of all that the item has labelled."""
        for box in self.record.payload["annotations"]:
            if "label" in box:
                yield CLASSES[box["label"]], box.get("attributes", {}).get("score", 1.0)


def rows_of(store: StoreReader, target: str) -> list[Row]:
    """The rows of a target, in the store's order."""
    rows = []
    for item, record in enumerate(store.records()):
        if target == "pictures" and record.embedding is not None:
            rows.append(Row(item, record, -1, record.embedding))
        if target == "objects":
            rows += [Row(item, record, o.annotation_index, o.vector, o) for o in record.objects]
        if target == "captions":
            rows += [Row(item, record, c.annotation_index, c.vector) for c in record.captions]
    return rows


def true_hits(
    store: StoreReader,
    queries: FloatArray,
    k: int,
    target: str = "pictures",
    keep: Callable[[Row], bool] = lambda row: True,
    by_item: bool = False,
) -> list[list[tuple[int, float]]]:
    """The k best rows of each query and their scores, by descending score, then row."""
    rows = rows_of(store, target)
    kept = [number for number, row in enumerate(rows) if keep(row)]
    hits = []
    for query in queries:
        scored = [(-float(exact_scores(query, rows[number].vector)), number) for number in kept]
        ranked = sorted(scored)
        if by_item:
            firsts: dict[int, tuple[float, int]] = {}
            for pair in ranked:
                firsts.setdefault(rows[pair[1]].item, pair)
            ranked = list(firsts.values())
        hits.append([(number, -score) for score, number in ranked[:k]])
    return hits


def queries_like(count: int = 5, seed: int = 9) -> FloatArray:
    """Some queries; the first is equal to many rows."""
    queries = unit_rows(np.random.default_rng(seed).standard_normal((count, SPACE.dimension)))
    queries[0] = unit_rows(np.ones((1, SPACE.dimension)))[0]
    return queries


def pairs(found: object) -> list[list[tuple[int, float]]]:
    """What an index found, as :func:`true_hits` says it."""
    return [list(zip(r.tolist(), s.tolist(), strict=True)) for r, s in zip(found.rows, found.scores, strict=True)]
