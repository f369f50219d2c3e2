"""How well pictures and texts go together, and from where on they do not."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from datumaro_clip.curate.groups import IntArray
from datumaro_clip.errors import OptionError
from datumaro_clip.similarity import exact_scores
from datumaro_clip.vectors import FloatArray

COMBINATIONS = ("max", "mean", "min")

# Fewest pairs from which two distributions can be told apart.
FEWEST_PAIRS = 20
_ROUNDS = 200

Scores = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def combine(scores: Sequence[float], how: str) -> float | None:
    """One score of an item from those of its texts: ``max``, ``mean`` or ``min``; None without texts."""
    if how not in COMBINATIONS:
        raise OptionError(f"--captions-score must be one of {', '.join(COMBINATIONS)}, got {how!r}")
    if not scores:
        return None
    if how == "mean":
        return math.fsum(scores) / len(scores)
    return max(scores) if how == "max" else min(scores)


def keep_top(scores: npt.ArrayLike, share: float, classes: Sequence[Hashable] | None = None) -> tuple[Any, Any]:
    """Which items are the best share, over all or in each class.

    Parameters
    ----------
    scores : array_like
        Shape (N,).
    share : float
        Above 0, at most 1; rounded up, so that each class keeps one at least. Ties go to the earlier item.
    classes : sequence, optional
        Class of each item.

    Returns
    -------
    kept : numpy.ndarray
        Shape (N,), bool.
    thresholds : numpy.ndarray
        Shape (N,), float64: lowest score that was kept in the item's class.
    """
    if not 0 < share <= 1:
        raise OptionError(f"--keep-top must be above 0 and at most 1, got {share}")
    values = np.asarray(scores, dtype=np.float64)
    members: dict[Hashable, list[int]] = {}
    for index in range(len(values)):
        members.setdefault(classes[index] if classes is not None else None, []).append(index)
    kept, thresholds = np.zeros(len(values), dtype=np.bool_), np.zeros(len(values))
    for indices in members.values():
        best = sorted(indices, key=lambda index: -values[index])[: math.ceil(share * len(indices) - 1e-9)]
        kept[best] = True
        thresholds[indices] = values[best[-1]]
    return kept, thresholds


class Margins(NamedTuple):
    """How much better each text fits its own picture than a stranger's.

    Attributes
    ----------
    own : numpy.ndarray
        Shape (M,), float64: own score in standard deviations above the text's scores with other pictures.
    strangers : numpy.ndarray
        Shape (M,), float64: the same for one other picture each; what mismatched pairs look like.
    """

    own: Scores
    strangers: Scores


def margins(images: FloatArray, texts: FloatArray, owner: IntArray, seed: int = 0) -> Margins:
    """Compare each text with its own picture and with others of the dataset.

    A cosine similarity alone says little: some texts are similar to everything. Against the mean and deviation of
    the same text over other pictures, and of the same picture over other texts, it says how well the two fit.

    Parameters
    ----------
    images : numpy.ndarray
        Shape (N, D), float32 unit rows.
    texts : numpy.ndarray
        Shape (M, D), float32 unit rows.
    owner : numpy.ndarray
        Shape (M,), int64: the picture that each text belongs to.
    """
    rng = np.random.default_rng(seed)
    pictures = images[_sample(len(images), rng)]
    sentences = texts[_sample(len(texts), rng)]
    by_text, by_picture = _profile(texts, pictures), _profile(images, sentences)
    other = _strangers(owner, len(images), rng)
    own = _standardised(exact_scores(images[owner], texts), by_text, (by_picture[0][owner], by_picture[1][owner]))
    strange = _standardised(exact_scores(images[other], texts), by_text, (by_picture[0][other], by_picture[1][other]))
    return Margins(own, strange)


def _sample(count: int, rng: np.random.Generator) -> IntArray:
    """Up to 1,024 indices, in order."""
    return np.sort(rng.permutation(count)[:1024]).astype(np.int64)


def _profile(rows: FloatArray, sample: FloatArray) -> tuple[Scores, Scores]:
    """Mean and deviation of each row's scores over a sample of the other kind, a block at a time."""
    blocks = [rows[start : start + 4096].astype(np.float64) @ sample.T for start in range(0, len(rows), 4096)]
    mean = np.concatenate([block.mean(axis=1) for block in blocks])
    deviation = np.concatenate([block.std(axis=1) for block in blocks])
    return mean, np.maximum(deviation, 1e-6)


