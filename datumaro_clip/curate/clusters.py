"""Spherical k-means: clusters of directions."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import numpy as np

from datumaro_clip.curate.groups import IntArray
from datumaro_clip.options import Option, Whole
from datumaro_clip.similarity import top_k
from datumaro_clip.vectors import FloatArray

_ROUNDS = 50
#: The option of a tool that clusters; its help is still to be given.
clusters_option = partial(
    Option, "clusters", Whole(at_least=1, metavar="N"), None, unset="about the square root of the items"
)


class Clusters(NamedTuple):
    """Assignment of rows to clusters.

    Attributes
    ----------
    labels : numpy.ndarray
        Shape (N,), int64, from 0 to K-1.
    centroids : numpy.ndarray
        Shape (K, D), float32 unit rows.
    scores : numpy.ndarray
        Shape (N,), float32: cosine similarity of each row with its centroid.
    """

    labels: IntArray
    centroids: FloatArray
    scores: FloatArray


def default_clusters(count: int) -> int:
    """Return about the square root of the number of items, so that the pairs inside clusters cost N times that."""
    return max(1, math.isqrt(count))


def spherical_kmeans(vectors: FloatArray, clusters: int, seed: int = 0) -> Clusters:
    """Group unit rows around K directions (Dhillon & Modha, 2001), started as in k-means++.

    Deterministic for a seed: assignments use exact scores, ties go to the lower cluster, and an empty cluster takes the
    row that fits its own cluster worst.

    Parameters
    ----------
    vectors : numpy.ndarray
        Shape (N, D), float32 unit rows.
    clusters : int
        K from 1 to N; larger values mean N.
    seed : int
    """
    if len(vectors) == 0:
        return Clusters(np.empty(0, np.int64), vectors[:0], np.empty(0, np.float32))
    centroids = _spread_out(vectors, min(clusters, len(vectors)), np.random.default_rng(seed))
    labels, scores = _assign(vectors, centroids)
    for _ in range(_ROUNDS):
        centroids = _means(vectors, labels, scores, centroids)
        previous, (labels, scores) = labels, _assign(vectors, centroids)
        if np.array_equal(previous, labels):
            break
    return Clusters(labels, centroids, scores)


def _spread_out(vectors: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Draw K starting directions, each with odds of its squared chord to the nearest one drawn before."""
    chosen = [int(rng.integers(len(vectors)))]
    nearest = np.full(len(vectors), -1.0)
    while len(chosen) < count:
        nearest = np.maximum(nearest, vectors @ vectors[chosen[-1]])
        weights = np.maximum(1.0 - nearest, 0.0).round(6)
        weights[chosen] = 0.0
        total = weights.cumsum()
        if total[-1] > 0:
            chosen.append(int(np.searchsorted(total, rng.random() * total[-1], side="right")))
        else:  # All rows that are left coincide with chosen ones.
            chosen.append(int(np.setdiff1d(np.arange(len(weights)), chosen)[0]))
    return np.array(vectors[chosen])


def _assign(vectors: FloatArray, centroids: FloatArray) -> tuple[IntArray, FloatArray]:
    labels, scores = top_k(vectors, centroids, 1)
    return labels[:, 0], scores[:, 0]


def _means(vectors: FloatArray, labels: IntArray, scores: FloatArray, before: FloatArray) -> FloatArray:
    """Return the mean direction of each cluster."""
    order = np.argsort(labels, kind="stable")
    members = np.split(order, np.searchsorted(labels[order], np.arange(1, len(before))))
    sums = np.stack([vectors[rows].sum(axis=0, dtype=np.float64) for rows in members])
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    means: FloatArray = np.where(lengths > 1e-9, sums / np.maximum(lengths, 1e-9), before).astype(np.float32)
    empty = np.setdiff1d(np.arange(len(before)), labels)
    means[empty] = vectors[np.argsort(scores, kind="stable")[: len(empty)]]
    return means
