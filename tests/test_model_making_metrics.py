"""The figures of a certificate, on vectors whose figures can be computed by hand."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from datumaro_clip.model.making.metrics import METRICS, GroundTruth, Metric, Thresholds, Vectors, compare, owners_of
from datumaro_clip.vectors import FloatArray, unit_rows

NONE = np.empty((0, 4), np.float32)


def basis(*indices: int) -> FloatArray:
    return np.eye(4, dtype=np.float32)[list(indices)]


def truth(counts: list[int], labels: list[int]) -> GroundTruth:
    return GroundTruth(owners_of(counts), np.array(labels, np.int64))


def only_images(images: FloatArray) -> Vectors:
    return Vectors(images, NONE, NONE)


def test_one_picture_alone_has_cosines_and_no_neighbours() -> None:
    figures = compare(only_images(basis(0)), only_images(basis(0)), truth([0], [-1]), Thresholds())
    assert {name: metric.value for name, metric in figures.items()} == {
        "min_cosine": 1.0, "p1_cosine": 1.0, "mean_cosine": 1.0, "duplicates_changed": 0,
    }  # fmt: skip


def test_cosines_are_row_by_row() -> None:
    half = unit_rows([[1, 1, 0, 0]])
    candidate = np.concatenate([basis(0), half])
    figures = compare(only_images(basis(0, 0)), only_images(candidate), truth([0, 0], [-1, -1]), Thresholds())
    assert figures["min_cosine"].value == pytest.approx(np.sqrt(0.5))
    assert figures["mean_cosine"].value == pytest.approx((1 + np.sqrt(0.5)) / 2)


def test_overlap_is_one_for_the_same_neighbours_and_less_for_others() -> None:
    rng = np.random.default_rng(0)
    images = unit_rows(rng.normal(size=(40, 4)))
    nothing_known = truth([0] * 40, [-1] * 40)
    same = compare(only_images(images), only_images(images), nothing_known, Thresholds())
    assert same["overlap@10"] == Metric(1.0)
    other = compare(only_images(images), only_images(unit_rows(rng.normal(size=(40, 4)))), nothing_known, Thresholds())
    assert other["overlap@10"].value == pytest.approx(10 / 39, abs=0.1)


def test_recalls_of_a_perfect_reference_and_a_candidate_that_confuses_two() -> None:
    """Pictures 0 and 1 changed places; picture 2 has two captions, picture 3 none."""
    captions = basis(0, 1, 2, 2)
    reference = Vectors(basis(0, 1, 2, 3), captions, NONE)
    candidate = Vectors(basis(1, 0, 2, 3), captions, NONE)
    figures = compare(reference, candidate, truth([1, 1, 2, 0], [-1] * 4), Thresholds())
    assert figures["image_to_text_recall@1"] == Metric(pytest.approx(1 / 3), 1.0)
    assert figures["text_to_image_recall@1"] == Metric(pytest.approx(2 / 4), 1.0)
    assert figures["text_to_image_recall@5"] == Metric(1.0, 1.0)
    assert figures["alignment_changed"].value == 2


def in_the_best(queries: FloatArray, rows: FloatArray, k: int, own: np.ndarray) -> float:
    """Share of queries with one of their own rows among the first k of a stable sort of all."""
    best = np.argsort(-(queries @ rows.T), axis=1, kind="stable")[:, :k]
    return float(np.mean(np.take_along_axis(own, best, axis=1).any(axis=1)))


@pytest.mark.parametrize("seed", range(5))
def test_recalls_are_those_of_sorting_everything_ties_included(seed: int) -> None:
    """Rows of halves: all scores are exact, and most are had by many; the first of equals is the better."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, 30).tolist()
    images, captions = (rng.choice([-0.5, 0.5], (n, 4)).astype(np.float32) for n in (30, sum(counts)))
    own = owners_of(counts) == np.arange(30)[:, None]
    vectors = Vectors(images, captions, NONE)
    figures = compare(vectors, vectors, truth(counts, [-1] * 30), Thresholds())
    asked = own.any(axis=1)
    for k in (1, 5, 10):
        to_text = in_the_best(images[asked], captions, k, own[asked])
        to_image = in_the_best(captions, images, k, own.T)
        assert figures[f"image_to_text_recall@{k}"] == Metric(to_text, to_text)
        assert figures[f"text_to_image_recall@{k}"] == Metric(to_image, to_image)


def test_memory_stays_below_all_products_of_pictures_and_captions() -> None:
    """Of 8,000 pictures with five captions each they would take 1.3 GB, and sorting them three times as much."""
    rng = np.random.default_rng(0)
    images, captions = (unit_rows(rng.normal(size=(n, 4))) for n in (800, 8000))
    vectors = Vectors(images, captions, NONE)
    tracemalloc.start()
    try:
        compare(vectors, vectors, truth([10] * 800, [-1] * 800), Thresholds())
        assert tracemalloc.get_traced_memory()[1] < 4 * len(images) * len(captions)
    finally:
        tracemalloc.stop()


def test_neighbours_are_others_even_among_many_that_are_equal() -> None:
    """Of twelve equal pictures, the last is not among its own eleven best."""
    images = basis(*[0] * 12, 1)
    figures = compare(only_images(images), only_images(images), truth([0] * 13, [-1] * 13), Thresholds())
    assert figures["overlap@10"] == Metric(1.0)


def test_zero_shot_counts_only_pictures_with_a_label() -> None:
    prompts = basis(0, 1)
    reference = Vectors(basis(0, 1, 2), NONE, prompts)
    candidate = Vectors(basis(0, 0, 2), NONE, prompts)
    figures = compare(reference, candidate, truth([0, 0, 0], [0, 1, -1]), Thresholds())
    assert figures["zero_shot_top1"] == Metric(0.5, 1.0)
    assert "text_mean_cosine" not in figures


def test_duplicate_pairs_that_appear_or_vanish_are_counted() -> None:
    reference, candidate = only_images(basis(0, 0, 1)), only_images(basis(0, 1, 1))
    figures = compare(reference, candidate, truth([0] * 3, [-1] * 3), Thresholds(duplicate=0.95))
    assert figures["duplicates_changed"].value == 2


def test_every_figure_has_a_name_that_a_requirement_may_use() -> None:
    everything = Vectors(basis(0, 1), basis(0, 1), basis(0, 1))
    assert tuple(compare(everything, everything, truth([1, 1], [0, 1]), Thresholds())) == METRICS
