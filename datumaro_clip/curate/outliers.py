"""Pictures that resemble no other, and labels that neighbours and texts both contradict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datumaro_clip.curate.align import BoolArray, Scores, fit_mixture, margins
from datumaro_clip.curate.groups import IntArray
from datumaro_clip.similarity import top_k
from datumaro_clip.vectors import FloatArray

# The share of a dataset that a foreign group may make up and still be found: its members then have too few
# neighbours among themselves.
_FOREIGN_SHARE = 0.02
_FEWEST_NEIGHBOURS = 10
_LABEL_NEIGHBOURS = 10
# Tukey's far fence (Exploratory Data Analysis, 1977): about 1 in 400,000 of a normal distribution lies below.
_FAR_FENCE = 3.0
# Below it lie about 2 in 100 of a normal distribution: unusual, where something else is wrong as well.
_NEAR_FENCE = 1.0


def neighbour_count(total: int) -> int:
    """Which neighbour to look at: the 10th, or the one that 2% of the items come before; never more than exist."""
    return max(0, min(max(_FEWEST_NEIGHBOURS, round(_FOREIGN_SHARE * total)), total - 1))


def isolation(vectors: FloatArray, neighbours: int | None = None) -> FloatArray:
    """How similar each picture is to its k-th nearest neighbour (Ramaswamy et al., 2000).

    Parameters
    ----------
    vectors : numpy.ndarray
        Shape (N, D), float32 unit rows.
    neighbours : int, optional
        k; :func:`neighbour_count` where omitted.

    Returns
    -------
    numpy.ndarray
        Shape (N,), float32 cosine similarities; 1 where there is only one picture. The lowest fit least.
    """
    k = min(neighbours or neighbour_count(len(vectors)), max(len(vectors) - 1, 0))
    if k == 0:
        return np.ones(len(vectors), np.float32)
    return np.array(top_k(vectors, vectors, k + 1)[1][:, k])


def lower_fence(scores: FloatArray | Scores, reach: float = _FAR_FENCE) -> float:
    """The lower quartile less ``reach`` interquartile ranges: below it lies what does not belong."""
    if not len(scores):
        return -1.0
    low, high = np.percentile(scores, [25, 75])
    return float(low - reach * max(high - low, 1e-6))


class LabelFits(NamedTuple):
    """How well pictures fit the labels that they were given.

    Attributes
    ----------
    own : numpy.ndarray
        Shape (N,), float64: cosine similarity with the given class.
    threshold : float
        Below it, the picture more likely belongs to another class than to its own.
    fence : float
        What similarities with the own class usually exceed; above ``threshold``, where most labels are right.
    rival : numpy.ndarray
        Shape (N,), int64: the class that fits best among the others.
    contradicted : numpy.ndarray
        Shape (N,), float64: probability that the rival fits and the given class does not, from 0 to 1.
    """

    own: Scores
    threshold: float
    fence: float
    rival: IntArray
    contradicted: Scores


def fit_labels(texts: FloatArray, labels: Sequence[int]) -> LabelFits:
    """Weigh each picture's similarity with its own class against what pictures have with classes not their own.

    Parameters
    ----------
    texts : numpy.ndarray
        Shape (N, C), N >= 20, C >= 2: cosine similarity with each class.
    labels : sequence of int
        Given label of each.
    """
    scores, given = texts.astype(np.float64), np.asarray(labels, dtype=np.int64)
    others = np.ones(scores.shape, np.bool_)
    others[np.arange(len(scores)), given] = False
    own, rivals = scores[~others], np.where(others, scores, -np.inf)
    mixture = fit_mixture(own, scores[others])
    contradicted = mixture.wrong_odds(own) * (1 - mixture.wrong_odds(rivals.max(axis=1)))
    fence = lower_fence(own, _NEAR_FENCE)
    return LabelFits(own, mixture.even_odds(), fence, rivals.argmax(axis=1).astype(np.int64), contradicted)


def unlike_any_class(texts: FloatArray) -> BoolArray:
    """Which pictures are less similar to their most similar class than pictures usually are, shape (N,).

    A picture that only carries a wrong label fits some other class as well as usual.
    """
    best = texts.max(axis=1, initial=-1.0)
    unlike: BoolArray = best < lower_fence(best, _NEAR_FENCE)
    return unlike


def unlike_captions(images: FloatArray, texts: FloatArray, owner: IntArray) -> BoolArray:
    """Which pictures none of their captions fits, shape (N,): the best does so far worse than best captions do.

    Parameters are those of :func:`~datumaro_clip.curate.align.margins`; a picture without captions is not among them.
    """
    best = np.full(len(images), -np.inf)
    np.maximum.at(best, owner, margins(images, texts, owner).own)
    captioned = np.isfinite(best)
    unlike: BoolArray = captioned & (best < lower_fence(best[captioned]))
    return unlike


def caption_leanings(captions: FloatArray, owner: IntArray, labels: Sequence[int], rivals: IntArray) -> Scores:
    """How much more pictures' captions resemble the given label than its rival, shape (N,), float64.

    In units of what is usual, so that 1 is the median; 0 for a picture without captions. Below 0 they speak for the
    rival.

    Parameters
    ----------
    captions : numpy.ndarray
        Shape (M, C): cosine similarity of each caption with each class.
    owner : numpy.ndarray
        Shape (M,), int64: the picture that each caption belongs to.
    labels : sequence of int
        Given label of each of the N pictures.
    rivals : numpy.ndarray
        Shape (N,), int64: the label that would replace it.
    """
    rows, given = np.arange(len(owner)), np.asarray(labels, dtype=np.int64)
    differences = captions[rows, given[owner]].astype(np.float64) - captions[rows, rivals[owner]]
    leanings = _mean_of_owner(differences, owner, len(given))
    usual = float(np.median(leanings[np.unique(owner)])) if len(owner) else 1.0
    relative: Scores = leanings / max(usual, 1e-3)
    return relative


def _mean_of_owner(values: Scores, owner: IntArray, count: int) -> Scores:
    """Mean of each owner's values, 0 where there are none."""
    sums = np.bincount(owner, weights=values, minlength=count)
    means: Scores = sums / np.maximum(np.bincount(owner, minlength=count), 1)
    return means


