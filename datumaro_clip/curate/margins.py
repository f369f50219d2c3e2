"""Margins: how much better texts fit their own pictures than strangers', and the margin below which they do not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from datumaro_clip.curate.columns import IntArray
from datumaro_clip.errors import OptionError
from datumaro_clip.similarity.scores import scores_at
from datumaro_clip.vectors import FloatArray

Scores = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

COMBINATIONS = ("max", "mean", "min")

# Fewest pairs that can be told apart into two distributions.
FEWEST_PAIRS = 20
_ROUNDS = 200
# Margins with strangers that show their distribution, and the numbers of strangers of each picture.
_STRANGE_MARGINS, _FEWEST_STRANGERS, _MOST_STRANGERS = 10_000, 4, 16
# Draws of a stranger that shares no text; in a dataset of two classes one in a million is none then.
_DRAWS = 20
# Thresholds count as equally good within this share of the standard error of the number of pairs between them.
_AS_GOOD = 0.5
# A unit row less the mean that is shorter than this is rounding error.
_LEAST_LENGTH = 1e-4


def combine(scores: Scores, owner: IntArray, count: int, how: str) -> Scores:
    """Combine the scores of each item's texts into one, shape (``count``,); NaN for an item without texts.

    Parameters
    ----------
    scores : numpy.ndarray
        Shape (T,).
    owner : numpy.ndarray
        Shape (T,), int64: the item of each text, from 0 to ``count`` - 1.
    count : int
    how : str
        ``max``, ``mean`` or ``min``.
    """
    texts = np.bincount(owner, minlength=count)
    if how == "mean":
        sums = np.bincount(owner, weights=scores, minlength=count)
        return np.where(texts > 0, sums / np.maximum(texts, 1), np.nan)
    found = np.full(count, -np.inf if how == "max" else np.inf)
    (np.maximum if how == "max" else np.minimum).at(found, owner, scores)
    return np.where(texts > 0, found, np.nan)


class Margins(NamedTuple):
    """How much better texts fit their own pictures than strangers'; one margin a text, or one an item.

    Attributes
    ----------
    own : numpy.ndarray
        Shape (M,), float64: own score in standard deviations above the scores with other pictures.
    strangers : numpy.ndarray
        Shape (S, M), float64: the same with each of S other pictures, as mismatched pairs score.
    expected : numpy.ndarray
        Shape (M,), float64: the part of each margin that is expected, by how vague a text is and how many there are.
    """

    own: Scores
    strangers: Scores
    expected: Scores

    @property
    def beyond_expected(self) -> Scores:
        """Own margins less the expected part, shape (M,), so that one threshold fits all."""
        return self.own - self.expected

    def threshold(self) -> float:
        """Return the threshold of :attr:`beyond_expected`; see :func:`mismatch_threshold`."""
        return mismatch_threshold(self.beyond_expected, (self.strangers - self.expected).ravel())


def margins(images: FloatArray, texts: FloatArray, owner: IntArray, seed: int = 0) -> Margins:
    """Compare each text with its own picture and with others of the dataset.

    A cosine similarity alone says little: some pictures are similar to all texts. So the mean of all pictures is
    subtracted from each picture, and the mean of all texts from each text. The unit of a margin is the geometric mean
    of two standard deviations: of the text's scores over other pictures, and of the picture's over other texts.

    A vague text ("a small thing") is similar to all pictures and fits its own only a little better, yet it is not
    wrong. So the expected margin is a linear function of a text's mean similarity to all pictures.

    Parameters
    ----------
    images : numpy.ndarray
        Shape (N, D), float32 unit rows.
    texts : numpy.ndarray
        Shape (M, D), float32 unit rows.
    owner : numpy.ndarray
        Shape (M,), int64: the picture that each text belongs to.
    seed : int
        Of the strangers. All texts of a picture get the same strangers, since wrong captions come from one item too.
        A stranger has none of these texts itself, unlike another picture of the same class.
    """
    rng = np.random.default_rng(seed)
    to_all = (texts @ images.mean(axis=0, dtype=np.float64).astype(np.float32)).astype(np.float64)
    images, texts = _centred(images), _centred(texts)
    by_text = _deviations(texts, images[_sample(len(images), rng)])
    by_picture = _deviations(images, texts[_sample(len(texts), rng)])

    def margins_with(pictures: IntArray) -> Scores:
        scores = scores_at(images, pictures, texts, np.arange(len(texts)))
        return np.round(scores / np.sqrt(by_text * by_picture[pictures]), 6)

    number = min(max(_STRANGE_MARGINS // len(texts), _FEWEST_STRANGERS), _MOST_STRANGERS)
    strangers = [margins_with(other[owner]) for other in _strangers(texts, owner, len(images), number, rng)]
    own = margins_with(owner)
    return Margins(own, np.stack(strangers), _explained(own, to_all))


def combine_margins(found: Margins, item: IntArray, how: str) -> Margins:
    """Combine the margins of texts into those of their items, in the order of the items' rows.

    The best of five texts scores higher than one alone, so an item's texts combined are compared with as many of a
    stranger combined. Where items have unequal numbers of texts, the effect of the number is fitted as a multiple of
    its logarithm (as the expected maximum of so many draws grows), and becomes a part of the expected margin.

    Parameters
    ----------
    found : Margins
        Of T texts.
    item : numpy.ndarray
        Shape (T,), int64: the item of each text.
    how : str
        As :func:`combine` takes it.
    """
    counts = np.bincount(item)
    owners = np.flatnonzero(counts)
    own, expected, *strangers = (
        combine(values, item, len(counts), how)[owners] for values in (found.own, found.expected, *found.strangers)
    )
    by_number = _explained(np.mean(strangers, axis=0) - expected, np.log(counts[owners]))
    return Margins(own, np.stack(strangers), expected + by_number)


def _explained(values: Scores, by: Scores) -> Scores:
    """Fit a straight line of values (M,) over another quantity; return its heights above the mean."""
    spread = by - by.mean()
    slope = float(spread @ values / (spread @ spread)) if np.ptp(by) else 0.0
    part: Scores = np.round(slope * spread, 6)
    return part


def _sample(count: int, rng: np.random.Generator) -> IntArray:
    """Draw up to 1,024 indices, in ascending order."""
    return np.sort(rng.permutation(count)[:1024]).astype(np.int64)


def _centred(rows: FloatArray) -> FloatArray:
    """Subtract the mean from unit rows, and scale them to unit length again; to 0 where only rounding is left."""
    found: FloatArray = rows - rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    length = np.linalg.norm(found, axis=1, keepdims=True)
    found *= np.where(length < _LEAST_LENGTH, 0, 1 / np.maximum(length, _LEAST_LENGTH))
    return found


def _deviations(rows: FloatArray, sample: FloatArray) -> Scores:
    """Return the standard deviation of each row's scores over a sample of the other kind, shape (N,)."""
    blocks = [rows[start : start + 4096].astype(np.float64) @ sample.T for start in range(0, len(rows), 4096)]
    deviations: Scores = np.concatenate([block.std(axis=1) for block in blocks])
    return np.maximum(deviations, 1e-6)


