"""All pairs above a threshold, beside FAISS's flat range search."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, at_most, seconds
from benchmarks.resident import seconds_and_megabytes
from benchmarks.vectors import clip_like_rows, plant_copies, random_rows
from datumaro_clip.similarity import pairs_above
from datumaro_clip.vectors import FloatArray

ROWS, THRESHOLD, MOST_MEGABYTES = 100_000, 0.9, 500


def run(work: Path) -> Iterator[Figure]:
    """Both geometries."""
    for name, make in (("random", random_rows), ("like CLIP", clip_like_rows)):
        matrix = make(ROWS)
        plant_copies(matrix)
        ours, memory = seconds_and_megabytes(lambda matrix=matrix: pairs_above(matrix, THRESHOLD))
        what = f"{name} {ROWS:,}x512: memory beside it"
        yield at_most("pairs", what, memory, MOST_MEGABYTES, "MB")
        theirs, same = _faiss(matrix)
        what = f"{name} {ROWS:,}x512 >= {THRESHOLD}"
        yield Figure("pairs", what, ours, "s", theirs / ours, 4, f"FAISS flat range_search, {theirs:.1f} s")
        yield Figure("pairs", f"{name}: share of FAISS's pairs that are ours", same, "", same, 1, "the exact set")


def _faiss(matrix: FloatArray) -> tuple[float, float]:
    """FAISS's time, and the share of its pairs (0 to 1) that we find; those within rounding do not count."""
    import faiss

    index = faiss.IndexFlatIP(matrix.shape[1])
    index.add(matrix)
    found = []
    time = seconds(lambda: found.append(index.range_search(matrix, THRESHOLD)))
    limits, scores, right = found[0]
    left = np.repeat(np.arange(len(matrix)), np.diff(limits.astype(np.int64)))
    sure = (left < right) & (scores > THRESHOLD + 1e-6)
    ours = pairs_above(matrix, THRESHOLD)
    width = len(matrix)
    shared = np.isin(left[sure] * width + right[sure], ours.left * width + ours.right)
    return time, float(shared.mean()) if len(shared) else 1.0
