"""Choosing a part of a dataset that does the work of the whole."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from datumaro_clip.curate.clusters import spherical_kmeans
from datumaro_clip.curate.groups import IntArray
from datumaro_clip.curate.semantic import default_clusters
from datumaro_clip.errors import OptionError
from datumaro_clip.similarity import top_k
from datumaro_clip.similarity.scores import NUMPY_SIEVE, numpy_product
from datumaro_clip.vectors import FloatArray

METHODS = ("random", "stratified", "k_center", "centroid", "cluster_random", "typical", "query")
_NEIGHBOURS = 20


class Picks(NamedTuple):
    """Chosen rows, in the order of choice.

    Attributes
    ----------
    indices : numpy.ndarray
        Shape (count,), int64.
    scores : numpy.ndarray
        Shape (count,), float32: what they were chosen by; the method says what that is.
    """

    indices: IntArray
    scores: FloatArray


def wanted_count(total: int, count: int | None, ratio: float | None) -> int:
    """How many of ``total`` a count or a ratio asks for; a ratio is rounded, a count is cut to the total.

    Raises
    ------
    OptionError
        Unless exactly one is given, and it is in range.
    """
    if (count is None) == (ratio is None):
        raise OptionError("give either --count or --ratio")
    if count is not None:
        if count < 0:
            raise OptionError(f"--count must be at least 0, got {count}")
        return min(count, total)
    if ratio is None or not 0 <= ratio <= 1:
        raise OptionError(f"--ratio must be from 0 to 1, got {ratio}")
    return round(ratio * total)


def pick_random(total: int, count: int, seed: int) -> Picks:
    """Each set of ``count`` rows equally likely; scores are 0."""
    indices = np.random.default_rng(seed).permutation(total)[:count]
    return Picks(indices.astype(np.int64), np.zeros(len(indices), np.float32))


def pick_stratified(classes: Sequence[Hashable], count: int, seed: int) -> Picks:
    """At random inside each class, every class by its share (largest remainders, then first come)."""
    order = np.random.default_rng(seed).permutation(len(classes))
    members: dict[Hashable, list[int]] = {}
    for index in range(len(classes)):
        members.setdefault(classes[index], [])
    for index in order.tolist():
        members[classes[index]].append(index)
    shares = _apportion([len(rows) for rows in members.values()], count)
    chosen = [index for rows, share in zip(members.values(), shares, strict=True) for index in rows[:share]]
    return Picks(np.array(chosen, dtype=np.int64), np.zeros(len(chosen), np.float32))


def pick_k_center(vectors: FloatArray, count: int, seed: int, start: FloatArray | None = None) -> Picks:
    """Greedy farthest point (Gonzalez, 1985): each pick is the row least similar to all that is chosen.

    Parameters
    ----------
    vectors : numpy.ndarray
        Shape (N, D), float32 unit rows.
    count : int
    seed : int
        Draws the first pick, where there is no ``start``.
    start : numpy.ndarray, optional
        Shape (M, D): rows that one has already.

    Returns
    -------
    Picks
        Scores are the similarity with the nearest row chosen before, -1 for a first pick. Ties go to the lower
        index.
    """
    if not len(vectors) or not count:
        return _no_picks()
    nearest = _similarity_to(vectors, start)
    held = vectors[:0] if start is None else start
    centres = np.concatenate([held, np.empty((min(count, len(vectors)), vectors.shape[1]), np.float32)])
    picks, scores = [], []
    for taken in range(len(held), len(centres)):
        first = int(np.random.default_rng(seed).integers(len(vectors))), -1.0
        pick, score = _farthest(vectors, nearest, centres[:taken]) if taken else first
        picks.append(pick)
        scores.append(score)
        centres[taken] = vectors[pick]
        np.maximum(nearest, numpy_product(vectors, vectors[pick, None])[:, 0], out=nearest)
        nearest[pick] = np.inf
    return Picks(np.array(picks, dtype=np.int64), np.array(scores, dtype=np.float32))


def _farthest(vectors: FloatArray, nearest: FloatArray, centres: FloatArray) -> tuple[int, float]:
    """The row least similar to its nearest centre, and that similarity; exact scores decide among what may be it."""
    margin = np.float32(2 * NUMPY_SIEVE.error(vectors.shape[1]))
    suspects = np.flatnonzero(nearest <= nearest.min() + margin)
    scores = top_k(vectors[suspects], centres, 1)[1][:, 0]
    least = int(scores.argmin())
    return int(suspects[least]), float(scores[least])


def coverage_radius(vectors: FloatArray, chosen: IntArray) -> float:
    """Largest angle, in radians from 0 to pi, of any row from the nearest chosen one; k-center makes it small."""
    if not len(vectors):
        return 0.0
    return float(np.arccos(np.clip(_similarity_to(vectors, vectors[chosen]).min(), -1, 1)))


def pick_centroid(vectors: FloatArray, count: int, seed: int) -> Picks:
    """The row nearest to each of ``count`` k-means centroids; scores are that similarity."""
    return _best_of_clusters(vectors, count, seed, spherical_kmeans(vectors, max(count, 1), seed).scores)


def pick_typical(vectors: FloatArray, count: int, seed: int) -> Picks:
    """The row with the nearest neighbours in each of ``count`` clusters (TypiClust, Hacohen et al., 2022).

    Scores are the mean similarity with the 20 nearest neighbours.
    """
    if len(vectors) < 2:
        return pick_centroid(vectors, count, seed)
    _, scores = top_k(vectors, vectors, min(_NEIGHBOURS + 1, len(vectors)))
    typicality = scores[:, 1:].mean(axis=1).round(6)
    return _best_of_clusters(vectors, count, seed, typicality)


def pick_cluster_random(vectors: FloatArray, count: int, seed: int, clusters: int | None = None) -> Picks:
    """At random inside each k-means cluster, every cluster by its share."""
    labels = spherical_kmeans(vectors, clusters or default_clusters(len(vectors)), seed).labels
    return pick_stratified(labels.tolist(), count, seed)


def pick_query(vectors: FloatArray, query: FloatArray, count: int) -> Picks:
    """The rows most similar to a query (D,); scores are that similarity, in descending order."""
    if not len(vectors) or not count:
        return _no_picks()
    indices, scores = top_k(query[None], vectors, min(count, len(vectors)))
    return Picks(indices[0], scores[0])


def _best_of_clusters(vectors: FloatArray, count: int, seed: int, scores: FloatArray) -> Picks:
    """The highest score of each cluster; what coincident rows leave open is filled with the next best."""
    if not len(vectors) or not count:
        return _no_picks()
    labels = spherical_kmeans(vectors, count, seed).labels
    order = np.argsort(-scores, kind="stable")
    _, first = np.unique(labels[order], return_index=True)
    leaders = order[np.sort(first)]
    rest = order[~np.isin(order, leaders)]
    chosen = np.concatenate([leaders, rest])[:count]
    return Picks(chosen, scores[chosen])


def _similarity_to(vectors: FloatArray, others: FloatArray | None) -> FloatArray:
    """Highest similarity of each row with any of the others, -1 where there are none."""
    if others is None or not len(others):
        return np.full(len(vectors), -1.0, np.float32)
    return np.array(top_k(vectors, others, 1)[1][:, 0])


def _apportion(sizes: list[int], count: int) -> list[int]:
    """Whole shares of ``count`` in proportion to the sizes, by largest remainders (Hamilton)."""
    total = sum(sizes)
    if not total:
        return [0] * len(sizes)
    exact = [min(count, total) * size / total for size in sizes]
    shares = [math.floor(share) for share in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda place: shares[place] - exact[place])
    for place in by_remainder[: min(count, total) - sum(shares)]:
        shares[place] += 1
    return shares


def _no_picks() -> Picks:
    return Picks(np.empty(0, np.int64), np.empty(0, np.float32))
