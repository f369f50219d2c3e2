"""Samples have the size that was asked for, repeat for a seed, and do what their method says."""

from __future__ import annotations

import numpy as np
import pytest

import datumaro_clip
from datumaro_clip.curate import sample
from datumaro_clip.curate.sample import (
    pick_centroid,
    pick_cluster_random,
    pick_k_center,
    pick_query,
    pick_random,
    pick_stratified,
    pick_typical,
)
from datumaro_clip.vectors import unit_rows

BY_VECTOR = [pick_k_center, pick_centroid, pick_typical, pick_cluster_random]


def rows(count: int, seed: int = 0) -> np.ndarray:
    return unit_rows(np.random.default_rng(seed).standard_normal((count, 24)))


@pytest.mark.parametrize("strategy", ["random", "stratified", "k_center"])
@pytest.mark.parametrize(
    ("total", "wanted", "kept"),
    [(0, {"count": 5}, 0), (9, {"count": 3}, 3), (10, {"ratio": 0.25}, 2)],
)
def test_counts_and_ratios(total: int, wanted: dict[str, float], kept: int, strategy: str):
    assert len(datumaro_clip.sample(rows(total), strategy=strategy, **wanted).keys_with()) == kept


@pytest.mark.parametrize("pick", BY_VECTOR)
@pytest.mark.parametrize(("total", "count"), [(0, 0), (0, 3), (1, 1), (1, 5), (30, 0), (30, 7), (30, 30)])
def test_as_many_different_rows_as_asked_for_and_the_same_each_time(pick, total: int, count: int):
    one, two = (pick(rows(total), count, 3).indices.tolist() for _ in range(2))
    assert one == two
    assert len(one) == len(set(one)) == min(total, count)


@pytest.mark.parametrize("seed", range(6))
def test_what_is_most_unlike_the_first_comes_second(seed: int):
    """The opposite, before what stands at a right angle."""
    vectors = unit_rows([[1, 0], [-0.1, 1], [-1, 0], [0.1, -1]])
    picks = pick_k_center(vectors, 2, seed)
    first, second = picks.indices.tolist()
    assert second == (first + 2) % 4
    assert picks.scores.tolist() == pytest.approx([-1, vectors[first] @ vectors[second]])


@pytest.mark.parametrize("pick", BY_VECTOR)
def test_identical_rows_are_no_obstacle(pick):
    assert sorted(pick(np.repeat(rows(1), 9, axis=0), 9, 0).indices.tolist()) == list(range(9))


@pytest.mark.parametrize(
    ("strategy", "pick"),
    [
        ("k_center", pick_k_center),
        ("centroid", pick_centroid),
        ("typical", pick_typical),
        ("cluster_random", pick_cluster_random),
    ],
)
def test_a_strategy_picks_by_the_method_of_its_name(strategy: str, pick):
    vectors = rows(40)
    kept = datumaro_clip.sample(vectors, strategy=strategy, count=6, seed=2).keys_with()
    assert {int(key.id) for key in kept} == set(pick(vectors, 6, 2).indices.tolist())


def k_center_reference(vectors: np.ndarray, first: int, count: int) -> list[int]:
    """Farthest-point picks, written down naively."""
    picks = [first]
    exact = vectors.astype(np.float64)
    while len(picks) < count:
        nearest = [max(float(exact[n] @ exact[m]) for m in picks) for n in range(len(vectors))]
        left = [n for n in range(len(vectors)) if n not in picks]
        picks.append(min(left, key=lambda n: (np.float32(nearest[n]), n)))
    return picks


@pytest.mark.parametrize("far", [1, 5, 59, 60])
@pytest.mark.parametrize("seed", range(3))
def test_k_center_picks_what_the_reference_picks(seed: int, far: int, monkeypatch: pytest.MonkeyPatch):
    """However few of the rows the next picks are looked for among, and in however many parts all are compared."""
    monkeypatch.setattr(sample, "_FAR", far)
    monkeypatch.setattr(sample, "_ROWS", 7)
    vectors = rows(60, seed)
    vectors[30:34] = vectors[3]
    picks = pick_k_center(vectors, 25, seed).indices.tolist()
    assert picks == k_center_reference(vectors, picks[0], 25)


def least_cover(vectors: np.ndarray, chosen: np.ndarray) -> float:
    """The similarity of the row that its nearest chosen one represents worst."""
    return float((vectors @ vectors[chosen].T).max(axis=1).min())


def test_k_center_covers_more_than_chance_at_every_size():
    centres = rows(40, 1)
    vectors = unit_rows(np.repeat(centres, 10, axis=0) + 0.1 * rows(400, 2))
    for count in (5, 10, 20, 40, 80):
        chance = [least_cover(vectors, pick_random(400, count, seed).indices) for seed in range(10)]
        assert least_cover(vectors, pick_k_center(vectors, count, 0).indices) > max(chance)


def test_k_center_starts_from_what_one_has():
    vectors = rows(20)
    assert pick_k_center(vectors, 1, 0, start=vectors[:19]).indices.tolist() == [19]


def test_strata_keep_their_shares():
    classes = ["a"] * 60 + ["b"] * 30 + ["c"] * 10
    picks = pick_stratified(classes, 20, 0).indices
    assert [[classes[n] for n in picks].count(name) for name in "abc"] == [12, 6, 2]
    assert pick_stratified([], 4, 0).indices.tolist() == []


def test_a_query_takes_the_most_similar_first():
    vectors = rows(20)
    picks = pick_query(vectors, vectors[4], 5)
    assert picks.indices[0] == 4
    assert (np.diff(picks.scores) <= 0).all()