def _strangers(owner: IntArray, count: int, rng: np.random.Generator) -> IntArray:
    """Another picture for each text."""
    return (owner + rng.integers(1, max(count, 2), size=len(owner))) % count


def _standardised(scores: FloatArray, one: tuple[Scores, Scores], two: tuple[Scores, Scores]) -> Scores:
    means, deviations = (one[0] + two[0]) / 2, np.sqrt(one[1] * two[1])
    values: Scores = ((scores - means) / deviations).round(6)
    return values


def mismatch_threshold(found: Margins) -> float:
    """Margin below which texts count as strangers' so that the fewest pairs are judged wrongly.

    Own margins are a mixture of right pairs and of wrong ones, and wrong ones are spread like ``strangers``. A
    threshold t loses the right pairs below it and keeps the wrong ones above; with F for the cumulative shares and w
    for the share of wrong pairs, these are F_own(t) - w F_strangers(t) and w - w F_strangers(t). Nothing is assumed
    of how right pairs are spread: vague captions ("a small thing") give them a long lower tail.

    Raises
    ------
    OptionError
        If there are too few pairs to tell.
    """
    mixture = fit_mixture(found.own, found.strangers)
    own = np.sort(found.own)
    usual = int(np.searchsorted(own, mixture.right_mean)) + 1
    below = np.searchsorted(np.sort(found.strangers), own[:usual]) / len(found.strangers)
    mistakes = np.arange(len(below)) / len(own) - 2 * mixture.wrong_share * below
    first = int(mistakes.argmin())
    return float(own[max(first - 1, 0)] + own[first]) / 2


class Mixture(NamedTuple):
    """Right and wrong pairs as two normal distributions, and the share of the wrong ones."""

    right_mean: float
    right_deviation: float
    wrong_mean: float
    wrong_deviation: float
    wrong_share: float

    def even_odds(self) -> float:
        """The score at which a pair is as likely right as wrong; pairs that are all alike divide there."""
        grid = np.linspace(self.wrong_mean, max(self.right_mean, self.wrong_mean + 1e-9), 2001)
        likely_right = np.flatnonzero(self.wrong_odds(grid) < 0.5)
        return float(grid[likely_right[0]]) if len(likely_right) else float(grid[-1])

    def wrong_odds(self, own: Scores) -> Scores:
        """Probability that each pair is a wrong one, from 0 to 1; it never rises with the score."""
        values = np.minimum(own, self.right_mean)
        right = _log_density(values, self.right_mean, self.right_deviation) + math.log(max(1 - self.wrong_share, 1e-9))
        wrong = _log_density(values, self.wrong_mean, self.wrong_deviation) + math.log(max(self.wrong_share, 1e-9))
        probability: Scores = 1.0 / (1.0 + np.exp(np.clip(right - wrong, -500, 500)))
        return probability


def fit_mixture(own: Scores, strangers: Scores) -> Mixture:
    """Tell right pairs from wrong ones: the wrong are spread like ``strangers``, the rest is fitted by
    expectation–maximisation.

    Raises
    ------
    OptionError
        If there are too few pairs to tell.
    """
    if len(own) < FEWEST_PAIRS:
        raise OptionError(
            f"{len(own)} texts are too few to find a threshold in their scores (at least {FEWEST_PAIRS}); "
            "give one with --min-score, or a share with --keep-top"
        )
    upper = own[own >= np.median(own)]
    wrong = (float(np.mean(strangers)), max(float(np.std(strangers)), 1e-6))
    found = Mixture(float(upper.mean()), max(float(own.std()), 1e-6), *wrong, 0.2)
    for _ in range(_ROUNDS):
        found = _fitted_again(found, own)
    return found


def _fitted_again(found: Mixture, own: Scores) -> Mixture:
    """One round: the right pairs' mean and deviation, and the share of wrong ones, by the odds so far."""
    weights = 1.0 - found.wrong_odds(own)
    total = max(float(weights.sum()), 1e-9)
    mean = float((weights * own).sum() / total)
    deviation = max(math.sqrt(float((weights * (own - mean) ** 2).sum() / total)), 1e-3)
    return found._replace(
        right_mean=mean, right_deviation=deviation, wrong_share=1 - min(max(total / len(own), 0.01), 0.999)
    )


def _log_density(values: Scores, mean: float, deviation: float) -> Scores:
    """Of a normal distribution, without the constant that all have."""
    density: Scores = -(((values - mean) / deviation) ** 2) / 2 - math.log(deviation)
    return density
