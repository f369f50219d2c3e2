"""A linear probe: softmax regression on vectors, its regularization chosen by cross-validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from datumaro_clip.vectors import FloatArray

IntArray = npt.NDArray[np.int64]
_Array = npt.NDArray[np.float64]

#: Weights of the squared coefficients to try, the strongest first; features have a mean squared length of 1.
STRENGTHS = tuple(0.03 / 4**n for n in range(7))
FOLDS = 3
# The relative decrease of the loss in one step at which the search ends: the precision of float32 products.
_TOLERANCE = 1e-7
# The same for the comparison of strengths, each of which starts at the optimum of the one before.
_ROUGH = 1e-5
_MOST_STEPS = 500
# About the curvature of the softmax of a few likely classes; another value changes the steps, not the result.
_CURVATURE = 0.2


class Axes(NamedTuple):
    """Axes of features: centred, of mean squared length 1, along their principal axes.

    On these axes the loss is nearly round, so that L-BFGS takes a quarter of the steps; relative distances stay.

    Attributes
    ----------
    mean : numpy.ndarray
        Shape (D,), float32.
    turn : numpy.ndarray
        Shape (D, D), float32: a rotation times one scale.
    variances : numpy.ndarray
        Shape (D,), float64: of each new feature; they sum to 1.
    """

    mean: FloatArray
    turn: FloatArray
    variances: _Array

    @classmethod
    def of(cls, vectors: FloatArray) -> Axes:
        """Find the axes of vectors (N, D), without their labels."""
        mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred = vectors - mean
        variances, turn = np.linalg.eigh((centred.T @ centred).astype(np.float64) / max(len(vectors), 1))
        total = max(float(variances.sum()), np.finfo(np.float32).tiny)
        return cls(mean, (turn / np.sqrt(total)).astype(np.float32), variances.clip(0) / total)

    def __call__(self, vectors: FloatArray) -> FloatArray:
        """Transform vectors (N, D) to the axes."""
        return np.asarray((vectors - self.mean) @ self.turn, np.float32)


class Probe(NamedTuple):
    """A trained softmax regression.

    Attributes
    ----------
    weights : numpy.ndarray
        Shape (D, C), float64.
    bias : numpy.ndarray
        Shape (C,), float64; minus infinity for a class that was not among the training labels.
    strength : float
        The weight of the squared coefficients.
    """

    weights: _Array
    bias: _Array
    strength: float

    def scores(self, features: FloatArray) -> FloatArray:
        """Return the logits, (N, C), float32."""
        return features @ self.weights.astype(np.float32) + self.bias.astype(np.float32)

    def predict(self, features: FloatArray) -> IntArray:
        """Return the most likely class of each, (N,)."""
        best: IntArray = self.scores(features).argmax(axis=1).astype(np.int64)
        return best


def load_optimiser() -> None:
    """Load SciPy's optimiser; threads limit only the BLAS that is loaded before they start."""
    import scipy.optimize  # noqa: F401


def fit_probe(
    features: FloatArray,
    labels: IntArray,
    classes: int,
    strength: float,
    variances: _Array,
    start: Probe | None = None,
    tolerance: float = _TOLERANCE,
) -> Probe:
    """Train a softmax regression to its optimum.

    The loss is the mean cross-entropy plus ``strength`` / 2 times the sum of the squared weights; the bias is free.

    Parameters
    ----------
    features : numpy.ndarray
        Shape (N, D), float32.
    labels : numpy.ndarray
        Shape (N,), from 0 to ``classes`` - 1; N > 0.
    classes : int
        C.
    strength : float
        Above 0.
    variances : numpy.ndarray
        Shape (D,): about the variance of each feature; they change how fast the optimum is found, not the optimum.
    start : Probe, optional
        Where to start; the optimum is the same.
    tolerance : float
        The relative decrease of the loss in one step at which the search ends.
    """
    from scipy.optimize import minimize

    known = np.unique(labels)
    number = np.full(classes, -1)
    number[known] = np.arange(len(known))
    given, rows, shape = number[labels], np.arange(len(labels)), (features.shape[1] + 1, len(known))
    scale = 1 / np.sqrt(_CURVATURE * variances + strength)[:, None]

    def loss_and_slope(flat: _Array) -> tuple[float, _Array]:
        point = flat.reshape(shape)
        weights = scale * point[:-1]
        scores = features @ weights.astype(np.float32) + point[-1].astype(np.float32)
        scores -= scores.max(axis=1, keepdims=True)
        right = scores[rows, given]
        shares = np.exp(scores, out=scores)
        totals = shares.sum(axis=1, keepdims=True)
        loss = float(np.mean(np.log(totals[:, 0]) - right, dtype=np.float64)) + strength / 2 * float((weights**2).sum())
        shares /= totals
        shares[rows, given] -= 1
        slope = np.empty(shape)
        slope[:-1] = scale * ((features.T @ shares) / len(rows) + strength * weights)
        slope[-1] = shares.mean(axis=0)
        return loss, slope.ravel()

    first = np.zeros(shape)
    if start is not None:
        first[:-1], first[-1] = start.weights[:, known] / scale, np.maximum(start.bias[known], -50)
    steps = {"maxiter": _MOST_STEPS, "ftol": tolerance, "gtol": 1e-9}
    found = minimize(loss_and_slope, first.ravel(), jac=True, method="L-BFGS-B", options=steps).x.reshape(shape)
    weights, bias = np.zeros((shape[0] - 1, classes)), np.full(classes, -np.inf)
    weights[:, known], bias[known] = scale * found[:-1], found[-1] - found[-1].mean()
    return Probe(weights, bias, strength)


