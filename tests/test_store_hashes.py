"""Rows are found by their hashes, at any place, even if several share one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datumaro_clip.store.hashes import HashIndex, locate, possible_rows, repeated_keys
from datumaro_clip.vectors import ItemKey

# Few enough to repeat; the least, the greatest, and two that share their low bits.
HASHES = st.lists(st.sampled_from([0, 1, 2**16, 2**16 + 1, 2**31, 2**32 - 2, 2**32 - 1]), max_size=12)


@given(HASHES)
def test_every_row_of_a_hash_is_found_in_order(hashes: list[int]) -> None:
    index = HashIndex(np.array(hashes, np.uint32), np.arange(len(hashes)) * 3)
    for wanted in {*hashes, 0, 7, 2**32 - 1}:
        assert index.rows_of(wanted) == [3 * row for row, value in enumerate(hashes) if value == wanted]


@given(HASHES)
def test_rows_that_share_a_hash_are_named_once(hashes: list[int]) -> None:
    repeated = HashIndex(np.array(hashes, np.uint32), np.arange(len(hashes))).repeated()
    assert repeated.tolist() == [row for row, value in enumerate(hashes) if hashes.count(value) > 1]


@given(HASHES, HASHES)
def test_no_wanted_row_is_passed_over(hashes: list[int], wanted: list[int]) -> None:
    rows = possible_rows(np.array(hashes, np.uint32), wanted).tolist()
    assert rows == sorted(set(rows))
    assert {row for row, value in enumerate(hashes) if value in wanted} <= set(rows)


@pytest.mark.parametrize(("hashes", "wanted", "rows"), [([], [], []), ([5], [], []), ([5, 6, 5 + 2**16], [5], [0, 2])])
def test_few_others_are_possible(hashes: list[int], wanted: list[int], rows: list[int]) -> None:
    assert possible_rows(np.array(hashes, np.uint32), wanted).tolist() == rows


@pytest.mark.parametrize(
    ("hashes", "names", "wanted"),
    [
        ([], "", {}),
        ([5, 5, 7], "abc", {}),
        ([5, 5, 7], "abb", {}),  # row 2 is not asked for its key: no other has its hash
        ([5, 5, 5], "aba", {"a": [0, 2]}),
        ([5, 5, 5], "aab", {"a": [0, 1]}),
        ([5, 7, 5, 7], "abab", {"a": [0, 2], "b": [1, 3]}),
    ],
)
def test_keys_repeat_only_where_they_are_equal_and_not_where_their_hashes_are(
    hashes: list[int], names: str, wanted: dict[str, list[int]]
) -> None:
    found = repeated_keys(np.array(hashes, np.uint32), lambda row: ItemKey(names[row], "t"))
    assert found == {ItemKey(name, "t"): rows for name, rows in wanted.items()}


def test_a_row_of_joined_parts_is_located_past_empty_ones() -> None:
    starts = np.cumsum([0, 2, 0, 3])
    assert [locate(starts, row) for row in range(5)] == [(0, 0), (0, 1), (2, 0), (2, 1), (2, 2)]
