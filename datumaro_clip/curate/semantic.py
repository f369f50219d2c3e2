"""Semantic duplicates: pictures that stand for one another, found inside clusters as SemDeDup does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from datumaro_clip.curate.clusters import spherical_kmeans
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
    """What stays.

    Attributes
    ----------
    kept : numpy.ndarray
        Shape (N,), bool.
    scores : numpy.ndarray
        Shape (N,), float32: similarity with the most similar item of the cluster that comes earlier in the order;
        -1 for the first of a cluster.
    representatives : numpy.ndarray
        Shape (N,), int64: the kept item of the cluster that is most similar; itself for kept items.
    likeness : numpy.ndarray
        Shape (N,), float32: cosine similarity with the representative; 1 for kept items.
    threshold : float
        Scores above it are dropped.
    clusters : numpy.ndarray
        Shape (N,), int64.
    """

    kept: BoolArray
    scores: FloatArray
    representatives: IntArray
    likeness: FloatArray
    threshold: float
    clusters: IntArray


class Control(NamedTuple):
    """How well what stays stands for what goes, beside as many that go at random.

    Attributes
    ----------
    chosen, random : float
        Mean cosine similarity of what goes with what is most similar to it of all that stays.
    """

    chosen: float
    random: float


def default_clusters(count: int) -> int:
    """About the square root of the number of items, so that all clusters' pairs together cost N times that."""
    return max(1, math.isqrt(count))


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
    """Keep a share of the items, letting go of those most similar to what is kept anyway.

    SemDeDup (Abbas et al., 2023): inside each k-means cluster, an item's score is its largest similarity with an
    earlier item; the highest scores go, until the share is reached. With a threshold, an item goes that is at least so
    similar to an earlier one that stays.

    Parameters
    ----------
    vectors : numpy.ndarray
        Shape (N, D), float32 unit rows.
    order : sequence of int
        A permutation of the items, those to keep first.
    keep_ratio : float
        Share to keep, above 0, at most 1; rounded up to whole items.
    texts : numpy.ndarray, optional
        Shape (N, E), float32 unit rows: two items are then as similar as the less similar of the two vectors.
    threshold : float, optional
        Cosine similarity; decides in place of the share.
    clusters : int, optional
        :func:`default_clusters` where omitted.
    seed : int
        Of the clusters.
    pool : Pool
        Who compares the items of a cluster.
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
        doomed = np.lexsort((-rank, -scores))[: count - math.ceil(keep_ratio * count - 1e-9)]
        kept[doomed] = False
        threshold = float(scores[doomed].min(initial=1.0))
    return SemanticChoice(kept, scores, *_representatives(sides, labels, kept, pool), threshold, labels)


def _scored(sides: Sequence[FloatArray], threshold: float | None, members: IntArray) -> tuple[BoolArray, FloatArray]:
    """Which items of a cluster a threshold lets stay, and how similar each is to the most similar before it."""
    similar = _similarity(sides, members, members)
    stays, scores = np.ones(len(members), np.bool_), np.full(len(members), -1.0, np.float32)
    for place in range(1, len(members)):
        earlier = np.arange(place) if threshold is None else np.flatnonzero(stays[:place])
        _, scores[place] = _closest(sides, members[place], members[earlier], similar[place, earlier])
        stays[place] = threshold is None or scores[place] < threshold
    return stays, scores


def _representatives(
    sides: Sequence[FloatArray], labels: IntArray, kept: BoolArray, pool: Pool
) -> tuple[IntArray, FloatArray]:
    representatives, likeness = np.arange(len(labels)), np.ones(len(labels), np.float32)
    divided = [(members[kept[members]], members[~kept[members]]) for members in _members(representatives, labels)]
    divided = [(staying, going) for staying, going in divided if len(staying)]
    found = pool.map(partial(_stand_ins, sides), divided)
    for (_, going), (chosen, similar) in zip(divided, found, strict=True):
        representatives[going], likeness[going] = chosen, similar
    return representatives, likeness


def _stand_ins(sides: Sequence[FloatArray], divided: tuple[IntArray, IntArray]) -> tuple[IntArray, FloatArray]:
    """For each item of a cluster that goes the most similar one that stays, and how similar that is."""
    staying, going = divided
    similar = _similarity(sides, going, staying)
    found = [_closest(sides, item, staying, row) for item, row in zip(going, similar, strict=True)]
    return staying[[place for place, _ in found]], np.array([score for _, score in found], np.float32)


def control(sides: Sequence[FloatArray], kept: BoolArray, seed: int = 0) -> Control:
    """Measure a choice beside a random one of the same size, on at most 1,000 of the items that go.

    Parameters
    ----------
    sides : sequence of numpy.ndarray
        Each (N, D), float32 unit rows: two items are as similar as the least similar of their vectors.
    kept : numpy.ndarray
        Shape (N,), bool: what stays; some goes, and some stays.
    """
    rng = np.random.default_rng(seed)

    def covered(kept: BoolArray) -> float:
        going, staying = rng.permutation(np.flatnonzero(~kept))[:_MOST_ASKED], np.flatnonzero(kept)
        blocks = np.array_split(going, math.ceil(len(going) * len(staying) / _BLOCK))
        return float(np.mean(np.concatenate([_similarity(sides, block, staying).max(axis=1) for block in blocks])))

    return Control(covered(kept), covered(rng.permutation(kept)))


def _similarity(sides: Sequence[FloatArray], ones: IntArray, others: IntArray) -> FloatArray:
    """Cosine similarities of items in what they have in common on every side, but for rounding."""
    found: FloatArray = np.min([side[ones] @ side[others].T for side in sides], axis=0)
    return found


def _closest(sides: Sequence[FloatArray], item: int, others: IntArray, similar: FloatArray) -> tuple[int, float]:
    """The place of the most similar other, the first of several, and the similarity; exact scores decide.

    ``similar`` is rounded differently by different machines.
    """
    margin = 2 * max(NUMPY_SIEVE.error(side.shape[1]) for side in sides)
    suspects = np.flatnonzero(similar >= similar.max() - margin)
    exact = np.min([exact_scores(side[item], side[others[suspects]]) for side in sides], axis=0).round(6)
    best = int(exact.argmax())
    return int(suspects[best]), float(exact[best])


def _members(ranked: IntArray, labels: IntArray) -> list[IntArray]:
    """The items of each cluster, in the order given."""
    by_cluster = ranked[np.argsort(labels[ranked], kind="stable")]
    return np.split(by_cluster, np.flatnonzero(np.diff(labels[by_cluster])) + 1) if len(ranked) else []
