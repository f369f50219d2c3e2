"""Which segments are indexed together."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from datumaro_clip.index.layout import LARGE_ROWS, merged_runs

SIZES = st.lists(st.integers(0, 3 * LARGE_ROWS), max_size=60)


def sums(sizes: list[int]) -> list[int]:
    return [sum(sizes[run.start : run.stop]) for run in merged_runs(sizes)]


@given(SIZES)
def test_runs_hold_every_segment_once_and_in_order(sizes: list[int]):
    assert [index for run in merged_runs(sizes) for index in run] == list(range(len(sizes)))


@given(SIZES)
def test_runs_shrink_by_half(sizes: list[int]):
    """So that small runs are few."""
    rows = sums(sizes)
    assert all(before >= LARGE_ROWS or before > 2 * after for before, after in itertools.pairwise(rows))


def test_one_segment_more_leaves_large_runs_alone():
    """Adding costs what is added: a large run is never indexed anew."""
    sizes = [LARGE_ROWS, 10]
    assert merged_runs([*sizes, 9]) == [range(0, 1), range(1, 3)]
    assert merged_runs([*sizes, 10 * LARGE_ROWS]) == [range(0, 1), range(1, 3)]


def test_a_row_is_indexed_few_times_however_many_segments_follow():
    seen: set[tuple[int, int]] = set()
    indexed = 0
    for count in range(1, 1000):
        for run in merged_runs([1] * count):
            if (run.start, run.stop) not in seen:
                seen.add((run.start, run.stop))
                indexed += len(run)
    assert indexed < 1000 * 11
    assert len(merged_runs([1] * 999)) <= 11
