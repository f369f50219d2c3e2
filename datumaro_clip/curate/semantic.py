"""Semantic duplicates: pictures that stand for one another, found inside clusters as SemDeDup does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datumaro_clip.curate.clusters import spherical_kmeans
from datumaro_clip.curate.groups import IntArray
from datumaro_clip.vectors import FloatArray


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

    kept: np.typing.NDArray[np.bool_]
    scores: FloatArray
    representatives: IntArray
    likeness: FloatArray
    threshold: float
    clusters: IntArray


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
    """
    count = len(vectors)
    ranked = np.asarray(order, dtype=np.int64)
    sides = [vectors] if texts is None else [vectors, texts]
    labels = spherical_kmeans(vectors, clusters or default_clusters(count), seed).labels
    kept = np.ones(count, dtype=np.bool_)
    scores = np.full(count, -1.0, np.float32)
    for members in _members(ranked, labels):
        similar = _similarity(sides, members, members)
        for place, item in enumerate(members.tolist()):
            earlier = similar[place, :place]
            earlier = earlier if threshold is None else earlier[kept[members[:place]]]
            scores[item] = earlier.max(initial=-1.0).round(6)
            kept[item] = threshold is None or not len(earlier) or scores[item] < threshold
    if threshold is None:
        rank = np.argsort(ranked, kind="stable")
        doomed = np.lexsort((-rank, -scores))[: count - math.ceil(keep_ratio * count - 1e-9)]
        kept[doomed] = False
        threshold = float(scores[doomed].min(initial=1.0))
    return SemanticChoice(kept, scores, *_representatives(sides, labels, kept), threshold, labels)


def _similarity(sides: Sequence[FloatArray], ones: IntArray, others: IntArray) -> FloatArray:
    """Cosine similarities of items in what they have in common on every side."""
    found: FloatArray = np.min([side[ones] @ side[others].T for side in sides], axis=0)
    return found


def _representatives(
    sides: Sequence[FloatArray], labels: IntArray, kept: np.typing.NDArray[np.bool_]
) -> tuple[IntArray, FloatArray]:
    representatives, likeness = np.arange(len(labels)), np.ones(len(labels), np.float32)
    for members in _members(representatives.copy(), labels):
        staying, going = members[kept[members]], members[~kept[members]]
        if len(staying) and len(going):
            similar = _similarity(sides, going, staying)
            representatives[going], likeness[going] = staying[similar.argmax(axis=1)], similar.max(axis=1)
    return representatives, likeness


def _members(ranked: IntArray, labels: IntArray) -> list[IntArray]:
    """The items of each cluster, in the order given."""
    by_cluster = ranked[np.argsort(labels[ranked], kind="stable")]
    return np.split(by_cluster, np.flatnonzero(np.diff(labels[by_cluster])) + 1) if len(ranked) else []
