"""Near duplicates: similarities propose pairs, pixels decide, representatives gather groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeAlias

import numpy as np

from datumaro_clip.curate import near_features
from datumaro_clip.curate.groups import IntArray, neighbour_lists, star_groups
from datumaro_clip.curate.near_alignment import align
from datumaro_clip.curate.near_pixels import NO_MATCH, PixelMatch, compare, match
from datumaro_clip.curate.near_rules import ALONE, VOUCHED, is_copy
from datumaro_clip.curate.rings import WHOLE, Thumbnail, describe, orient, spectra
from datumaro_clip.errors import OptionError
from datumaro_clip.similarity import top_k
from datumaro_clip.vectors import FloatArray

# What two views of copies have in common at least, whatever the noise, and how many neighbours are looked at.
_RING_SIMILARITY = 0.9
_RING_NEIGHBOURS = 12
_VIEW_NEIGHBOURS = 4
_VECTOR_NEIGHBOURS = 16
# Below this ring correlation, aligning has never ended in a copy; features get a try where vectors propose.
_WORTH_ALIGNING = 0.7
# From this on, a pair resembles as wholes, and no view of either can do better by much.
_ALIKE_AS_WHOLES = 0.9
_ROUNDS = 3


Pair: TypeAlias = tuple[int, int]


class Thumbnails(Protocol):
    """Thumbnails (96, 96, 3) by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Thumbnail: ...


@dataclass(frozen=True)
class NearGroups:
    """Groups of near duplicates.

    Attributes
    ----------
    representatives : numpy.ndarray
        Shape (N,), int64: itself where an item is no copy.
    matches : dict
        What comparing (lower, higher) showed, for every pair that was looked at.
    """

    representatives: IntArray
    matches: dict[Pair, PixelMatch]

    def verdict(self, one: int, other: int) -> tuple[PixelMatch, float]:
        """What comparing two pictures showed, and the log odds that were asked of it."""
        found = self.matches[min(one, other), max(one, other)]
        return found, ALONE if is_copy(found) else VOUCHED


