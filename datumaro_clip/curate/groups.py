"""Groups around representatives: stars, never chains."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


def star_groups(
    order: Sequence[int], neighbours: Sequence[Sequence[int]], is_member: Callable[[int, int], bool]
) -> IntArray:
    """Give each item its representative, testing every member against it.

    The first item of ``order`` that has no group yet represents the next one; of its neighbours, those without a
    group that pass the test join. A resembles B and B resembles C therefore never joins A and C.

    Parameters
    ----------
    order : sequence of int
        A permutation of the N items, those to keep first.
    neighbours : sequence of sequences of int
        Candidates of each item; symmetric.
    is_member : callable
        ``is_member(representative, candidate)``.

    Returns
    -------
    numpy.ndarray
        Shape (N,), int64: the representative of each item, itself where nothing resembles it.
    """
    rank = np.empty(len(order), dtype=np.int64)
    rank[np.asarray(order, dtype=np.int64)] = np.arange(len(order))
    representative = np.full(len(order), -1, dtype=np.int64)
    for item in order:
        if representative[item] >= 0:
            continue
        representative[item] = item
        for other in sorted(neighbours[item], key=lambda index: rank[index]):
            if representative[other] < 0 and is_member(item, other):
                representative[other] = item
    return representative


def equal_groups(order: Sequence[int], keys: Sequence[Iterable[Hashable]]) -> IntArray:
    """Give each item its representative where items that share any key are equal.

    Sharing a key has to mean being equal, so that groups may be merged: the first in ``order`` represents.

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


def neighbour_lists(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The other end of each pair, for either end; no item twice, ascending."""
    lists: list[set[int]] = [set() for _ in range(count)]
    for one, other in pairs:
        lists[one].add(other)
        lists[other].add(one)
    return [sorted(found) for found in lists]
