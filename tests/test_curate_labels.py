"""Zero-shot labels, outliers and doubtful labels on clusters whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from columns_of import columns_of

from datumaro_clip.curate import classify, outliers
from datumaro_clip.curate.classify import class_scores
from datumaro_clip.curate.decisions import Decision
from datumaro_clip.curate.outliers import (
    caption_leanings,
    doubt_labels,
    fit_labels,
    isolation,
    lower_fence,
    neighbour_count,
    neighbour_votes,
    unlike_any_class,
    unlike_captions,
)
from datumaro_clip.curate.run import read_values
from datumaro_clip.errors import OptionError
from datumaro_clip.similarity import top_k
from datumaro_clip.vectors import unit_rows


def clusters(each: int = 40, count: int = 5, spread: float = 0.4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors around directions, those directions, and which belongs where."""
    rng = np.random.default_rng(0)
    centres = unit_rows(rng.standard_normal((count, 32)))
    noise = spread * unit_rows(rng.standard_normal((each * count, 32)))
    return unit_rows(np.repeat(centres, each, axis=0) + noise), centres, np.repeat(np.arange(count), each)


def classified(vectors: np.ndarray, centres: np.ndarray, **options: object) -> list[Decision]:
    """What clip_classify says, each class's prompts having the direction of its centre."""
    names = [f"class_{n}" for n in range(len(centres))]
    answers = {f"a class {n}": centre for n, centre in enumerate(centres)}
    columns = columns_of(vectors, classes=names, answers=answers)
    values = read_values(classify.TOOL, {"templates": ["a {}"], **options})
    return classify.TOOL.function(columns, values).decisions()


def test_each_picture_gets_its_nearest_class():
    vectors, centres, truth = clusters()
    found = classified(vectors, centres)
    assert [one.label for one in found] == [f"class_{n}" for n in truth]
    assert {one.action for one in found} == {"label"}
    assert all(0 < one.score <= 1 for one in found)


def test_a_label_of_too_small_a_probability_is_not_added():
    _, centres, _ = clusters()
    vectors = unit_rows(np.random.default_rng(1).standard_normal((50, 32)))
    scores = [one.score for one in classified(vectors, centres)]
    limit = float(np.median(scores))
    found = classified(vectors, centres, min_probability=limit)
    assert [one.action for one in found] == ["label" if score >= limit else "keep" for score in scores]
    assert [one.reason for one in found] == ["classified" if score >= limit else "unsure" for score in scores]
    assert len({one.action for one in found}) == 2


def test_no_pictures_no_labels():
    assert classified(np.empty((0, 32), np.float32), clusters()[1]) == []


def test_prompts_are_averaged_class_by_class_and_underscores_are_spaces():
    answers = dict(zip(["a ice cream", "the ice cream", "a hat", "the hat"], np.eye(4), strict=True))
    vectors = columns_of(np.eye(4), answers=answers).class_vectors(["ice_cream", "hat"], ["a {}", "the {}"])
    assert np.allclose(vectors, unit_rows([[1, 1, 0, 0], [0, 0, 1, 1]]))


def test_without_classes_nothing_is_classified():
    with pytest.raises(OptionError, match="no classes to choose from"):
        classify.TOOL.check_items(read_values(classify.TOOL, {}), [], [])


@pytest.mark.parametrize(("total", "k"), [(0, 0), (1, 0), (5, 4), (100, 10), (10_000, 200)])
def test_the_neighbour_to_look_at_exists(total: int, k: int):
    assert neighbour_count(total) == k


