"""Group items around representatives: a member matches its representative itself, never through another member."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


class Neighbours(Protocol):
    """The items that each item may be grouped with."""

    def __getitem__(self, item: int, /) -> Sequence[int]: ...


# Pairs to prefetch: enough for many processors, and no more than a second's work for two.
_PREFETCHED = 512


def star_groups(
    order: Sequence[int],
    neighbours: Neighbours,
    is_member: Callable[[int, int], bool],
    prefetch: Callable[[list[tuple[int, int]]], None] = lambda pairs: None,
) -> IntArray:
    """Find the representative of each item, testing every member against it.

    The first item of ``order`` without a group represents a new one; its neighbours without a group that pass the test
    join. So A and C are not grouped because both resemble B.

    Parameters
    ----------
    order : sequence of int
        A permutation of the N items, those to keep first.
    neighbours : Neighbours
        Candidates of each item; symmetric.
    is_member : callable
        ``is_member(representative, candidate)``.
    prefetch : callable
        Called with the pairs that ``is_member`` is asked next, hundreds at a time; with a few that it is not asked.

    Returns
    -------
    numpy.ndarray
        Shape (N,), int64: the representative of each item, itself where nothing resembles it.
    """
    rank = np.empty(len(order), dtype=np.int64)
    rank[np.asarray(order, dtype=np.int64)] = np.arange(len(order))
    representative = np.full(len(order), -1, dtype=np.int64)
    for wave in _waves(order, neighbours, representative):
        prefetch([(item, other) for item in wave for other in neighbours[item] if representative[other] < 0])
        for item in wave:
            representative[item] = item
            for other in sorted(neighbours[item], key=lambda index: rank[index]):
                if representative[other] < 0 and is_member(item, other):
                    representative[other] = item
    return representative


def _waves(order: Sequence[int], neighbours: Neighbours, representative: IntArray) -> Iterator[list[int]]:
    """Yield representatives in waves; no item of a wave is a neighbour of another."""
    wave: list[int] = []
    reach: set[int] = set()
    for item in order:
        if wave and (item in reach or len(reach) >= _PREFETCHED):
            yield wave
            wave, reach = [], set()
        if representative[item] < 0:
            wave.append(item)
            reach.update(neighbours[item])
    if wave:
        yield wave


def equal_groups(order: Sequence[int], keys: Sequence[Iterable[Hashable]]) -> IntArray:
    """Find the representative of each item where items that share a key are equal: the first in ``order``.

    Groups that share an item are merged.

    Returns
    -------
    numpy.ndarray
        Shape (N,), int64.
    """
    parents = list(range(len(order)))

    def root(item: int) -> int:
        while parents[item] != item:
            parents[item] = parents[parents[item]]
            item = parents[item]
        return item

    owner: dict[Hashable, int] = {}
    for item in order:
        for key in keys[item]:
            parents[root(item)] = root(owner.setdefault(key, item))
    first: dict[int, int] = {}
    for item in order:
        first.setdefault(root(item), item)
    return np.array([first[root(item)] for item in range(len(order))], dtype=np.int64)


class NeighbourLists:
    """The neighbours of each item, ascending, held in two arrays."""

    def __init__(self, limits: IntArray, ends: IntArray) -> None:
        self._limits = limits
        self._ends = ends

    def __getitem__(self, item: int, /) -> list[int]:
        found: list[int] = self._ends[self._limits[item] : self._limits[item + 1]].tolist()
        return found


def neighbour_lists(count: int, pairs: IntArray | Iterable[tuple[int, int]]) -> NeighbourLists:
    """List the neighbours of each item by pairs (M, 2), which count in both directions."""
    found = pairs if isinstance(pairs, np.ndarray) else np.array(list(pairs), dtype=np.int64).reshape(-1, 2)
    one, other = found.T
    items, ends = np.divmod(np.unique(np.concatenate([one * count + other, other * count + one])), max(count, 1))
    return NeighbourLists(np.searchsorted(items, np.arange(count + 1)), ends)
