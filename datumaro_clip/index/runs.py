"""Which consecutive segments of a store share one index."""

from __future__ import annotations

from collections.abc import Sequence

#: Rows from which an index is left alone for good.
LARGE_ROWS = 1 << 16


def merged_runs(sizes: Sequence[int]) -> list[range]:
    """Consecutive segments as runs, of which each is smaller than half of the one before, or large.

    As in a log-structured merge tree: one more segment changes the last runs only, and a run that is indexed anew grows
    by half at least, so that a row is indexed 28 times at most, however many segments follow. At most 17 runs are not
    large.

    Parameters
    ----------
    sizes : sequence of int
        Rows of each segment.

    Returns
    -------
    list of range
        Indices of segments; together all of them, in order.
    """
    runs: list[tuple[int, range]] = []
    for index, size in enumerate(sizes):
        run = range(index, index + 1)
        while runs and runs[-1][0] < LARGE_ROWS and runs[-1][0] <= 2 * size:
            before, indices = runs.pop()
            size, run = size + before, range(indices.start, run.stop)
        runs.append((size, run))
    return [run for _, run in runs]
