"""The probes: softmax regression beside scikit-learn's, its strength, its axes, and random Fourier features."""

from __future__ import annotations

import numpy as np
import pytest

from datumaro_clip.evaluate.probe import STRENGTHS, Axes, FourierFeatures, Probe, fit_probe, train_probe

CLASSES = 5


def drawn(count: int, dimension: int = 24, noise: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points around one centre a class, stretched along some axes, of mean squared length 1, and their classes."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).standard_normal((CLASSES, dimension))
    labels = rng.integers(0, CLASSES, count)
    stretch = np.geomspace(3, 0.1, dimension)
    vectors = (centres[labels] + noise * rng.standard_normal((count, dimension))) * stretch
    return (vectors / np.sqrt((vectors**2).sum(axis=1).mean())).astype(np.float32), labels


def shares(probe: Probe, vectors: np.ndarray) -> np.ndarray:
    """The probability of each class, (N, C)."""
    scores = probe.scores(vectors).astype(np.float64)
    found = np.exp(scores - scores.max(axis=1, keepdims=True))
    return found / found.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("strength", [0.1, 1e-2, 1e-3])
def test_the_optimum_is_that_of_scikit_learn(strength: float):
    from sklearn.linear_model import LogisticRegression

    vectors, labels = drawn(600)
    oracle = LogisticRegression(C=1 / (strength * len(labels)), tol=1e-8, max_iter=5000).fit(vectors, labels)
    ours = fit_probe(vectors, labels, CLASSES, strength, vectors.var(axis=0).astype(np.float64))
    np.testing.assert_allclose(shares(ours, vectors), oracle.predict_proba(vectors), atol=2e-3)


def test_where_the_search_begins_and_what_it_is_told_of_variances_change_no_optimum():
    vectors, labels = drawn(400)
    one = fit_probe(vectors, labels, CLASSES, 1e-2, vectors.var(axis=0).astype(np.float64))
    far = fit_probe(*drawn(400, seed=9), CLASSES, 1e-4, np.ones(24))
    other = fit_probe(vectors, labels, CLASSES, 1e-2, np.ones(24), start=far)
    np.testing.assert_allclose(one.weights, other.weights, atol=1e-2)


def test_fewer_examples_than_dimensions_have_the_same_optimum():
    vectors, labels = drawn(20)
    probe = train_probe(vectors, labels, np.arange(20), CLASSES, np.ones(24))
    plain = fit_probe(vectors, labels, CLASSES, probe.strength, np.ones(24))
    np.testing.assert_allclose(shares(probe, vectors), shares(plain, vectors), atol=5e-3)


def test_a_class_without_examples_is_never_predicted():
    vectors, labels = drawn(200)
    probe = train_probe(vectors[labels != 2], labels[labels != 2], np.arange((labels != 2).sum()), CLASSES, np.ones(24))
    assert set(probe.predict(vectors)) <= {0, 1, 3, 4}


def test_a_single_example_trains_a_probe_that_knows_one_class():
    probe = train_probe(np.ones((1, 3), np.float32), np.array([3]), np.array([0]), CLASSES, np.ones(3))
    assert probe.predict(np.zeros((2, 3), np.float32)).tolist() == [3, 3]


def test_labels_without_a_pattern_ask_for_a_great_strength():
    vectors, _ = drawn(300)
    labels = np.random.default_rng(1).integers(0, CLASSES, 300)
    assert train_probe(vectors, labels, np.arange(300), CLASSES, np.ones(24)).strength in STRENGTHS[:2]


def test_clear_classes_ask_for_a_small_strength():
    vectors, labels = drawn(300, noise=0.2)
    assert train_probe(vectors, labels, np.arange(300), CLASSES, np.ones(24)).strength < 1e-2


def test_copies_are_held_out_together():
    """Were they not, six copies of noise would look as if it could be learned, and the strength would be small."""
    vectors, _ = drawn(60)
    rng = np.random.default_rng(1)
    labels = rng.integers(0, CLASSES, 60)
    copies = np.repeat(np.arange(60), 6)
    near = vectors[copies] + 1e-4 * rng.standard_normal((360, 24), dtype=np.float32)
    together = train_probe(near, labels[copies], copies, CLASSES, np.ones(24))
    apart = train_probe(near, labels[copies], np.arange(360), CLASSES, np.ones(24))
    assert together.strength in STRENGTHS[:2]
    assert apart.strength < 1e-3


def test_axes_keep_distances_but_for_one_scale_and_make_the_mean_squared_length_1():
    vectors, _ = drawn(500)
    axes = Axes.of(vectors)
    turned = axes(vectors)
    assert np.isclose((turned**2).sum(axis=1).mean(), 1, atol=1e-3)
    np.testing.assert_allclose(turned.var(axis=0), axes.variances, atol=1e-4)
    before, after = (np.linalg.norm(each[:50] - each[50:100], axis=1) for each in (vectors, turned))
    np.testing.assert_allclose(after / before, np.full(50, after[0] / before[0]), rtol=1e-3)


def test_axes_of_equal_vectors_are_finite():
    assert np.isfinite(Axes.of(np.ones((4, 3), np.float32))(np.ones((2, 3), np.float32))).all()


def test_products_of_fourier_features_are_those_of_a_gaussian_kernel():
    vectors, _ = drawn(300)
    features = FourierFeatures.of(vectors, count=20_000)
    made = features(vectors[:40]).astype(np.float64)
    width = np.median(np.linalg.norm(vectors[:, None] - vectors[None], axis=2))
    apart = np.linalg.norm(vectors[:40, None] - vectors[None, :40], axis=2)
    np.testing.assert_allclose(2 * made @ made.T / 20_000, np.exp(-((apart / width) ** 2) / 2), atol=0.06)
