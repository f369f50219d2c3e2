"""Lays vectors out in the plane, so that similar ones are near one another.

The loss and its constants are UMAP's (McInnes, Healy and Melville, 2018, arXiv:1802.03426) with ``min_dist`` 0.1 and
``spread`` 1. Unlike umap-learn, the neighbours are exact, the start is a projection on the principal axes, and every
step is a NumPy operation over many edges at once: the same vectors give the same map, bit for bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from datumaro_clip.similarity.scores import FloatArray, IndexArray, MatrixLike
from datumaro_clip.similarity.topk import top_k

#: Neighbours that attract each point: UMAP's default.
NEIGHBOURS = 15
# 1 / (1 + a d^(2b)) is the curve nearest to "1 up to min_dist, then falling by e a unit of spread".
_A, _B = 1.5769434602, 0.8950608779
# Random points that repel each end of an edge.
_PUSHED = 5
# Longest move of a point by one edge in one step.
_LONGEST_STEP = 4.0
# Rounds over the edges: more for small maps, which move little in each.
_ROUNDS_SMALL, _ROUNDS_LARGE, _SMALL = 500, 200, 10_000
# Edges that move their points at once: few enough not to overshoot, enough for NumPy to be fast.
_BATCH_SHARE, _BATCH_EDGES = 8, 1 << 16
# Rows projected on the principal axes at a time, and rows that the axes are found from.
_BLOCK, _AXES_FROM = 1 << 14, 1 << 16

Points = npt.NDArray[np.float32]


class Edges(NamedTuple):
    """Pairs of similar rows.

    Attributes
    ----------
    first, second : numpy.ndarray
        Shape (E,), int64: rows of each pair, ``first < second``; no pair twice.
    weights : numpy.ndarray
        Shape (E,), float32: how strongly the two are neighbours, above 0, at most 1.
    """

    first: IndexArray
    second: IndexArray
    weights: FloatArray


def lay_out(vectors: MatrixLike, *, seed: int = 0) -> Points:
    """Place vectors in the plane.

    Parameters
    ----------
    vectors : numpy.ndarray
        Shape (N, D), float32 or float16, unit rows.
    seed : int
        Of the random choice of the points that repel one another.

    Returns
    -------
    numpy.ndarray
        Shape (N, 2), float32, centred on the origin.
    """
    count = len(vectors)
    if count < 3:
        return np.stack([np.arange(count), np.zeros(count)], axis=1).astype(np.float32)
    edges = neighbour_graph(vectors, min(NEIGHBOURS, count - 1))
    rng = np.random.default_rng(seed)
    start = _principal_plane(vectors) + rng.normal(0, 1e-4, (count, 2))
    points = _optimised(start, edges, rng)
    centred: Points = (points - points.mean(axis=0)).astype(np.float32)
    return centred


def place(new: MatrixLike, vectors: MatrixLike, points: Points) -> Points:
    """Place more vectors on a map, each at the weighted mean of its neighbours; the points there do not move.

    Parameters
    ----------
    new : numpy.ndarray
        Shape (M, D), unit rows.
    vectors : numpy.ndarray
        Shape (N, D), unit rows: the vectors on the map, N > 0.
    points : numpy.ndarray
        Shape (N, 2), float32.

    Returns
    -------
    numpy.ndarray
        Shape (M, 2), float32.
    """
    indices, scores = top_k(np.asarray(new), vectors, min(NEIGHBOURS, len(vectors)))
    weights = _memberships(1 - scores)
    weights /= weights.sum(axis=1, keepdims=True)
    placed: Points = np.einsum("mk,mkx->mx", weights, points[indices]).astype(np.float32)
    return placed


def neighbour_graph(vectors: MatrixLike, k: int) -> Edges:
    """Build UMAP's fuzzy graph over the exact ``k`` nearest neighbours of each row."""
    count = len(vectors)
    indices, scores = top_k(np.asarray(vectors), vectors, k + 1)
    rows = np.arange(count)
    # Copies of a row may come before it: leave out the row itself, or the last neighbour if the row is not among them.
    others = indices != rows[:, None]
    others[others.all(axis=1), -1] = False
    indices, scores = indices[others].reshape(count, k), scores[others].reshape(count, k)
    weights = _memberships(1 - scores).ravel()
    pairs = np.minimum(rows[:, None], indices) * count + np.maximum(rows[:, None], indices)
    unique, place_of = np.unique(pairs, return_inverse=True)
    # Seen from both sides with weights a and b, a pair weighs a + b - ab, which is 1 - (1 - a)(1 - b).
    doubts = np.log1p(-np.minimum(weights, 1 - 1e-12))
    together = -np.expm1(np.bincount(place_of.ravel(), doubts))
    return Edges(unique // count, unique % count, together.astype(np.float32))


def _memberships(distances: FloatArray) -> npt.NDArray[np.float64]:
    """Return the weight of each neighbour (N, K), 1 for the nearest; each row's weights add up to log2(K)."""
    distances = np.maximum(distances, 0).astype(np.float64)
    beyond = distances - distances.min(axis=1, keepdims=True)
    wanted = np.log2(max(distances.shape[1], 2))
    low, high = np.zeros(len(distances)), np.full(len(distances), np.inf)
    scale = np.full(len(distances), max(float(beyond.mean()), 1e-6))
    for _ in range(48):
        too_wide = np.exp(-beyond / scale[:, None]).sum(axis=1) > wanted
        high, low = np.where(too_wide, scale, high), np.where(too_wide, low, scale)
        scale = np.where(np.isinf(high), scale * 2, (low + high) / 2)
    scale = np.maximum(scale, 1e-3 * max(float(distances.mean()), 1e-12))
    weights: npt.NDArray[np.float64] = np.exp(-beyond / scale[:, None])
    return weights


def _principal_plane(vectors: MatrixLike) -> npt.NDArray[np.float64]:
    """Project rows on the two axes of greatest variance: (N, 2), scaled to at most 10 from the mean."""
    count = len(vectors)
    sample = np.asarray(vectors[:: max(1, count // _AXES_FROM)], np.float64)
    mean = sample.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(sample - mean, rowvar=False))
    plane = axes[:, [-1, -2]]
    # The sign of an axis is arbitrary: make its largest component positive.
    plane = plane * np.sign(plane[np.abs(plane).argmax(axis=0), [0, 1]])
    blocks = [np.asarray(vectors[at : at + _BLOCK], np.float64) - mean for at in range(0, count, _BLOCK)]
    projected = np.concatenate([block @ plane for block in blocks])
    return projected * (10 / max(float(np.abs(projected).max()), 1e-12))


def _optimised(points: npt.NDArray[np.float64], edges: Edges, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Move points along the gradient of UMAP's loss, in ever shorter steps; stronger edges act more often."""
    rounds = _ROUNDS_SMALL if len(points) <= _SMALL else _ROUNDS_LARGE
    order = rng.permutation(len(edges.weights))
    often = edges.weights[order] / edges.weights.max()
    first, second = edges.first[order], edges.second[order]
    x, y = points[:, 0].copy(), points[:, 1].copy()
    for step in range(rounds):
        pace = 1 - step / rounds
        active = np.flatnonzero(np.floor(often * (step + 1)) > np.floor(often * step))
        size = max(1, min(_BATCH_EDGES, -(-len(active) // _BATCH_SHARE)))
        for start in range(0, len(active), size):
            batch = active[start : start + size]
            _pull(x, y, first[batch], second[batch], pace)
            _push(x, y, np.concatenate([first[batch], second[batch]]), pace, rng)
    return np.stack([x, y], axis=1)


def _pull(x: FloatArray, y: FloatArray, first: IndexArray, second: IndexArray, pace: float) -> None:
    """Attract: move the two ends of each edge towards one another."""
    dx, dy = x[first] - x[second], y[first] - y[second]
    squared = np.maximum(dx * dx + dy * dy, 1e-12)
    power = squared**_B
    strength = -2 * _A * _B * power / (squared * (1 + _A * power))
    for values, difference in ((x, dx), (y, dy)):
        move = pace * np.clip(strength * difference, -_LONGEST_STEP, _LONGEST_STEP)
        values += np.bincount(first, move, len(values)) - np.bincount(second, move, len(values))


def _push(x: FloatArray, y: FloatArray, heads: IndexArray, pace: float, rng: np.random.Generator) -> None:
    """Repel: move points away from others drawn at random."""
    others = rng.integers(len(x), size=(_PUSHED, len(heads)))
    dx, dy = x[heads] - x[others], y[heads] - y[others]
    squared = dx * dx + dy * dy
    strength = 2 * _B / ((1e-3 + squared) * (1 + _A * squared**_B))
    for values, difference in ((x, dx), (y, dy)):
        move = np.clip(strength * difference, -_LONGEST_STEP, _LONGEST_STEP).sum(axis=0)
        values += pace * np.bincount(heads, move, len(values))