@pytest.mark.parametrize(("rows", "k", "blocks"), [(2, 1, 1), (3, 10, 1), (40, 7, 3), (300, 10, 7), (300, 299, 2)])
def test_isolation_is_the_exact_score_of_the_kth_neighbour_or_of_the_last(
    rows: int, k: int, blocks: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(outliers, "_BLOCK_SCORES", rows * rows // blocks)
    vectors = unit_rows(np.random.default_rng(rows).standard_normal((rows, 24)))
    vectors[rows // 2] = vectors[0]
    assert np.array_equal(isolation(vectors, neighbour_count(rows, k)), top_k(vectors, vectors, k + 1)[1][:, -1])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_or_identical_pictures_have_no_outlier(count: int):
    scores = isolation(np.repeat(clusters()[0][:1], count, axis=0), neighbour_count(count))
    assert not (scores < lower_fence(scores)).any()


@pytest.mark.parametrize("count", [0, 1])
def test_without_neighbours_nobody_votes(count: int):
    assert neighbour_votes(clusters()[0][:count], np.zeros(count, np.int64), 3).tolist() == [[0, 0, 0]] * count


def test_a_small_foreign_group_is_found_and_nothing_else():
    vectors, centres, _ = clusters()
    axes = np.linalg.qr(np.vstack([centres, np.eye(32)[:1]]).T)[0].T
    strange = unit_rows(axes[-1] + 0.05 * np.random.default_rng(1).standard_normal((4, 32)))
    scores = isolation(np.vstack([vectors, strange]), 10)
    assert np.flatnonzero(scores < lower_fence(scores)).tolist() == [200, 201, 202, 203]


def test_a_fence_lies_three_quartile_ranges_below_the_lower_quartile_and_that_of_classes_one():
    assert lower_fence(np.empty(0)) == -1
    assert lower_fence(np.full(9, 0.5)) == pytest.approx(0.5 - 3e-6, abs=1e-9)
    assert lower_fence(np.linspace(0, 1, 101)) == pytest.approx(0.25 - 3 * 0.5)
    # Quartiles of 0.525 and 0.575, a little less for the two below: 0.475 is the fence.
    best = np.append(np.linspace(0.5, 0.6, 201), [0.48, 0.47])
    assert np.flatnonzero(unlike_any_class(best[:, None])).tolist() == [202]
    texts = np.stack([best, np.linspace(0.1, 0.3, 203)], axis=1)
    assert fit_labels(texts, np.zeros(203, np.int64)).fence == pytest.approx(0.475, abs=2e-3)


@pytest.mark.parametrize("with_texts", [True, False])
def test_wrong_labels_are_doubted_and_the_right_one_is_proposed(with_texts: bool):
    vectors, centres, truth = clusters()
    given = truth.copy()
    wrong = np.array([3, 50, 90, 130, 199])
    given[wrong] = (given[wrong] + 2) % 5
    fits = fit_labels(class_scores(vectors, centres), given) if with_texts else None
    found = doubt_labels(vectors, given, fits, 5)
    assert np.flatnonzero(found.doubts >= 0.5).tolist() == wrong.tolist()
    assert (found.proposed[wrong] == truth[wrong]).all()


def test_texts_that_side_with_the_label_silence_the_neighbours():
    vectors, _, truth = clusters()
    given = truth.copy()
    given[3] = 2
    texts = np.eye(5, dtype=np.float32)[given]
    assert not (doubt_labels(vectors, given, fit_labels(texts, given), 5).doubts > 0.01).any()


def test_neighbours_that_side_with_the_label_silence_the_texts():
    vectors, centres, truth = clusters()
    texts = class_scores(vectors, centres)
    texts[3] = texts[150]
    assert fit_labels(texts, truth).contradicted[3] > 0.9
    assert not (doubt_labels(vectors, truth, fit_labels(texts, truth), 5).doubts >= 0.5).any()


def test_what_fits_no_class_is_told_from_what_is_labelled_wrongly():
    vectors, centres, truth = clusters()
    texts = class_scores(vectors, centres)
    texts[7] = 0.1
    given = truth.copy()
    given[50] = 3
    fits = fit_labels(texts, given)
    assert np.flatnonzero(fits.own < fits.threshold).tolist() == [7, 50]
    assert np.flatnonzero(fits.contradicted > 0.5).tolist() == [50]
    assert np.flatnonzero(unlike_any_class(texts)).tolist() == [7]


def test_pictures_that_no_caption_fits_are_told_and_one_foreign_caption_is_forgiven():
    rng = np.random.default_rng(4)
    images = unit_rows(rng.standard_normal((60, 64)))
    owner = np.repeat(np.arange(1, 60), 2)
    texts = unit_rows(images[owner] + 0.1 * rng.standard_normal((118, 64)))
    texts[[20, 21]] = texts[[90, 91]]
    texts[40] = texts[100]
    assert np.flatnonzero(unlike_captions(images, texts, owner)).tolist() == [11]


def test_captions_speak_for_the_label_that_they_resemble():
    captions = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.52, 0.5]], np.float32)
    found = caption_leanings(captions, np.arange(4), np.zeros(5, np.int64), np.ones(5, np.int64))
    assert np.allclose(found, np.array([0.8, 0.6, -0.8, 0.02, 0]) / 0.31)
    assert caption_leanings(
        captions[:0], np.empty(0, np.int64), np.zeros(1, np.int64), np.ones(1, np.int64)
    ).tolist() == [0]


def test_nothing_to_doubt():
    assert len(doubt_labels(clusters()[0][:0], np.empty(0, np.int64), None, 3).doubts) == 0
    assert len(unlike_any_class(np.empty((0, 3), np.float32))) == 0
