"""Groups are stars, clusters are reproducible, semantic choices keep their share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datumaro_clip.curate.clusters import spherical_kmeans
from datumaro_clip.curate.groups import equal_groups, neighbour_lists, star_groups
from datumaro_clip.curate.semantic import choose_semantic, control
from datumaro_clip.vectors import unit_rows


def rows(count: int, dimension: int = 16, seed: int = 0) -> np.ndarray:
    return unit_rows(np.random.default_rng(seed).standard_normal((count, dimension)))


def test_nothing_and_one_make_no_group():
    assert star_groups([], [], lambda a, b: True).tolist() == []
    assert star_groups([0], [[]], lambda a, b: True).tolist() == [0]


@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_each_end_of_a_pair_is_a_neighbour_of_the_other(drawn: tuple[int, set[tuple[int, int]]]):
    """A pair in either direction, or in both, or of an item with itself."""
    count, pairs = drawn
    found = neighbour_lists(count, pairs)
    either = pairs | {(b, a) for a, b in pairs}
    assert [found[item] for item in range(count)] == [
        sorted(b for a, b in either if a == item) for item in range(count)
    ]


def test_resemblance_is_not_handed_on():
    """0-1-2-3 resemble their neighbours only: a chain would make one group of them."""
    near = neighbour_lists(4, [(0, 1), (1, 2), (2, 3)])
    found = star_groups([0, 1, 2, 3], near, lambda a, b: abs(a - b) == 1)
    assert found.tolist() == [0, 0, 2, 2]


@settings(max_examples=50)
@given(st.integers(0, 12), st.randoms(use_true_random=False))
def test_each_member_passed_the_test_against_its_representative(count: int, random):
    pairs = {(a, b) for a in range(count) for b in range(a) if random.random() < 0.3}
    order = random.sample(range(count), count)
    found = star_groups(order, neighbour_lists(count, pairs), lambda a, b: (max(a, b), min(a, b)) in pairs)
    for item, head in enumerate(found.tolist()):
        assert found[head] == head
        assert item == head or (max(item, head), min(item, head)) in pairs


def test_items_that_share_any_digest_are_equal_and_the_first_in_order_stays():
    assert equal_groups([2, 1, 0], [["a"], ["b"], ["a", "b"]]).tolist() == [2, 2, 2]
    assert equal_groups([0, 1], [[], []]).tolist() == [0, 1]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_clusters_of_few_and_of_identical_rows(count: int):
    found = spherical_kmeans(np.repeat(rows(1), count, axis=0), 3)
    assert found.labels.shape == (count,)
    assert np.allclose(found.scores, 1, atol=1e-6)


def test_clusters_find_what_is_apart_and_repeat_for_a_seed():
    centres = rows(4, 32)
    points = unit_rows(np.repeat(centres, 25, axis=0) + 0.05 * rows(100, 32, 1))
    one, two = spherical_kmeans(points, 4, 3), spherical_kmeans(points, 4, 3)
    assert np.array_equal(one.labels, two.labels)
    assert all(len(set(part)) == 1 for part in one.labels.reshape(4, 25).tolist())


@pytest.mark.parametrize("count", [0, 1, 40])
@pytest.mark.parametrize("ratio", [0.3, 1.0])
def test_semantic_choice_keeps_its_share_and_names_kept_representatives(count: int, ratio: float):
    found = choose_semantic(rows(count), list(range(count)), ratio, clusters=3)
    assert found.kept.sum() == np.ceil(ratio * count)
    assert found.kept[found.representatives].all()


def test_semantic_choice_lets_the_copy_go_that_comes_later():
    vectors = rows(10)
    vectors[7] = vectors[2]
    assert np.flatnonzero(~choose_semantic(vectors, list(range(10)), 0.9, clusters=1).kept).tolist() == [7]
    assert np.flatnonzero(~choose_semantic(vectors, list(range(9, -1, -1)), 0.9, clusters=1).kept).tolist() == [2]


@pytest.mark.parametrize("threshold", [-1.0, 0.2, 0.5, 1.0])
def test_a_semantic_threshold_lets_go_of_what_is_so_similar_to_what_stays(threshold: float):
    vectors = rows(60)
    found = choose_semantic(vectors, list(range(60)), 0.1, threshold=threshold, clusters=3)
    gone = np.flatnonzero(~found.kept)
    assert (found.likeness[gone] >= threshold - 1e-6).all()
    for one in np.flatnonzero(found.kept).tolist():
        earlier = [n for n in range(one) if found.kept[n] and found.clusters[n] == found.clusters[one]]
        assert all(float(vectors[one] @ vectors[n]) < threshold + 1e-6 for n in earlier)


def test_what_must_be_alike_in_both_is_not_let_go_for_one():
    vectors, texts = rows(10), rows(10)[::-1].copy()
    vectors[7], texts[7] = vectors[2], rows(11)[10]
    vectors[9], texts[9] = vectors[2], texts[2]
    found = choose_semantic(vectors, list(range(10)), 0.1, texts=texts, threshold=0.99, clusters=1)
    assert np.flatnonzero(~found.kept).tolist() == [9]
    assert found.representatives[9] == 2


def test_a_choice_that_leaves_one_of_each_two_stands_for_more_than_a_random_one():
    vectors = np.repeat(rows(30), 2, axis=0)
    found = control([vectors], np.arange(60) % 2 == 0)
    assert found.chosen == pytest.approx(1, abs=1e-6)
    assert found.random < 0.9
    # What is alike on one side only is not alike.
    assert control([vectors, rows(60)], np.arange(60) % 2 == 0).chosen < 0.9
