"""The ten most similar of a million, beside one pass over their bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, seconds
from benchmarks.vectors import random_rows
from datumaro_clip.similarity import top_k

ROWS, K = 1_000_000, 10


def run(work: Path) -> Iterator[Figure]:
    """One query, and 64 at once."""
    part = random_rows(50_000)
    matrix = np.tile(part.astype(np.float16), (ROWS // len(part), 1))
    one_pass = seconds(lambda: matrix.view(np.uint64).max(), 3)
    beside = f"one pass over the bytes, {one_pass:.3f} s"
    one = seconds(lambda: top_k(part[:1], matrix, K), 3)
    yield Figure("top_k", f"{ROWS:,}x512 float16, 1 query", one, "s", one_pass / one, 1 / 1.5, beside)
    many = seconds(lambda: top_k(part[:64], matrix, K))
    yield Figure("top_k", f"{ROWS:,}x512 float16, 64 queries", many, "s", one_pass / many, None, beside)
