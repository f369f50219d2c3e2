"""Groups of near duplicates out of thumbnails, and vectors where there are some."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from datumaro_clip.curate.groups import IntArray, Neighbours, neighbour_lists, star_groups
from datumaro_clip.curate.near.alignment import roughness
from datumaro_clip.curate.near.judge import Difference
from datumaro_clip.curate.near.pixels import PixelMatch
from datumaro_clip.curate.near.progress import Progress
from datumaro_clip.curate.near.proposals import RingNeighbours, by_vector, codes_of
from datumaro_clip.curate.near.referee import Pair, Pictures, Referee
from datumaro_clip.curate.near.rules import ALONE, CONFIRMED, is_copy
from datumaro_clip.curate.near.threads import Crew, workers
from datumaro_clip.curate.near.thumbnails import OneAtATime, Thumbnails
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
        Shape (N,), int64: itself where an item is no copy.
    matches : dict
        What comparing (lower, higher) showed, for every pair that are copies, be it where a third vouches for them.
    compared : int
        How many pairs were looked at.
    differences : dict
        The largest difference between the full pictures of (lower, higher), for the pairs that thumbnails take for
        copies; empty where there were no pictures.
    recall : dict
        How many of how many neighbours by vectors and by descriptors were found, in a sample; empty where all were.
    """

    representatives: IntArray
    matches: dict[Pair, PixelMatch]
    compared: int
    differences: dict[Pair, Difference]
    recall: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def edits(self) -> dict[Pair, Difference]:
        """The pairs that look like copies and differ in a small place."""
        return {pair: found for pair, found in self.differences.items() if found.is_edit}

    def difference(self, one: int, other: int) -> Difference | None:
        """How two pictures differ at full resolution, where that was looked at; the place in ``one`` first."""
        found = self.differences.get((min(one, other), max(one, other)))
        return found if found is None or one < other else found._replace(boxes=found.boxes[::-1])

    def verdict(self, one: int, other: int) -> tuple[PixelMatch, float]:
        """What comparing two pictures showed, and the log odds that were asked of it."""
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
    """Group altered copies: re-encoded, resized, cropped, turned, mirrored, brightened, noisy.

    Parameters
    ----------
    thumbnails : sequence
        N thumbnails (96, 96, 3), uint8 RGB.
    order : sequence of int
        A permutation of the N, those to keep first.
    vectors : numpy.ndarray, optional
        Shape (M, D), float32 unit rows: proposes pairs that rings may miss.
    rows : sequence of int, optional
        The thumbnail that each vector belongs to; vector i to thumbnail i where omitted.
    threshold : float
        Cosine similarity from which vectors propose a pair.
    pictures : callable, optional
        Gives the picture of each of the N, as ``images.decode`` takes it; called by several threads, for pairs that
        thumbnails take for copies. Where omitted, thumbnails alone decide.
    crew : callable
        Who describes and compares pictures; changes the time, never the answer.
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
        shared = OneAtATime(thumbnails)
        search = Search(pool, approximate)
        proposed = by_vector(vectors, rows, threshold, len(thumbnails), search)
        referee = Referee(shared, proposed, pool, pictures)
        representatives, _ = _grouped(RingNeighbours(shared, pool, search), referee, order, proposed)
    return NearGroups(representatives, referee.matches, referee.compared, referee.differences, search.recall)


def find_copies(thumbnails: Thumbnails, pictures: Pictures, *, crew: Crew = workers) -> list[Pair]:
    """Every pair of altered copies, whoever represents whom, and in whatever order they come.

    Groups leave out pairs that belong to two groups: which pairs those are hangs on the order.

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
        shared, none = OneAtATime(thumbnails), np.empty(0, np.int64)
        referee = Referee(shared, none, pool, pictures)
        order = sorted(range(count), key=lambda index: roughness(shared[index]))
        _, codes = _grouped(RingNeighbours(shared, pool, Search(pool)), referee, order, none)
        pairs = [divmod(code, count) for code in codes.tolist()]
        _telling(referee, len(pairs))(pairs)
        return [pair for pair in pairs if referee.is_copy(*pair)]


def _grouped(
    rings: RingNeighbours, referee: Referee, order: Sequence[int], proposed: IntArray
) -> tuple[IntArray, IntArray]:
    """The representative of each, and the codes of the pairs that could be copies.

    Those are the pairs that vectors proposed, and those that rings propose of what stands after each round.
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
        stars = star_groups(order, neighbours, referee.is_copy, _telling(referee, len(pairs)))
        representatives = _adopt(stars, order, neighbours, referee)
    return representatives, pairs


def _telling(referee: Referee, total: int) -> Callable[[Iterable[Pair]], None]:
    """Compare what will be asked for, and tell how far that has come."""
    progress = Progress("pairs compared:")

    def prefetch(pairs: Iterable[Pair]) -> None:
        referee.prefetch(pairs)
        progress.tell(referee.compared, total)

    return prefetch


def _with_members(pairs: IntArray, representatives: IntArray) -> IntArray:
    """The pairs, and each end with the members of the other: a group may change hands, its members are tested anew."""
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
    """Let a lone item that is a copy of a group's member join, if it resembles the representative, too."""
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
