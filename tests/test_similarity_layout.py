"""Maps of vectors keep neighbours together, give the same bits again, and take new points without moving the old."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datumaro_clip.similarity import top_k
from datumaro_clip.similarity.layout import lay_out, neighbour_graph, place
from datumaro_clip.vectors import unit_rows


def clusters(count: int, each: int, dimension: int = 32, spread: float = 0.3, seed: int = 0) -> np.ndarray:
    """``count`` clusters of ``each`` unit rows, cluster by cluster."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.normal(size=(count, dimension)), each, axis=0)
    return unit_rows((centres + spread * rng.normal(size=centres.shape)).astype(np.float32))


def neighbours_kept(vectors: np.ndarray, points: np.ndarray, k: int) -> float:
    """Share of each row's k nearest that are among its k nearest on the map."""
    gaps = ((points[:, None].astype(np.float64) - points[None]) ** 2).sum(axis=2)
    np.fill_diagonal(gaps, np.inf)
    similar = vectors.astype(np.float64) @ vectors.T
    np.fill_diagonal(similar, -np.inf)
    on_map, wanted = np.argsort(gaps, axis=1)[:, :k], np.argsort(-similar, axis=1)[:, :k]
    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(on_map.tolist(), wanted.tolist(), strict=True)]))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_few_vectors_get_a_place_each(count: int):
    points = lay_out(clusters(max(count, 1), 1)[:count])
    assert points.shape == (count, 2)
    assert points.dtype == np.float32
    assert len(np.unique(points, axis=0)) == count


def test_clusters_stay_together():
    vectors = clusters(12, 25)
    points = lay_out(vectors)
    centres = points.reshape(12, 25, 2).mean(axis=1)
    nearest = ((points[:, None] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert np.mean(nearest == np.repeat(np.arange(12), 25)) > 0.98
    assert neighbours_kept(vectors, points, 24) > 0.95


def test_equal_vectors_give_equal_bits():
    vectors = clusters(5, 30)
    assert lay_out(vectors).tobytes() == lay_out(vectors.copy()).tobytes()


def test_coincident_vectors_are_laid_out_finitely():
    points = lay_out(np.repeat(clusters(2, 1), 40, axis=0))
    assert np.isfinite(points).all()
    first, second = points[:40].mean(axis=0), points[40:].mean(axis=0)
    within = np.linalg.norm(points[:40] - first, axis=1).max()
    assert np.linalg.norm(first - second) > within


def test_new_points_land_among_their_neighbours_and_move_nothing():
    vectors = clusters(8, 40)
    held, new = np.ones(len(vectors), bool), np.arange(0, len(vectors), 10)
    held[new] = False
    points = lay_out(vectors[held])
    before = points.copy()
    placed = place(vectors[new], vectors[held], points)
    assert points.tobytes() == before.tobytes()
    owner = np.repeat(np.arange(8), 40)
    centres = np.stack([points[owner[held] == cluster].mean(axis=0) for cluster in range(8)])
    nearest = ((placed[:, None] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert nearest.tolist() == owner[new].tolist()


def test_the_graph_joins_each_row_with_its_exact_neighbours():
    vectors = clusters(4, 10)
    edges = neighbour_graph(vectors, 5)
    indices, _ = top_k(vectors, vectors, 6)
    wanted = {(min(row, other), max(row, other)) for row in range(40) for other in indices[row].tolist()}
    wanted -= {(row, row) for row in range(40)}
    assert set(zip(edges.first.tolist(), edges.second.tolist(), strict=True)) == wanted
    assert edges.weights.min() > 0
    # A row's nearest neighbour has weight 1 from its side, whatever the other side says.
    nearest = {(min(row, other), max(row, other)) for row, other in enumerate(indices[:, 1].tolist())}
    weights = dict(zip(zip(edges.first.tolist(), edges.second.tolist(), strict=True), edges.weights, strict=True))
    assert min(weights[pair] for pair in nearest) > 0.999


def test_real_copies_lie_together(shared: Path):
    vectors = unit_rows(np.load(shared / "data" / "neardup" / "clip_vectors.npy").astype(np.float32))
    points = lay_out(vectors)
    assert neighbours_kept(vectors, points, 5) > 0.85