def _strangers(
    texts: FloatArray, owner: IntArray, count: int, number: int, rng: np.random.Generator
) -> Iterator[IntArray]:
    """Draw another picture for each of ``count``, shape (count,), a ``number`` of times.

    One that has a text of the picture itself is drawn again.
    """
    _, kind = np.unique(
        np.ascontiguousarray(texts).view(f"V{texts.itemsize * texts.shape[1]}").ravel(), return_inverse=True
    )
    has = np.unique(owner * len(texts) + kind)
    for _ in range(number):
        other = (np.arange(count) + rng.integers(1, max(count, 2), size=count)) % count
        doubtful = np.arange(len(texts))
        for _ in range(_DRAWS):
            is_shared = np.isin(other[owner[doubtful]] * len(texts) + kind[doubtful], has)
            shared = np.unique(owner[doubtful[is_shared]])
            if not len(shared):
                break
            other[shared] = (shared + rng.integers(1, max(count, 2), size=len(shared))) % count
            doubtful = np.flatnonzero(np.isin(owner, shared))
        yield other


def mismatch_threshold(own: Scores, strangers: Scores) -> float:
    """Find the margin below which pairs count as mismatched, so that the fewest are judged wrongly.

    Own margins are a mixture of right pairs and of wrong ones, and wrong ones are spread like ``strangers``. A
    threshold t loses the right pairs below it and keeps the wrong ones above; with F for the cumulative shares and w
    for the share of wrong pairs, these are F_own(t) - w F_strangers(t) and w - w F_strangers(t). Nothing is assumed
    of how right pairs are spread: vague captions ("a small thing") give them a long lower tail.

    At the upper end of ``strangers`` there are few wrong pairs, so that chance decides between thresholds: among those
    that are as good as the best, the threshold lies in the widest gap between margins.

    Raises
    ------
    OptionError
        If there are too few pairs to tell.
    """
    mixture = fit_mixture(own, strangers)
    own = np.sort(own)
    usual = int(np.searchsorted(own, mixture.right_mean)) + 1
    below = np.searchsorted(np.sort(strangers), own[:usual]) / len(strangers)
    number = np.arange(len(below))
    mistakes = number - 2 * mixture.wrong_share * len(own) * below
    best = int(mistakes.argmin())
    as_good = mistakes - mistakes[best] <= _AS_GOOD * np.sqrt(np.abs(number - best))
    gaps = np.where(as_good, np.diff(own[:usual], prepend=own[0]), -1)
    first = int(gaps.argmax())
    return float(own[max(first - 1, 0)] + own[first]) / 2


