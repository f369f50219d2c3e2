"""Pairs among a million rows by shared cells: how many are found, beside the exact search's time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, seconds
from benchmarks.vectors import clip_like_rows, plant_copies, random_rows
from datumaro_clip.similarity import Pairs, approximate_pairs_above, exact_scores, pairs_above
from datumaro_clip.vectors import FloatArray

ROWS, EXACT_ROWS, THRESHOLD = 1_000_000, 100_000, 0.9


def run(work: Path) -> Iterator[Figure]:
    """The exact time is that of a tenth of the rows, a hundredfold; what is true is what was planted."""
    for name, make in (("random", random_rows), ("like CLIP", clip_like_rows)):
        matrix = make(ROWS)
        copied, copies = plant_copies(matrix)
        exact = (ROWS / EXACT_ROWS) ** 2 * seconds(lambda matrix=matrix: pairs_above(matrix[:EXACT_ROWS], THRESHOLD))
        found: list[Pairs] = []
        time = seconds(lambda matrix=matrix, found=found: found.append(approximate_pairs_above(matrix, THRESHOLD)))
        what = f"{name} {ROWS:,}x512 >= {THRESHOLD}"
        yield Figure("approximate", what, time, "s", exact / time, 10, f"exact, {exact:.0f} s (scaled up)")
        recall = _recall(matrix, copied, copies, found[0])
        yield Figure("approximate", f"{name}: recall of planted pairs", recall, "", recall / 0.99, 1, "0.99")


def _recall(matrix: FloatArray, copied: np.ndarray, copies: np.ndarray, found: Pairs) -> float:
    """The share of the planted pairs above the threshold that were found."""
    parts = [slice(start, start + 10_000) for start in range(0, len(copies), 10_000)]
    scores = np.concatenate([exact_scores(matrix[copied[part]], matrix[copies[part]]) for part in parts])
    true = scores >= np.float32(THRESHOLD)
    left, right = np.minimum(copied, copies)[true], np.maximum(copied, copies)[true]
    return float(np.isin(left * len(matrix) + right, found.left * len(matrix) + found.right).mean())
