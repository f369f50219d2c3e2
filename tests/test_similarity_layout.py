"""Maps of vectors keep neighbours together, give the same bits again, and take new points without moving the old."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import curve_fit

from datumaro_clip.similarity import layout, top_k
from datumaro_clip.similarity.layout import Edges, lay_out, neighbour_graph, place
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


def test_neighbours_weigh_by_how_near_they_are_and_come_to_the_same_sum():
    """UMAP's memberships: 1 for the nearest, less for those beyond, log2(k) in all."""
    distances = np.sort(np.random.default_rng(0).uniform(0.01, 0.9, (50, 15)).astype(np.float32), axis=1)
    weights = layout._memberships(distances)
    np.testing.assert_allclose(weights.sum(axis=1), np.log2(15), atol=1e-6)
    assert (weights[:, 0] == 1).all()
    assert (np.diff(weights, axis=1) <= 0).all()
    assert layout._memberships(distances[:, :1]).tolist() == [[1.0]] * 50
    # Coincident neighbours leave no scale to find: a thousandth of the mean distance bounds it.
    for beyond in (0.5, 1e-6):
        [row] = layout._memberships(np.array([[0, 0, 0, beyond]], np.float32))
        np.testing.assert_allclose(row, [1, 1, 1, 0], atol=1e-6)


def test_an_edge_weighs_what_either_end_says_of_it():
    """Seen with weights a and b, it weighs a + b - ab."""
    vectors = clusters(3, 8)
    indices, scores = top_k(vectors, vectors, 6)
    one_sided = np.zeros((24, 24))
    np.put_along_axis(one_sided, indices[:, 1:], layout._memberships(1 - scores[:, 1:]), axis=1)
    both = one_sided + one_sided.T - one_sided * one_sided.T
    edges = neighbour_graph(vectors, 5)
    np.testing.assert_allclose(edges.weights, both[edges.first, edges.second], atol=1e-5)
    assert (edges.first < edges.second).all()
    assert len(edges.weights) == np.count_nonzero(np.triu(both))


def test_the_curve_is_the_nearest_to_what_umap_wants():
    """1 up to ``min_dist``, then falling by e a unit of ``spread``, as umap-learn fits it."""
    x = np.linspace(0, 3, 300)
    wanted = np.where(x < 0.1, 1.0, np.exp(-(x - 0.1)))
    (a, b), _ = curve_fit(lambda x, a, b: 1 / (1 + a * x ** (2 * b)), x, wanted)
    assert pytest.approx([a, b], abs=1e-4) == [layout._A, layout._B]


def slope(loss, at: float) -> float:
    return (loss(at + 1e-5) - loss(at - 1e-5)) / 2e-5


@pytest.mark.parametrize("distance", [0.3, 1.0, 2.5])
def test_an_edge_pulls_both_ends_along_the_gradient(distance: float):
    x, y = np.array([0.0, 0.6 * distance, 9.0]), np.array([0.0, 0.8 * distance, 9.0])
    layout._pull(x, y, np.array([0]), np.array([1]), 0.5)
    pull = slope(lambda d: np.log(1 + layout._A * d ** (2 * layout._B)), distance)
    np.testing.assert_allclose(x, [0.3 * pull, 0.6 * distance - 0.3 * pull, 9])
    np.testing.assert_allclose(y, [0.4 * pull, 0.8 * distance - 0.4 * pull, 9])


class Drawn:
    """Draws the same point every time."""

    def __init__(self, number: int) -> None:
        self._number = number

    def integers(self, high: int, size: tuple[int, int]) -> np.ndarray:
        return np.full(size, self._number)


@pytest.mark.parametrize("distance", [1.0, 2.5])
def test_five_drawn_points_push_along_the_gradient_and_stay(distance: float):
    x, y = np.array([0.0, 0.6 * distance, 9.0]), np.array([0.0, 0.8 * distance, 9.0])
    layout._push(x, y, np.array([0]), 0.5, Drawn(1))  # type: ignore[arg-type]
    push = slope(lambda d: -np.log(1 - 1 / (1 + layout._A * d ** (2 * layout._B))), distance)
    np.testing.assert_allclose(x, [5 * 0.3 * push, 0.6 * distance, 9], rtol=2e-3)
    np.testing.assert_allclose(y, [5 * 0.4 * push, 0.8 * distance, 9], rtol=2e-3)


def test_no_move_is_longer_than_four():
    x, y = np.array([0.0, 1e-2]), np.zeros(2)
    layout._push(x, y, np.array([0]), 1.0, Drawn(1))  # type: ignore[arg-type]
    assert x.tolist() == [-20, 1e-2]
    layout._push(x, y, np.array([0]), 1.0, Drawn(0))  # type: ignore[arg-type]
    assert x.tolist() == [-20, 1e-2], "a point does not push itself"


@pytest.mark.parametrize(("small", "rounds"), [(4, 500), (2, 200)])
def test_stronger_edges_pull_more_often_in_ever_shorter_steps(small: int, rounds: int, monkeypatch: pytest.MonkeyPatch):
    pulled: list[tuple[int, float]] = []
    monkeypatch.setattr(layout, "_SMALL", small)
    monkeypatch.setattr(
        layout, "_pull", lambda x, y, first, second, pace: pulled.extend((n, pace) for n in first.tolist())
    )
    edges = Edges(np.arange(3), np.arange(1, 4), np.array([0.8, 0.4, 0.2], np.float32))
    layout._optimised(np.random.default_rng(0).normal(size=(4, 2)), edges, np.random.default_rng(1))
    counts = [sum(edge == n for edge, _ in pulled) for n in range(3)]
    assert counts == [rounds, rounds // 2, rounds // 4]
    assert [pace for edge, pace in pulled if edge == 0] == pytest.approx(1 - np.arange(rounds) / rounds)


def test_the_plane_is_that_of_the_greatest_variance_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch):
    vectors = clusters(4, 20)
    plane = layout._principal_plane(vectors)
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2].T
    wanted = centred @ (axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]]))
    np.testing.assert_allclose(plane, wanted * (10 / np.abs(wanted).max()), atol=1e-6)
    monkeypatch.setattr(layout, "_BLOCK", 7)
    np.testing.assert_allclose(layout._principal_plane(vectors), plane)


def test_a_map_is_centred_and_another_seed_gives_another():
    vectors = clusters(5, 12)
    points = lay_out(vectors)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-4)
    assert not np.array_equal(points, lay_out(vectors, seed=1))


def test_a_new_point_lies_at_the_weighted_mean_of_its_neighbours():
    vectors = clusters(4, 10)
    points = np.random.default_rng(0).normal(size=(36, 2)).astype(np.float32)
    held = np.arange(40) % 10 > 0
    indices, scores = top_k(vectors[~held], vectors[held], 15)
    weights = layout._memberships(1 - scores)
    wanted = (weights[:, :, None] * points[indices]).sum(axis=1) / weights.sum(axis=1)[:, None]
    np.testing.assert_allclose(place(vectors[~held], vectors[held], points), wanted, atol=1e-5)


def test_real_copies_lie_together(shared: Path):
    vectors = unit_rows(np.load(shared / "data" / "neardup" / "clip_vectors.npy").astype(np.float32))
    points = lay_out(vectors)
    assert neighbours_kept(vectors, points, 5) > 0.85