def find_near(
    thumbnails: Thumbnails,
    order: Sequence[int],
    vectors: FloatArray | None = None,
    *,
    rows: Sequence[int] | None = None,
    threshold: float = 0.88,
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

    Returns
    -------
    NearGroups
    """
    if not -1 <= threshold <= 1:
        raise OptionError(f"--threshold must be a cosine similarity from -1 to 1, got {threshold}")
    everything = np.arange(len(thumbnails), dtype=np.int64)
    representatives = everything
    if len(thumbnails) < 2:
        return NearGroups(representatives, {})
    described = np.stack([describe(thumbnails[index]) for index in everything.tolist()])
    by_vector = _by_vector(vectors, rows, threshold)
    referee = _Referee(thumbnails, by_vector)
    pairs = set(by_vector)
    for _ in range(_ROUNDS):
        standing = np.flatnonzero(representatives == everything)
        fresh = _with_members(_by_rings(described, standing), representatives) - pairs
        if not fresh and pairs != by_vector:
            break
        pairs |= fresh
        neighbours = neighbour_lists(len(thumbnails), pairs)
        representatives = _adopt(star_groups(order, neighbours, referee.is_copy), order, neighbours, referee)
    return NearGroups(representatives, referee.seen)


def _by_vector(vectors: FloatArray | None, rows: Sequence[int] | None, threshold: float) -> frozenset[Pair]:
    """Pairs whose vectors are similar, of items that few others resemble: a vector like many tells none of them."""
    if vectors is None or len(vectors) < 2:
        return frozenset()
    owners = np.arange(len(vectors)) if rows is None else np.asarray(rows, dtype=np.int64)
    indices, scores = top_k(vectors, vectors, min(_VECTOR_NEIGHBOURS + 2, len(vectors)))
    telling = (scores >= threshold).sum(axis=1) <= _VECTOR_NEIGHBOURS + 1
    near = [pair for pair in _above(indices, scores, threshold) if telling[[*pair]].all()]
    return frozenset(_as_pairs(near, owners))


def _by_rings(described: FloatArray, standing: IntArray) -> set[Pair]:
    """Pairs of the standing items of which a view of the one resembles the whole of the other.

    Parameters
    ----------
    described : numpy.ndarray
        Shape (N, V, D): view 0 is the whole.
    standing : numpy.ndarray
        Shape (M,), int64.
    """
    whole = described[standing, 0]
    found: set[Pair] = set()
    for view in range(described.shape[1]):
        count = _VIEW_NEIGHBOURS if view else _RING_NEIGHBOURS
        found |= _similar(described[standing, view], whole, standing, count + 1, _RING_SIMILARITY)
    return found


def _similar(queries: FloatArray, matrix: FloatArray, owners: IntArray, count: int, threshold: float) -> set[Pair]:
    """Each query with its nearest rows from the threshold on, as pairs of their owners, lower first."""
    indices, scores = top_k(queries, matrix, min(count, len(matrix)))
    return _as_pairs(_above(indices, scores, threshold), owners)


def _as_pairs(near: Iterable[Pair], owners: IntArray) -> set[Pair]:
    """Pairs of rows as pairs of their owners, lower first, none of an item with itself."""
    owned = [(int(owners[row]), int(owners[other])) for row, other in near]
    return {(min(pair), max(pair)) for pair in owned if pair[0] != pair[1]}


def _above(indices: IntArray, scores: FloatArray, threshold: float) -> Iterator[Pair]:
    for row, place in np.argwhere(scores >= threshold).tolist():
        yield row, int(indices[row, place])


def _with_members(pairs: set[Pair], representatives: IntArray) -> set[Pair]:
    """The pairs, and each end with the members of the other: a group may change hands, its members are tested anew."""
    members: dict[int, list[int]] = {}
    for item, representative in enumerate(representatives.tolist()):
        members.setdefault(representative, []).append(item)
    crossed = ((one, other) for pair in pairs for a, b in (pair, pair[::-1]) for one in [a] for other in members[b])
    return pairs | {(min(pair), max(pair)) for pair in crossed if pair[0] != pair[1]}


def _adopt(
    representatives: IntArray, order: Sequence[int], neighbours: Sequence[Sequence[int]], referee: _Referee
) -> IntArray:
    """Let lone items join a group of which a member vouches for them, if they resemble its representative."""
    adopted: IntArray = np.array(representatives)
    sizes = np.bincount(representatives, minlength=len(representatives))
    for item in order:
        if sizes[item] != 1 or representatives[item] != item:
            continue
        for other in neighbours[item]:
            head = int(representatives[other])
            if head not in (item, other) and referee.is_copy(item, other) and referee.vouched(item, head):
                adopted[item] = head
                break
    return adopted


class _Referee:
    """Compares pairs, each once."""

    def __init__(self, thumbnails: Thumbnails, by_vector: frozenset[Pair]) -> None:
        self.seen: dict[Pair, PixelMatch] = {}
        self.by_vector = by_vector
        self._thumbnails = thumbnails
        self._whole = lru_cache(maxsize=8192)(lambda index: spectra(thumbnails[index], (WHOLE,)))
        self._views = lru_cache(maxsize=1024)(lambda index: spectra(thumbnails[index]))
        self._features = lru_cache(maxsize=1024)(lambda index: near_features.features(thumbnails[index]))

    def is_copy(self, one: int, other: int) -> bool:
        """Whether two pictures are copies, whichever is the original."""
        pair = (min(one, other), max(one, other))
        if pair not in self.seen:
            self.seen[pair] = self._compare(*pair)
        return is_copy(self.seen[pair])

    def vouched(self, one: int, other: int) -> bool:
        """Whether two pictures are copies, given that a third is surely a copy of both."""
        self.is_copy(one, other)
        return is_copy(self.seen[min(one, other), max(one, other)], vouched=True)

    def _compare(self, one: int, other: int) -> PixelMatch:
        found = self._by_whole(one, other)
        if found is None:
            found = self._by_views(one, other)
        if is_copy(found) or (one, other) not in self.by_vector:
            return found
        return self._by_features(one, other, found)

    def _by_whole(self, one: int, other: int) -> PixelMatch | None:
        """The comparison of whole with whole; None where they are not alike enough for a crop to be ruled out."""
        orientation = orient(self._whole(one), self._whole(other))
        if orientation.score < _ALIKE_AS_WHOLES:
            return None
        return match(self._thumbnails[one], self._thumbnails[other], orientation)

    def _by_views(self, one: int, other: int) -> PixelMatch:
        """The comparison of the view of either that resembles the whole of the other most."""
        found = NO_MATCH
        for left, right in ((one, other), (other, one)):
            orientation = orient(self._views(left), self._views(right))
            if orientation.score < _WORTH_ALIGNING:
                continue
            found = match(self._thumbnails[left], self._thumbnails[right], orientation)
            if is_copy(found) or orientation.view == WHOLE:
                break
        return found

    def _by_features(self, one: int, other: int, otherwise: PixelMatch) -> PixelMatch:
        first, second = self._thumbnails[one], self._thumbnails[other]
        here, there = self._features(one), self._features(other)
        start = near_features.locate(here, there)
        if start is None:
            mirrored = near_features.features(near_features.mirror(second))
            start = near_features.locate(here, mirrored, mirrored=True)
        return otherwise if start is None else compare(first, second, align(first, second, start))
