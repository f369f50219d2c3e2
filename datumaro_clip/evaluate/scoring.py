"""Accuracies of trials, with bootstrap intervals that draw the same test items for all compared trials."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from datumaro_clip.evaluate.probe import IntArray
from datumaro_clip.evaluate.trials import BoolArray

_Array = npt.NDArray[np.float64]

DRAWS = 2000
# Percentiles between which 95 % of the draws lie.
_BETWEEN = (2.5, 97.5)
# Weights held at a time: 32 MiB of float32.
_BLOCK = 1 << 23


class Estimate(NamedTuple):
    """A value, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


class Score(NamedTuple):
    """One kind of accuracy of some trials, by seed, and by seed and draw.

    Attributes
    ----------
    seeds : numpy.ndarray
        Shape (S,), from 0 to 1.
    draws : numpy.ndarray
        Shape (S, B): on the test items of each draw.
    """

    seeds: _Array
    draws: _Array

    def estimate(self) -> Estimate:
        """Estimate the mean over seeds."""
        return _interval(float(self.seeds.mean()), self._resampled(0))

    def minus(self, other: Score) -> Estimate:
        """Estimate the difference from another score on the same test items."""
        difference = self._resampled(0) - other._resampled(1)
        return _interval(float(self.seeds.mean() - other.seeds.mean()), difference)

    def _resampled(self, side: int) -> _Array:
        """Return the mean over seeds, which are drawn again too, (B,)."""
        count, draws = self.draws.shape
        chosen = np.random.default_rng((1, side)).integers(0, count, (count, draws))
        found: _Array = np.take_along_axis(self.draws, chosen, axis=0).mean(axis=0)
        return found


class Scores(NamedTuple):
    """Top-1 accuracy, and balanced accuracy: the mean over the test set's classes."""

    accuracy: Score
    balanced: Score


def score(hits: Sequence[BoolArray], labels: IntArray, groups: IntArray, draws: int = DRAWS) -> list[Scores]:
    """Score several trials with the same draws of the test items.

    A draw takes groups of copies, with replacement, as many as there are: copies are not independent samples.

    Parameters
    ----------
    hits : sequence of numpy.ndarray
        Each (S, T), as :attr:`~datumaro_clip.evaluate.trials.Trials.hits`.
    labels, groups : numpy.ndarray
        Shape (T,): of the test items.
    draws : int
        B.
    """
    rows, limits = np.concatenate(hits).astype(np.float32), np.cumsum([0, *map(len, hits)])
    _, classes = np.unique(labels, return_inverse=True)
    _, group = np.unique(groups, return_inverse=True)
    order = np.argsort(classes, kind="stable")
    rows, group, starts = rows[:, order], group[order], np.searchsorted(classes[order], np.arange(classes.max() + 1))
    rng, size = np.random.default_rng(0), group.max() + 1
    every = np.ones((len(labels), 1), np.float32)
    plain, found = _weighted(rows, every, starts), []
    for start in range(0, draws, block := max(1, _BLOCK // len(labels))):
        taken = [np.bincount(rng.integers(0, size, size), minlength=size) for _ in range(min(block, draws - start))]
        found.append(_weighted(rows, np.stack(taken, axis=1)[group].astype(np.float32), starts))
    drawn = [np.concatenate(parts, axis=1) for parts in zip(*found, strict=True)]
    return [
        Scores(*(Score(each[low:high, 0], many[low:high]) for each, many in zip(plain, drawn, strict=True)))
        for low, high in pairwise(limits)
    ]


def class_accuracies(hits: BoolArray, labels: IntArray, classes: int) -> _Array:
    """Return the accuracy of each class, the mean over seeds, (C,); NaN for a class that the test set lacks."""
    right = np.bincount(labels, hits.mean(axis=0), classes)
    count = np.bincount(labels, minlength=classes)
    found: _Array = np.divide(right, count, out=np.full(classes, np.nan), where=count > 0)
    return found


def _weighted(
    rows: npt.NDArray[np.float32], weights: npt.NDArray[np.float32], starts: IntArray
) -> tuple[_Array, _Array]:
    """Compute both accuracies of R rows with B weightings of the items (T, B), which are sorted by class."""
    totals = np.add.reduceat(weights, starts, axis=0).astype(np.float64)
    ends = [*starts[1:].tolist(), len(weights)]
    right = np.stack([rows[:, a:b] @ weights[a:b] for a, b in zip(starts.tolist(), ends, strict=True)]).astype(
        np.float64
    )
    there = totals > 0
    each = np.divide(right, totals[:, None], out=np.zeros_like(right), where=there[:, None])
    return right.sum(axis=0) / totals.sum(axis=0), each.sum(axis=0) / there.sum(axis=0)


def _interval(value: float, draws: _Array) -> Estimate:
    low, high = np.percentile(draws, _BETWEEN)
    return Estimate(value, float(low), float(high))
