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
    vectors: FloatArray, order: Sequence[int], keep_ratio: float, *, clusters: int | None = None, seed: int = 0
) -> SemanticChoice:
    """Keep a share of the items, letting go of those most similar to what is kept anyway.

    SemDeDup (Abbas et al., 2023): inside each k-means cluster, an item's score is its largest similarity with an
    earlier item; the highest scores go, until the share is reached.

    Parameters
    ----------
    vectors : numpy.ndarray
        Shape (N, D), float32 unit rows.
    order : sequence of int
        A permutation of the items, those to keep first.
    keep_ratio : float
        Share to keep, above 0, at most 1; rounded up to whole items.
    clusters : int, optional
        :func:`default_clusters` where omitted.
    """
    count = len(vectors)
    ranked = np.asarray(order, dtype=np.int64)
    labels = spherical_kmeans(vectors, clusters or default_clusters(count), seed).labels
    scores = _scores(vectors, ranked, labels)
    rank = np.argsort(ranked, kind="stable")
    doomed = np.lexsort((-rank, -scores))[: count - math.ceil(keep_ratio * count - 1e-9)]
    kept = np.ones(count, dtype=np.bool_)
    kept[doomed] = False
    threshold = float(scores[doomed].min(initial=1.0))
    return SemanticChoice(kept, scores, *_representatives(vectors, labels, kept), threshold, labels)


def _scores(vectors: FloatArray, ranked: IntArray, labels: IntArray) -> FloatArray:
    scores = np.full(len(vectors), -1.0, np.float32)
    for members in _members(ranked, labels):
        similar = np.tril(vectors[members] @ vectors[members].T, -1) - np.triu(np.full(2 * members.shape, 2.0))
        scores[members[1:]] = similar[1:].max(axis=1).round(6)
    return scores


def _representatives(
    vectors: FloatArray, labels: IntArray, kept: np.typing.NDArray[np.bool_]
) -> tuple[IntArray, FloatArray]:
    representatives, likeness = np.arange(len(vectors)), np.ones(len(vectors), np.float32)
    for members in _members(representatives.copy(), labels):
        staying, going = members[kept[members]], members[~kept[members]]
        if len(staying) and len(going):
            similar = vectors[going] @ vectors[staying].T
            representatives[going], likeness[going] = staying[similar.argmax(axis=1)], similar.max(axis=1)
    return representatives, likeness


def _members(ranked: IntArray, labels: IntArray) -> list[IntArray]:
    """The items of each cluster, in the order given."""
    by_cluster = ranked[np.argsort(labels[ranked], kind="stable")]
    return np.split(by_cluster, np.flatnonzero(np.diff(labels[by_cluster])) + 1) if len(ranked) else []
