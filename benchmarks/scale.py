"""Time of curation's algorithms with 200,000 vectors, and their memory without the matrix. Linux only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isqrt
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure
from benchmarks.resident import seconds_and_megabytes
from benchmarks.vectors import clip_like_rows
from datumaro_clip.curate.clusters import spherical_kmeans
from datumaro_clip.curate.groups import neighbour_lists, star_groups
from datumaro_clip.curate.sample import pick_k_center

ROWS, PICKS, PAIRS = 200_000, 1000, 300_000


def run(work: Path) -> Iterator[Figure]:
    """Each in turn."""
    vectors = clip_like_rows(ROWS)
    pairs = np.random.default_rng(0).integers(0, ROWS, (PAIRS, 2))
    tasks: dict[str, Callable[[], object]] = {
        f"k_center: {PICKS:,} picks": lambda: pick_k_center(vectors, PICKS, 0),
        f"{isqrt(ROWS)} clusters": lambda: spherical_kmeans(vectors, isqrt(ROWS)),
        f"groups of {PAIRS:,} pairs": lambda: star_groups(range(ROWS), neighbour_lists(ROWS, pairs), lambda *_: True),
    }
    for name, task in tasks.items():
        time, memory = seconds_and_megabytes(task)
        yield Figure("scale", f"{ROWS:,} vectors, {name}", time, "s", against=f"{memory:.0f} MB beside the matrix")
