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
    """Margin below which a text more likely belongs to a stranger's picture than to its own.

    Own margins are a mixture of right pairs and of wrong ones, and wrong ones look like ``strangers``: two normal
    distributions, the latter known, the former and its share fitted by expectation–maximisation.

    Raises
    ------
    OptionError
        If there are too few pairs to tell.
    """
    if len(found.own) < FEWEST_PAIRS:
        raise OptionError(
            f"{len(found.own)} texts are too few to find a threshold in their scores (at least {FEWEST_PAIRS}); "
            "give one with --min-score, or a share with --keep-top"
        )
    centre, width = float(np.mean(found.strangers)), max(float(np.std(found.strangers)), 1e-6)
    right = _fit_right(found.own, centre, width)
    grid = np.linspace(centre, max(right[0], centre + 1e-9), 2001)
    odds = _wrong_odds(grid, right, (centre, width))
    likely_right = np.flatnonzero(odds < 0.5)
    return float(grid[likely_right[0]]) if len(likely_right) else float(grid[-1])


def _fit_right(own: Scores, centre: float, width: float) -> tuple[float, float, float]:
    """Mean, deviation and share of the right pairs."""
    upper = own[own >= np.median(own)]
    mean, deviation, share = float(upper.mean()), max(float(own.std()), 1e-6), 0.8
    for _ in range(_ROUNDS):
        weights = 1.0 - _wrong_odds(own, (mean, deviation, share), (centre, width))
        total = max(float(weights.sum()), 1e-9)
        mean = float((weights * own).sum() / total)
        deviation = max(math.sqrt(float((weights * (own - mean) ** 2).sum() / total)), 1e-3)
        share = min(max(total / len(own), 0.01), 0.999)
    return mean, deviation, share


def _wrong_odds(values: Scores, right: tuple[float, float, float], wrong: tuple[float, float]) -> Scores:
    """Probability that each margin is a wrong pair's."""
    mean, deviation, share = right
    log_right = math.log(share / deviation) - ((values - mean) / deviation) ** 2 / 2
    log_wrong = math.log((1 - share) / wrong[1]) - ((values - wrong[0]) / wrong[1]) ** 2 / 2
    probability: Scores = 1.0 / (1.0 + np.exp(np.clip(log_right - log_wrong, -500, 500)))
    return probability
