"""Statistics of a store, from what is in memory already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from datumaro_clip.service.facts import Floats, Ints
from datumaro_clip.service.snapshot import Snapshot

_PERCENTILES = (1, 5, 25, 50, 75, 95, 99)


def statistics(snapshot: Snapshot) -> dict[str, Any]:
    """Return a store's sizes, class distribution, alignment scores, space and segments."""
    reader, columns = snapshot.reader, snapshot.index.columns
    space = reader.header.space
    return {
        "store": snapshot.name,
        "version": snapshot.version,
        "items": len(snapshot),
        "subsets": dict(reader.subsets),
        "vectors": {
            "pictures": reader.embedding_count,
            "captions": reader.caption_count,
            "objects": reader.object_count,
        },
        "classes": {
            "annotations": counts(columns.labels.codes, columns.labels.words),
            "objects": counts(snapshot.facts.objects.codes, snapshot.box_classes),
        },
        "tags": counts(columns.tags.codes, columns.tags.words),
        "alignment": summary(snapshot.facts.numbers["alignment"]),
        "space": None
        if space is None
        else {"fingerprint": space.fingerprint, "model": space.model, "dimension": space.dimension},
        "precision": reader.header.precision,
        "dtype": reader.header.dtype,
        "format": reader.kind.name,
        "segments": [
            {"name": e.name, "items": e.live, "removed": len(e.removed), "precision": e.precision}
            for e in (segment.entry for segment in reader.segments)
        ],
    }


def summary(values: Floats) -> dict[str, Any]:
    """Return count, mean, deviation, percentiles and histogram of numbers, without NaN."""
    known = values[np.isfinite(values)]
    if not len(known):
        return {"count": 0, "mean": None, "deviation": None, "percentiles": {}, "histogram": None}
    counts, edges = np.histogram(known, bins=40)
    marks = np.percentile(known, _PERCENTILES)
    return {
        "count": len(known),
        "mean": float(known.mean()),
        "deviation": float(known.std()),
        "percentiles": {str(p): float(mark) for p, mark in zip(_PERCENTILES, marks, strict=True)},
        "histogram": {"counts": counts.tolist(), "edges": edges.tolist()},
    }


def counts(codes: Ints, names: Sequence[str]) -> dict[str, int]:
    """Return how often each name occurs, the most frequent first."""
    counts = np.bincount(codes, minlength=len(names))
    order = np.argsort(-counts, kind="stable")
    return {names[code]: int(counts[code]) for code in order if counts[code]}
