"""Finds groups of near duplicates by thumbnails, and by vectors where there are some."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from datumaro_clip.curate.groups import IntArray, Neighbours, neighbour_lists, star_groups
from datumaro_clip.curate.near.alignment import roughness
from datumaro_clip.curate.near.judge import Difference
from datumaro_clip.curate.near.pixels import PixelMatch
from datumaro_clip.curate.near.proposals import RingNeighbours, by_vector, codes_of
from datumaro_clip.curate.near.referee import Pair, Pictures, Referee
from datumaro_clip.curate.near.rings import Thumbnails
from datumaro_clip.curate.near.rules import ALONE, CONFIRMED, is_copy
from datumaro_clip.curate.near.threads import Crew, Progress, workers
from datumaro_clip.curate.nearest import Search
from datumaro_clip.errors import OptionError
from datumaro_clip.vectors import FloatArray

_ROUNDS = 3


@dataclass(frozen=True)
class NearGroups:
    """Groups of near duplicates.

    Attributes
    ----------
    representatives : numpy.ndarray
        Shape (N,), int64; an item that is no copy represents itself.
    matches : dict
        The match of (lower, higher), for the pairs that are copies, alone or confirmed by a third picture.
    compared : int
        How many pairs were compared.
    differences : dict
        The largest difference between the full pictures of (lower, higher), for the pairs whose thumbnails pass for
        copies; empty where there were no pictures.
    recall : dict
        How many of how many neighbours by vectors and by descriptors were found, in a sample; empty if all were.
    """

    representatives: IntArray
    matches: dict[Pair, PixelMatch]
    compared: int
    differences: dict[Pair, Difference]
    recall: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def edits(self) -> dict[Pair, Difference]:
        """The pairs whose thumbnails pass for copies, but whose pictures differ in a small place."""
        return {pair: found for pair, found in self.differences.items() if found.is_edit}

    def difference(self, one: int, other: int) -> Difference | None:
        """Return how two pictures differ at full resolution, if that was judged; the place in ``one`` first."""
        found = self.differences.get((min(one, other), max(one, other)))
        return found if found is None or one < other else found._replace(boxes=found.boxes[::-1])

    def verdict(self, one: int, other: int) -> tuple[PixelMatch, float]:
        """Return the match of two pictures, and the log odds that it had to reach."""
        found = self.matches[min(one, other), max(one, other)]
        return found, ALONE if is_copy(found) else CONFIRMED


def find_near(
    thumbnails: Thumbnails,
    order: Sequence[int],
    vectors: FloatArray | None = None,
    *,
    rows: Sequence[int] | None = None,
    threshold: float = 0.88,
    pictures: Pictures | None = None,
    crew: Crew = workers,
    approximate: bool = False,
) -> NearGroups:
    """Group altered copies: re-encoded, resized, cropped, rotated, mirrored, brightened, noisy.

    Parameters
    ----------
    thumbnails : sequence
        N thumbnails (96, 96, 3), uint8 RGB; read by several threads at once.
    order : sequence of int
        A permutation of the N; those to keep come first.
    vectors : numpy.ndarray, optional
        Shape (M, D), float32 unit rows: propose pairs that thumbnails may miss.
    rows : sequence of int, optional
        The thumbnail that each vector belongs to; vector i to thumbnail i where omitted.
    threshold : float
        Cosine similarity from which vectors propose a pair.
    pictures : callable, optional
        Returns the picture of each of the N, as ``images.decode`` takes it; called by several threads, for the pairs
        whose thumbnails pass for copies. If omitted, thumbnails alone decide.
    crew : callable
        Makes the pool that describes and compares pictures; changes the time, never the answer.
    approximate : bool
        Look for pairs only inside the two nearest clusters of each picture.

    Returns
    -------
    NearGroups
    """
    if not -1 <= threshold <= 1:
        raise OptionError(f"--threshold must be a cosine similarity from -1 to 1, got {threshold}")
    if len(thumbnails) < 2:
        return NearGroups(np.arange(len(thumbnails), dtype=np.int64), {}, 0, {})
    with crew() as pool:
        search = Search(pool, approximate)
        proposed = by_vector(vectors, rows, threshold, len(thumbnails), search)
        referee = Referee(thumbnails, proposed, pool, pictures)
        representatives, _ = _grouped(RingNeighbours(thumbnails, pool, search), referee, order, proposed)
    return NearGroups(representatives, referee.matches, referee.compared, referee.differences, search.recall)


def find_copies(thumbnails: Thumbnails, pictures: Pictures, *, crew: Crew = workers) -> list[Pair]:
    """Find every pair of altered copies, whatever the order of the pictures.

    Groups, in contrast, depend on the order: they leave out the pairs whose two pictures end in different groups.

    Parameters
    ----------
    thumbnails, pictures, crew
        As for :func:`find_near`.

    Returns
    -------
    list of (int, int)
        (lower, higher) numbers of thumbnails, ascending.
    """
    count = len(thumbnails)
    if count < 2:
        return []
    with crew() as pool:
        none = np.empty(0, np.int64)
        referee = Referee(thumbnails, none, pool, pictures)
        order = sorted(range(count), key=lambda index: roughness(thumbnails[index]))
        _, codes = _grouped(RingNeighbours(thumbnails, pool, Search(pool)), referee, order, none)
        pairs = [divmod(code, count) for code in codes.tolist()]
        _prefetching(referee, len(pairs))(pairs)
        return [pair for pair in pairs if referee.is_copy(*pair)]


def _grouped(
    rings: RingNeighbours, referee: Referee, order: Sequence[int], proposed: IntArray
) -> tuple[IntArray, IntArray]:
    """Return the representative of each item, and the codes of all pairs that were proposed.

    Each round adds the pairs that descriptors propose among the representatives of the round before.
    """
    everything = representatives = np.arange(len(order), dtype=np.int64)
    pairs = proposed
    for _ in range(_ROUNDS):
        nearby = _with_members(rings.pairs(representatives == everything), representatives)
        fresh = np.setdiff1d(nearby, pairs, assume_unique=True)
        if not len(fresh) and len(pairs) > len(proposed):
            break
        pairs = np.union1d(pairs, fresh)
        neighbours = neighbour_lists(len(order), np.stack(np.divmod(pairs, len(order)), axis=1))
        stars = star_groups(order, neighbours, referee.is_copy, _prefetching(referee, len(pairs)))
        representatives = _adopt(stars, order, neighbours, referee)
    return representatives, pairs


def _prefetching(referee: Referee, total: int) -> Callable[[Iterable[Pair]], None]:
    """Make a function that compares pairs ahead, and logs the progress."""
    progress = Progress("pairs compared:")

    def prefetch(pairs: Iterable[Pair]) -> None:
        referee.prefetch(pairs)
        progress.log(referee.compared, total)

    return prefetch


def _with_members(pairs: IntArray, representatives: IntArray) -> IntArray:
    """Add to the pairs each end with the members of the other's group, for when that gets another representative."""
    count = len(representatives)
    sizes = np.bincount(representatives, minlength=count)
    ends = np.stack(np.divmod(pairs, count), axis=1)
    with_group = ends[(sizes[ends] > 1).any(axis=1)]
    members = {head: np.flatnonzero(representatives == head) for head in np.unique(with_group).tolist()}
    crossed = [
        codes_of(np.full(len(members[head]), end), members[head], count)
        for one, other in with_group.tolist()
        for end, head in ((one, other), (other, one))
    ]
    return np.unique(np.concatenate([pairs, *crossed]))


def _adopt(representatives: IntArray, order: Sequence[int], neighbours: Neighbours, referee: Referee) -> IntArray:
    """Let a single item join a group if it is a copy of a member, and that confirms it as one of the representative."""
    adopted: IntArray = np.array(representatives)
    sizes = np.bincount(representatives, minlength=len(representatives))
    for item in order:
        if sizes[item] != 1 or representatives[item] != item:
            continue
        for other in neighbours[item]:
            head = int(representatives[other])
            if head not in (item, other) and referee.is_copy(item, other) and referee.confirmed_by_third(item, head):
                adopted[item] = head
                break
    return adopted
