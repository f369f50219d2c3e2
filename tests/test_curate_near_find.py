"""Groups of near copies grow in rounds, by what stands; comparing is told here, and not done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from datumaro_clip.curate.near import find
from datumaro_clip.curate.near.find import _grouped
from datumaro_clip.curate.near.pixels import NO_MATCH
from datumaro_clip.curate.near.proposals import codes_of

NOTHING = np.empty(0, np.int64)


class Rings:
    """Proposes pairs that stand, each only where those that it names stand no longer, as a full list of neighbours."""

    def __init__(self, count: int, pairs: Mapping[tuple[int, int], Sequence[int]]) -> None:
        self._count, self._pairs = count, pairs

    def pairs(self, standing: np.ndarray) -> np.ndarray:
        there = [
            pair for pair, gone in self._pairs.items() if standing[list(pair)].all() and not standing[list(gone)].any()
        ]
        one, other = np.array(there, np.int64).reshape(-1, 2).T
        return codes_of(one, other, self._count)


class Referee:
    """Says of pairs whether they are copies, alone or where a third confirms it."""

    compared = 0

    def __init__(self, copies: Iterable[tuple[int, int]], confirmed: Iterable[tuple[int, int]] = ()) -> None:
        self._copies, self._confirmed = set(copies), set(confirmed)

    def is_copy(self, one: int, other: int) -> bool:
        return (min(one, other), max(one, other)) in self._copies

    def confirmed_by_third(self, one: int, other: int) -> bool:
        return (min(one, other), max(one, other)) in self._confirmed

    def prefetch(self, pairs: Iterable[tuple[int, int]]) -> None:
        pass


def grouped(order: Sequence[int], rings: Mapping[tuple[int, int], Sequence[int]], referee: Any) -> list[int]:
    found, _ = _grouped(Rings(len(order), rings), referee, order, NOTHING)  # type: ignore[arg-type]
    return found.tolist()


@pytest.mark.parametrize(("confirmed", "wanted"), [([], [0, 0, 2]), ([(0, 2)], [0, 0, 0])])
def test_a_copy_of_a_member_joins_if_it_resembles_the_representative(
    confirmed: list[tuple[int, int]], wanted: list[int]
) -> None:
    pairs = {(0, 1): (), (0, 2): (), (1, 2): ()}
    assert grouped(range(3), pairs, Referee([(0, 1), (1, 2)], confirmed)) == wanted


def test_nobody_joins_who_is_no_copy_of_a_member() -> None:
    pairs = {(0, 1): (), (0, 2): (), (1, 2): ()}
    assert grouped(range(3), pairs, Referee([(0, 1)], [(0, 2)])) == [0, 0, 2]


def test_what_stands_is_looked_at_in_three_rounds() -> None:
    """A neighbour comes into view once those before it are gone."""
    pairs = {(0, 1): (), (0, 2): (1,), (0, 3): (1, 2), (0, 4): (1, 2, 3)}
    assert grouped(range(5), pairs, Referee(pairs)) == [0, 0, 0, 0, 4]


def test_members_of_a_group_that_changes_hands_are_tested_anew() -> None:
    """The last is kept first, and found last: it takes the group, the member that rings never proposed included."""
    pairs = {(0, 1): (), (0, 2): (1,)}
    assert grouped([2, 0, 1], pairs, Referee([(0, 1), (0, 2), (1, 2)])) == [2, 2, 2]
    assert grouped([2, 0, 1], pairs, Referee([(0, 1), (0, 2)])) == [2, 1, 2]


def test_groups_that_do_not_change_end_it() -> None:
    assert grouped([], {}, Referee([])) == []
    assert grouped(range(3), {(0, 1): ()}, Referee([])) == [0, 1, 2]


@pytest.mark.parametrize(("alone", "odds"), [(True, find.ALONE), (False, find.CONFIRMED)])
def test_the_odds_that_were_asked_are_those_of_a_pair_alone_or_of_one_confirmed(
    alone: bool, odds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "is_copy", lambda found: alone)
    groups = find.NearGroups(np.zeros(2, np.int64), {(0, 1): NO_MATCH}, 1, {})
    assert groups.verdict(1, 0) == (NO_MATCH, odds)
    assert find.ALONE != find.CONFIRMED
