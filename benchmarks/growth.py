"""Memory that the near level takes for each item, with `--approximate`, on random vectors and thumbnails.

python -m benchmarks.growth 100000 1000000

Every thousandth item repeats the one before. Descriptions are random, too: computing them takes 1.8 ms an item, and the
same memory. Linux only.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import numpy as np

from benchmarks.figures import Figure
from benchmarks.resident import megabytes
from benchmarks.vectors import random_rows
from datumaro_clip.curate.near import find_near, proposals
from datumaro_clip.curate.near.rings import VIEWS, Thumbnail, describe
from datumaro_clip.vectors import FloatArray, unit_rows

ROWS, EVERY = 100_000, 1000
DESCRIPTION = describe(np.zeros((96, 96, 3), np.uint8)).shape[1]


class Drawn:
    """Thumbnails by number, each drawn when it is asked for."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Thumbnail:
        tiles = np.random.default_rng(original(index)).integers(0, 255, (12, 12, 3), dtype=np.uint8)
        return tiles.repeat(8, axis=0).repeat(8, axis=1)


def original(index: int) -> int:
    """The item that an item repeats, or itself."""
    return index - 1 if index % EVERY == EVERY - 1 else index


def drawn_description(thumbnail: Thumbnail) -> FloatArray:
    """Return a random direction for each view, the same for equal thumbnails."""
    rng = np.random.default_rng(thumbnail[::8, ::8].ravel()[:16].view(np.uint64))
    return unit_rows(rng.standard_normal((len(VIEWS), DESCRIPTION), dtype=np.float32))


class Peak:
    """The peak of this process's anonymous memory during a block, in MB; mapped files do not count."""

    def __init__(self) -> None:
        self.megabytes = megabytes("RssAnon")
        self._ended = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._ended.wait(0.2):
            self.megabytes = max(self.megabytes, megabytes("RssAnon"))

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()


def run(work: Path) -> Iterator[Figure]:
    """Of a hundred thousand items."""
    yield growth(ROWS)


def growth(count: int) -> Figure:
    """Measure the bytes for each item, without the vectors, which the caller holds."""
    proposals.describe = drawn_description
    vectors = random_rows(count)
    copies = np.flatnonzero([original(n) != n for n in range(count)])
    vectors[copies] = vectors[copies - 1]
    before, started = megabytes("RssAnon"), time.process_time()
    with Peak() as peak:
        found = find_near(Drawn(count), range(count), vectors, approximate=True)
    seconds = time.process_time() - started
    met = int((found.representatives != np.arange(count)).sum())
    beside = f"{peak.megabytes:,.0f} MB in all, {seconds:,.0f} s of CPU, {met} of {len(copies)} copies found"
    mine = (peak.megabytes - before) * 2**20 / count
    return Figure("growth", f"near level, {count:,} items: beside vectors", mine, "B/item", against=beside)


if __name__ == "__main__":
    for each in sys.argv[1:]:
        print(growth(int(each)), flush=True)