class LabelDoubts(NamedTuple):
    """Labels that may be wrong.

    Attributes
    ----------
    doubts : numpy.ndarray
        Shape (N,), float32 from 0 to 1: probability that another class fits the picture and the given one does not,
        by the text encoder, times the share of the neighbours that carry another label. Without texts, how much
        larger a share of the neighbours carries the proposed label than the given one; 0 where none does.
    proposed : numpy.ndarray
        Shape (N,), int64: the other label that fits best by the text encoder; without texts, the neighbours' most
        frequent one.
    """

    doubts: FloatArray
    proposed: IntArray


def doubt_labels(vectors: FloatArray, labels: Sequence[int], texts: FloatArray | None, count: int) -> LabelDoubts:
    """Weigh each given label against what neighbours are labelled and what the text encoder says.

    Parameters
    ----------
    vectors : numpy.ndarray
        Shape (N, D), float32 unit rows; N >= 20 where there are texts.
    labels : sequence of int
        Given label of each, from 0 to ``count`` - 1.
    texts : numpy.ndarray or None
        Shape (N, C): cosine similarity with each class; None leaves the judgement to the neighbours.
    count : int
        C, the number of classes.
    """
    rows, given = np.arange(len(vectors)), np.asarray(labels, dtype=np.int64)
    votes = neighbour_votes(vectors, labels, count)
    own = votes[rows, given]
    if texts is not None:
        fits = fit_labels(texts, labels)
        return LabelDoubts((fits.contradicted * (1 - own)).round(6).astype(np.float32), fits.rival)
    votes[rows, given] = -1.0
    proposed = votes.argmax(axis=1).astype(np.int64)
    return LabelDoubts(np.maximum(votes[rows, proposed] - own, 0).round(6), proposed)


def neighbour_votes(vectors: FloatArray, labels: Sequence[int], count: int) -> FloatArray:
    """Share of each label among the ten nearest other pictures, shape (N, C), weighted by similarity."""
    votes = np.zeros((len(vectors), count), np.float32)
    k = min(_LABEL_NEIGHBOURS, len(vectors) - 1)
    if k < 1:
        return votes
    indices, scores = top_k(vectors, vectors, k + 1)
    given = np.asarray(labels, dtype=np.int64)
    for row, (neighbours, similar) in enumerate(zip(indices, scores, strict=True)):
        others = neighbours != row
        np.add.at(votes[row], given[neighbours[others][:k]], np.maximum(similar[others][:k], 1e-3))
    shares: FloatArray = votes / votes.sum(axis=1, keepdims=True)
    return shares
