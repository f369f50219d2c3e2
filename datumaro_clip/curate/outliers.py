"""Pictures that resemble no other, and labels that neighbours and texts both contradict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datumaro_clip.curate.classify import softmax
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


def lower_fence(scores: FloatArray, reach: float = _FAR_FENCE) -> float:
    """The lower quartile less ``reach`` interquartile ranges: below it lies what does not belong."""
    if not len(scores):
        return -1.0
    low, high = np.percentile(scores, [25, 75])
    return float(low - reach * max(high - low, 1e-6))


class ClassFits(NamedTuple):
    """How well pictures fit the classes that there are.

    Attributes
    ----------
    best : numpy.ndarray
        Shape (N,), float32: similarity with the most similar class.
    fence : float
        What ``best`` usually exceeds.
    foreign : numpy.ndarray
        Shape (N,), bool: far less similar to the given class than usual, and not even usually similar to any other.
    """

    best: FloatArray
    fence: float
    foreign: np.typing.NDArray[np.bool_]


def fit_classes(texts: FloatArray, labels: Sequence[int]) -> ClassFits:
    """Tell pictures that belong to no class from those that only carry a wrong label, which fit another class well.

    Parameters
    ----------
    texts : numpy.ndarray
        Shape (N, C): cosine similarity with each class.
    labels : sequence of int
        Given label of each.
    """
    best = np.asarray(texts.max(axis=1, initial=-1.0), np.float32)
    own = texts[np.arange(len(texts)), np.asarray(labels, dtype=np.int64)]
    fence = lower_fence(best, _NEAR_FENCE)
    return ClassFits(best, fence, (own < lower_fence(own)) & (best < fence))


class LabelDoubts(NamedTuple):
    """Labels that may be wrong.

    Attributes
    ----------
    doubts : numpy.ndarray
        Shape (N,), float32 from -1 to 1: how much more neighbours and text believe in the proposed label than
        in the given one; above 0 only where both contradict the given one.
    proposed : numpy.ndarray
        Shape (N,), int64: the label that both together believe in most.
    """

    doubts: FloatArray
    proposed: IntArray


def doubt_labels(vectors: FloatArray, labels: Sequence[int], texts: FloatArray | None, count: int) -> LabelDoubts:
    """Weigh each given label against what neighbours are labelled and what the text encoder says.

    Parameters
    ----------
    vectors : numpy.ndarray
        Shape (N, D), float32 unit rows.
    labels : sequence of int
        Given label of each, from 0 to ``count`` - 1.
    texts : numpy.ndarray or None
        Shape (N, C): cosine similarity with each class; None leaves the judgement to the neighbours.
    count : int
        C, the number of classes.
    """
    if not len(vectors):
        return LabelDoubts(np.empty(0, np.float32), np.empty(0, np.int64))
    votes = neighbour_votes(vectors, labels, count)
    beliefs = votes if texts is None else softmax(texts, scale=_text_scale(texts))
    rows, given = np.arange(len(vectors)), np.asarray(labels, dtype=np.int64)
    together = np.sqrt(np.maximum(votes, 1e-6) * np.maximum(beliefs, 1e-6))
    proposed = together.argmax(axis=1).astype(np.int64)
    contradicted = (votes.argmax(axis=1) != given) & (beliefs.argmax(axis=1) != given) & (proposed != given)
    doubts = (together[rows, proposed] - together[rows, given]).round(6)
    return LabelDoubts(np.where(contradicted, doubts, np.minimum(-doubts, 0)).astype(np.float32), proposed)


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


def _text_scale(texts: FloatArray) -> float:
    """A scale at which the usual distance between a picture's best class and its mean class counts e**4 to 1."""
    gap = float(np.median(texts.max(axis=1) - texts.mean(axis=1)))
    return 4.0 / max(gap, 1e-3)