class Mixture(NamedTuple):
    """Two normal distributions, of right and of wrong pairs, and the share of the wrong ones."""

    right_mean: float
    right_deviation: float
    wrong_mean: float
    wrong_deviation: float
    wrong_share: float

    def even_odds(self) -> float:
        """Return the score at which a pair is as likely right as wrong."""
        grid = np.linspace(self.wrong_mean, max(self.right_mean, self.wrong_mean + 1e-9), 2001)
        likely_right = np.flatnonzero(self.wrong_odds(grid) < 0.5)
        return float(grid[likely_right[0]]) if len(likely_right) else float(grid[-1])

    def wrong_odds(self, own: Scores) -> Scores:
        """Return the probability that each pair is wrong, from 0 to 1; it never rises with the score."""
        values = np.minimum(own, self.right_mean)
        right = _log_density(values, self.right_mean, self.right_deviation) + math.log(max(1 - self.wrong_share, 1e-9))
        wrong = _log_density(values, self.wrong_mean, self.wrong_deviation) + math.log(max(self.wrong_share, 1e-9))
        return 1.0 / (1.0 + np.exp(np.clip(right - wrong, -500, 500)))


def fit_mixture(own: Scores, strangers: Scores) -> Mixture:
    """Fit the mixture by expectation–maximisation; wrong pairs are distributed like ``strangers``.

    Raises
    ------
    OptionError
        If there are too few pairs to tell.
    """
    if len(own) < FEWEST_PAIRS:
        raise OptionError(
            f"{len(own)} are too few to find a threshold in their scores (at least {FEWEST_PAIRS}); "
            "give one with --min-score or --min-margin, or a share with --keep-top"
        )
    upper = own[own >= np.median(own)]
    wrong = (float(np.mean(strangers)), max(float(np.std(strangers)), 1e-6))
    found = Mixture(float(upper.mean()), max(float(own.std()), 1e-6), *wrong, 0.2)
    for _ in range(_ROUNDS):
        weights = 1.0 - found.wrong_odds(own)
        total = max(float(weights.sum()), 1e-9)
        mean = float((weights * own).sum() / total)
        deviation = max(math.sqrt(float((weights * (own - mean) ** 2).sum() / total)), 1e-3)
        found = Mixture(mean, deviation, *wrong, 1 - min(max(total / len(own), 0.01), 0.999))
    return found


def _log_density(values: Scores, mean: float, deviation: float) -> Scores:
    """Return the logarithm of a normal density, without the constant that all have."""
    return -(((values - mean) / deviation) ** 2) / 2 - math.log(deviation)
