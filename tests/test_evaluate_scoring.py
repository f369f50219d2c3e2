"""Accuracies and their intervals."""

from __future__ import annotations

import numpy as np

from datumaro_clip.evaluate.scoring import class_accuracies, score

RNG = np.random.default_rng(0)


def test_accuracies_are_those_of_scikit_learn():
    from sklearn.metrics import accuracy_score, balanced_accuracy_score

    labels = RNG.choice(4, 300, p=[0.6, 0.2, 0.15, 0.05])
    told = np.where(RNG.random(300) < 0.7, labels, 0)
    [found] = score([(told == labels)[None]], labels, np.arange(300))
    assert np.isclose(found.accuracy.estimate().value, accuracy_score(labels, told))
    assert np.isclose(found.balanced.estimate().value, balanced_accuracy_score(labels, told))


def test_an_interval_is_as_wide_as_the_binomial_law_has_it():
    hits = RNG.random((1, 2000)) < 0.8
    [found] = score([hits], np.zeros(2000, np.int64), np.arange(2000))
    told = found.accuracy.estimate()
    assert np.isclose((told.high - told.low) / 2, 1.96 * np.sqrt(0.8 * 0.2 / 2000), rtol=0.12)


def test_copies_are_no_independent_witnesses():
    """Four copies of each item tell no more than one of each, so the interval is as wide."""
    hits = RNG.random((1, 400)) < 0.7
    labels = np.zeros(400, np.int64)
    [once] = score([hits], labels, np.arange(400))
    [often] = score([np.repeat(hits, 4, axis=1)], np.repeat(labels, 4), np.repeat(np.arange(400), 4))
    width, copied = (each.accuracy.estimate().high - each.accuracy.estimate().low for each in (once, often))
    assert np.isclose(width, copied, rtol=0.1)


def test_what_answers_alike_does_not_differ_at_all():
    hits = RNG.random((1, 200)) < 0.5
    one, other = score([hits, hits.copy()], np.zeros(200, np.int64), np.arange(200))
    assert one.accuracy.minus(other.accuracy) == (0, 0, 0)
    assert one.balanced.minus(other.balanced) == (0, 0, 0)


def test_a_difference_on_the_same_items_is_surer_than_each_accuracy():
    hits = RNG.random((1, 500)) < 0.6
    better = hits.copy()
    better[0, np.flatnonzero(~hits[0])[:20]] = True
    worse, found = score([hits, better], np.zeros(500, np.int64), np.arange(500))
    difference = found.accuracy.minus(worse.accuracy)
    assert np.isclose(difference.value, 0.04)
    assert difference.low > 0.02
    assert worse.accuracy.estimate().high > found.accuracy.estimate().low


def test_seeds_that_disagree_widen_the_interval():
    """With every test item alike, what is left to doubt is which seeds were drawn."""
    same, split = np.ones((5, 100), np.bool_), np.repeat([[True], [False], [True], [False], [True]], 100, axis=1)
    one, other = score([same, split], np.zeros(100, np.int64), np.arange(100))
    assert one.accuracy.estimate() == (1, 1, 1)
    assert other.accuracy.estimate().value == 0.6
    assert other.accuracy.estimate().high - other.accuracy.estimate().low > 0.4


def test_rows_of_several_trials_are_told_apart():
    first, second = np.ones((2, 10), np.bool_), np.zeros((3, 10), np.bool_)
    found = score([first, second], np.arange(10) % 2, np.arange(10), draws=50)
    assert [each.accuracy.estimate().value for each in found] == [1, 0]
    assert [each.accuracy.draws.shape for each in found] == [(2, 50), (3, 50)]


def test_a_class_that_the_test_set_lacks_has_no_accuracy():
    hits = np.array([[True, False, True]])
    np.testing.assert_array_equal(class_accuracies(hits, np.array([0, 0, 2]), 3), [0.5, np.nan, 1])