def train_probe(
    features: FloatArray, labels: IntArray, groups: IntArray, classes: int, variances: _Array, seed: int = 0
) -> Probe:
    """Choose the strength by cross-validation inside the training set, then train on all of it.

    The strengths are tried from the strongest on, until the cross-entropy of held-out items grows. It has one minimum:
    the weaker the regularization, the more closely a regression follows its training set.

    Parameters
    ----------
    features, labels, classes, variances
        As for :func:`fit_probe`.
    groups : numpy.ndarray
        Shape (N,): copies share a group, and are held out together.
    seed : int
        Of the folds.
    """
    if len(features) < features.shape[1]:
        # The optimum lies in the span of the examples, which has fewer dimensions.
        _, lengths, span = np.linalg.svd(features, full_matrices=False)
        inside = (lengths.astype(np.float64) ** 2) / len(features)
        probe = train_probe(features @ span.T, labels, groups, classes, inside, seed)
        return probe._replace(weights=span.T @ probe.weights)
    folds = _folds(groups, seed)
    probes: list[Probe | None] = [None] * FOLDS
    best, least = STRENGTHS[0], np.inf
    for strength in STRENGTHS:
        missed = 0.0
        for fold in range(FOLDS):
            held = folds == fold
            if held.any() and not held.all():
                rest, known = features[~held], labels[~held]
                probes[fold] = fit_probe(rest, known, classes, strength, variances, probes[fold], _ROUGH)
                missed += _cross_entropy(probes[fold], features[held], labels[held])
        if missed >= least:
            break
        best, least = strength, missed
    return fit_probe(features, labels, classes, best, variances, next((each for each in probes if each), None))


def _folds(groups: IntArray, seed: int) -> IntArray:
    """Assign a fold to each item, (N,): groups in a random order, in turn."""
    _, number = np.unique(groups, return_inverse=True)
    order = np.random.default_rng(seed).permutation(number.max(initial=-1) + 1)
    return order[number] % FOLDS


def _cross_entropy(probe: Probe | None, features: FloatArray, labels: IntArray) -> float:
    """Sum the cross-entropy of items; a class that the probe has not seen counts as a chance of one in a million."""
    assert probe is not None
    scores = probe.scores(features).astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    log_odds = scores[np.arange(len(labels)), labels] - np.log(np.exp(scores).sum(axis=1))
    return float(-np.maximum(log_odds, np.log(1e-6)).sum())


@dataclass(frozen=True, eq=False)
class FourierFeatures:
    """Random features whose products approximate a Gaussian kernel (Rahimi and Recht, 2007).

    Attributes
    ----------
    directions : numpy.ndarray
        Shape (D, M), float32.
    phases : numpy.ndarray
        Shape (M,), float32, from 0 to 2π.
    """

    directions: FloatArray
    phases: FloatArray

    @classmethod
    def of(cls, vectors: FloatArray, count: int = 512, seed: int = 0) -> FourierFeatures:
        """Draw features of a kernel whose width is the median distance of vectors (N, D)."""
        rng = np.random.default_rng(seed)
        one, other = rng.integers(0, len(vectors), (2, 2000))
        width = float(np.median(np.linalg.norm(vectors[one] - vectors[other], axis=1))) or 1.0
        directions = rng.standard_normal((vectors.shape[1], count), dtype=np.float32) / np.float32(width)
        return cls(directions, rng.uniform(0, 2 * np.pi, count).astype(np.float32))

    def __call__(self, vectors: FloatArray) -> FloatArray:
        """Compute the features of vectors (N, D): (N, M), float32, from -1 to 1."""
        found: FloatArray = np.cos(vectors @ self.directions + self.phases)
        return found
