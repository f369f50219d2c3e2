"""What is kept of pictures never takes more than its room, and is worked out once while it is kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from datumaro_clip.curate.near.kept import Kept


def kilobyte(value: int) -> np.ndarray:
    return np.full(1024, value, np.uint8)


def asked(kept: Kept, keys: list[int]) -> list[int]:
    """The keys whose values had to be worked out, in order."""
    made: list[int] = []
    for key in keys:
        assert (kept.get(key, lambda key=key: made.append(key) or kilobyte(key)) == key).all()
    return made


def test_a_value_is_worked_out_once():
    assert asked(Kept(1 << 20), [1, 2, 1, 2, 1]) == [1, 2]


def test_what_was_used_longest_ago_goes_first():
    assert asked(Kept(2 << 10), [1, 2, 1, 3, 1, 2]) == [1, 2, 3, 2]


def test_what_has_no_room_is_given_all_the_same():
    assert asked(Kept(1000), [1, 1]) == [1, 1]


def test_threads_that_miss_the_same_value_do_not_fill_the_room_twice():
    kept = Kept(3 << 10)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda key: int(kept.get(key, lambda: kilobyte(key))[0]), [1, 2, 3] * 200))
    assert found == [1, 2, 3] * 200
    assert asked(kept, [1, 2, 3]) == []
