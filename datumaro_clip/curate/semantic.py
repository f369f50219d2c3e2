"""Semantic duplicates: items similar enough to represent one another, found inside clusters as SemDeDup does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from datumaro_clip.curate.clusters import default_clusters, spherical_kmeans
from datumaro_clip.curate.groups import IntArray
from datumaro_clip.curate.nearest import IN_TURN
from datumaro_clip.similarity import exact_scores
from datumaro_clip.similarity.scores import NUMPY_SIEVE
from datumaro_clip.vectors import FloatArray

if TYPE_CHECKING:
    from datumaro_clip.curate.near.threads import Pool

BoolArray = npt.NDArray[np.bool_]

_MOST_ASKED = 1000
# Similarities held at a time: 64 MiB of float32.
_BLOCK = 1 << 24


class SemanticChoice(NamedTuple):
    """Which items stay, and which of them represent the others.

    Attributes
    ----------
    kept : numpy.ndarray
        Shape (N,), bool.
    representatives : numpy.ndarray
        Shape (N,), int64: the most similar kept item of the cluster; a kept item itself.
    likeness : numpy.ndarray
        Shape (N,), float32: cosine similarity with the representative; 1 for kept items.
    clusters : numpy.ndarray
        Shape (N,), int64.
    """

    kept: BoolArray
    representatives: IntArray
    likeness: FloatArray
    clusters: IntArray


class Control(NamedTuple):
    """How similar dropped items are to kept ones, by a choice and by a random choice of the same size.

    Attributes
    ----------
    chosen, random : float
        Mean cosine similarity of a dropped item with the most similar kept item.
    """

    chosen: float
    random: float


def choose_semantic(
    vectors: FloatArray,
    order: Sequence[int],
    keep_ratio: float,
    *,
    texts: FloatArray | None = None,
    threshold: float | None = None,
    clusters: int | None = None,
    seed: int = 0,
    pool: Pool = IN_TURN,
) -> SemanticChoice:
    """Keep a share of the items, dropping those that are most similar to kept ones.

    SemDeDup (Abbas et al., 2023): inside each k-means cluster, an item's score is its largest similarity with an
    earlier item; the items of the highest scores are dropped. With a threshold, an item is dropped that is at least
    that similar to an earlier kept one.

    Parameters
    ----------
    vectors : numpy.ndarray
        Shape (N, D), float32 unit rows.
    order : sequence of int
        A permutation of the items, those to keep first.
    keep_ratio : float
        Share to keep, above 0, at most 1; rounded up to whole items.
    texts : numpy.ndarray, optional
        Shape (N, E), float32 unit rows: the similarity of two items is then the lower one of both sides.
    threshold : float, optional
        Cosine similarity; decides instead of the share.
    clusters : int, optional
        :func:`default_clusters` where omitted.
    seed : int
        Of the clusters.
    pool : Pool
        Compares the items of each cluster.
    """
    count = len(vectors)
    ranked = np.asarray(order, dtype=np.int64)
    sides = [vectors] if texts is None else [vectors, texts]
    labels = spherical_kmeans(vectors, clusters or default_clusters(count), seed).labels
    kept, scores = np.ones(count, np.bool_), np.full(count, -1.0, np.float32)
    grouped = _members(ranked, labels)
    found = pool.map(partial(_scored, sides, threshold), grouped)
    for members, (stays, similar) in zip(grouped, found, strict=True):
        kept[members], scores[members] = stays, similar
    if threshold is None:
        rank = np.argsort(ranked, kind="stable")
        kept[np.lexsort((-rank, -scores))[: count - math.ceil(keep_ratio * count - 1e-9)]] = False
    representatives, likeness = np.arange(count), np.ones(count, np.float32)
    divided = [(members[kept[members]], members[~kept[members]]) for members in _members(representatives, labels)]
    divided = [(staying, going) for staying, going in divided if len(staying)]
    replaced = pool.map(partial(_replaced, sides), divided)
    for (_, going), (chosen, similar) in zip(divided, replaced, strict=True):
        representatives[going], likeness[going] = chosen, similar
    return SemanticChoice(kept, representatives, likeness, labels)


def _scored(sides: Sequence[FloatArray], threshold: float | None, members: IntArray) -> tuple[BoolArray, FloatArray]:
    """Find the items of a cluster that a threshold keeps, and each one's similarity to the most similar before it."""
    similar = _similarity(sides, members, members)
    stays, scores = np.ones(len(members), np.bool_), np.full(len(members), -1.0, np.float32)
    for place in range(1, len(members)):
        earlier = np.arange(place) if threshold is None else np.flatnonzero(stays[:place])
        _, scores[place] = _closest(sides, members[place], members[earlier], similar[place, earlier])
        stays[place] = threshold is None or scores[place] < threshold
    return stays, scores


def _replaced(sides: Sequence[FloatArray], divided: tuple[IntArray, IntArray]) -> tuple[IntArray, FloatArray]:
    """Find the most similar kept item for each dropped item of a cluster, and how similar it is."""
    staying, going = divided
    similar = _similarity(sides, going, staying)
    found = [_closest(sides, item, staying, row) for item, row in zip(going, similar, strict=True)]
    return staying[[place for place, _ in found]], np.array([score for _, score in found], np.float32)


def control(sides: Sequence[FloatArray], kept: BoolArray, seed: int = 0) -> Control:
    """Compare a choice with a random one of the same size, on at most 1,000 dropped items.

    Parameters
    ----------
    sides : sequence of numpy.ndarray
        Each (N, D), float32 unit rows: the similarity of two items is the lowest one of all sides.
    kept : numpy.ndarray
        Shape (N,), bool, of both values.
    """
    rng = np.random.default_rng(seed)

    def covered(kept: BoolArray) -> float:
        going, staying = rng.permutation(np.flatnonzero(~kept))[:_MOST_ASKED], np.flatnonzero(kept)
        blocks = np.array_split(going, math.ceil(len(going) * len(staying) / _BLOCK))
        return float(np.mean(np.concatenate([_similarity(sides, block, staying).max(axis=1) for block in blocks])))

    return Control(covered(kept), covered(rng.permutation(kept)))


def _similarity(sides: Sequence[FloatArray], ones: IntArray, others: IntArray) -> FloatArray:
    """Return the similarities of items: on several sides, the lowest; rounded differently by different machines."""
    found: FloatArray = np.min([side[ones] @ side[others].T for side in sides], axis=0)
    return found


def _closest(sides: Sequence[FloatArray], item: int, others: IntArray, similar: FloatArray) -> tuple[int, float]:
    """Find the place of the most similar other, the first of several, and the similarity, by exact scores."""
    margin = 2 * max(NUMPY_SIEVE.error(side.shape[1]) for side in sides)
    suspects = np.flatnonzero(similar >= similar.max() - margin)
    exact = np.min([exact_scores(side[item], side[others[suspects]]) for side in sides], axis=0).round(6)
    best = int(exact.argmax())
    return int(suspects[best]), float(exact[best])


def _members(ranked: IntArray, labels: IntArray) -> list[IntArray]:
    """Group the items by cluster, each group in the order given."""
    by_cluster = ranked[np.argsort(labels[ranked], kind="stable")]
    return np.split(by_cluster, np.flatnonzero(np.diff(labels[by_cluster])) + 1) if len(ranked) else []
