"""Find pictures that resemble no other, and labels that both neighbours and texts contradict."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from datumaro_clip.curate.classify import DEFAULT_TEMPLATES, class_scores
from datumaro_clip.curate.columns import Columns, IntArray, Verdicts
from datumaro_clip.curate.margins import FEWEST_PAIRS, BoolArray, Scores, fit_mixture, margins
from datumaro_clip.curate.nearest import IN_TURN, nearest_rows
from datumaro_clip.curate.tools import Tool
from datumaro_clip.options import Choice, Cosine, Flag, Option, Share, Values, Whole
from datumaro_clip.similarity.scores import NUMPY_SIEVE, numpy_product, scores_at
from datumaro_clip.vectors import FloatArray

if TYPE_CHECKING:
    from datumaro_clip.curate.near.threads import Pool

# The largest share of a dataset that a foreign group may have and still be found: larger ones have enough neighbours
# among themselves.
_FOREIGN_SHARE = 0.02
_FEWEST_NEIGHBOURS = 10
_LABEL_NEIGHBOURS = 10
# Tukey's far fence (Exploratory Data Analysis, 1977): about 1 in 400,000 of a normal distribution lies below.
_FAR_FENCE = 3.0
# About 2 in 100 of a normal distribution lie below: unusual, where something else is wrong as well.
_NEAR_FENCE = 1.0
# Similarities that one worker holds at a time: 32 MiB of float32.
_BLOCK_SCORES = 1 << 23
# Captions support a label where they resemble it more than another by half of the usual difference.
_DEFENDED = 0.5

OPTIONS = (
    Option("what", Choice(names=("pictures", "labels", "both")), "both", "what to look for"),
    Option(
        "neighbours",
        Whole(at_least=1, metavar="K"),
        None,
        "compare each picture with its K-th nearest",
        unset="10, or 2 percent of more than 500 items",
    ),
    Option("min-similarity", Cosine(), None, "least similarity to that neighbour", unset="found from the data"),
    Option("min-doubt", Share(), 0.5, "doubt from which a label counts as wrong, from 0 to 1"),
    Option("no-texts", Flag(), False, "judge labels by the neighbours alone"),
)


def find_outliers(columns: Columns, options: Values) -> Verdicts:
    """Judge pictures by their neighbours, then labels and pictures by one another.

    A picture far less similar to its k-th neighbour than is usual is an outlier. Of the others, a picture has a wrong
    label if its nearest neighbours and the text encoder contradict the label and its captions do not support it. A
    picture that fits neither its label nor its captions (or, without captions, any other class) is an outlier too.
    """
    verdicts = Verdicts(columns.keys)
    belong = columns.has_vector
    if len(columns.vectors) and options.what != "labels":
        k = neighbour_count(len(columns.vectors), options.neighbours)
        with columns.crew() as pool:
            similar = isolation(columns.vectors, k, pool)
        limit = lower_fence(similar) if options.min_similarity is None else options.min_similarity
        verdicts.set(columns.rows, score=similar, threshold=limit)
        verdicts.measured(f"cosine similarity with nearest picture number {k}", similar, similar >= limit, limit, 1.0)
        outliers = columns.rows[similar < limit]
        verdicts.set(outliers, action="drop", reason="outlier")
        belong = belong & ~np.isin(np.arange(len(belong)), outliers)
    several = sum(len(item.class_counts()) > 1 for item in columns.items)
    if several and options.what != "pictures":
        verdicts.notes.append(
            f"{several} items carry labels of several classes, which are not judged: --objects judges each box among "
            "its like, clip_align --against boxes each box against its label"
        )
    judged = np.flatnonzero((belong & (columns.label >= 0))[columns.rows])
    if len(columns.classes) > 1 and len(judged) >= FEWEST_PAIRS:
        _judge_labels(columns, judged, options, verdicts)
    elif len(columns.classes) > 1 and len(judged):
        few = f"{len(judged)} labelled pictures are too few to judge labels (at least {FEWEST_PAIRS})"
        verdicts.notes.append(few)
    return verdicts


def _judge_labels(columns: Columns, judged: IntArray, options: Values, verdicts: Verdicts) -> None:
    """Find the labelled pictures (rows of the vectors) whose label is wrong, or that fit none of their texts."""
    names, rows = columns.classes, columns.rows[judged]
    labels, vectors = columns.label[rows], columns.vectors[judged]
    by_class, fits = None, None
    if not options.no_texts:
        classes = columns.class_vectors(names, DEFAULT_TEMPLATES)
        by_class = class_scores(vectors, classes)
        fits = fit_labels(by_class, labels)
    place = np.full(len(columns.vectors), -1)
    place[judged] = np.arange(len(judged))
    rows_of_texts = np.flatnonzero(place[columns.texts.owner] >= 0)
    captions, owner = columns.texts.vectors[rows_of_texts], place[columns.texts.owner[rows_of_texts]]

    foreign: set[int] = set()
    if by_class is not None and fits is not None:
        for n, limit, other in _foreign(vectors, fits, by_class, captions, owner):
            foreign.add(n)
            if options.what != "labels":
                scores = {"score": float(fits.own[n]), "threshold": limit}
                detail = f"fits neither its label ({names[labels[n]]}) nor {other}"
                verdicts.set([rows[n]], action="drop", reason="outlier", detail=detail, **scores)
    wrong: set[int] = set()
    if options.what != "pictures":
        with columns.crew() as pool:
            found = doubt_labels(vectors, labels, fits, len(names), pool)
        doubts, proposed = found.doubts, found.proposed
        if fits is not None and len(owner):
            leanings = caption_leanings(class_scores(captions, classes), owner, labels, proposed)
            doubts = np.where(leanings > _DEFENDED, 0, doubts)
        wrong = set(np.flatnonzero(doubts >= options.min_doubt).tolist()) - foreign
    for n in sorted(wrong):
        given, better = names[labels[n]], names[proposed[n]]
        verdicts.set(
            [rows[n]],
            action="drop",
            reason="wrong_label",
            score=doubts[n],
            threshold=options.min_doubt,
            label=better,
            detail=f"labelled {given}, more likely {better}",
            attributes={"clip_label": better},
        )
    if fits is not None:
        told_of = wrong if options.what == "labels" else wrong | foreign
        belongs = ~np.isin(np.arange(len(rows)), sorted(told_of))
        verdicts.measured("cosine similarity with the own label", fits.own, belongs, fits.fence, 1.0)


def _foreign(
    vectors: FloatArray, fits: LabelFits, by_class: FloatArray, captions: FloatArray, owner: IntArray
) -> Iterator[tuple[int, float, str]]:
    """Find pictures that fit neither their label nor their captions or any class: row, limit, what else was compared.

    Where no caption fits, a label that fits unusually badly is enough. Where one fits, the label is wrong, and not the
    picture.
    """
    captioned, unlike = np.zeros(len(vectors), np.bool_), np.zeros(len(vectors), np.bool_)
    if len(owner) >= FEWEST_PAIRS:
        captioned[owner] = True
        unlike = unlike_captions(vectors, captions, owner)
    classes = unlike_any_class(by_class) & ~captioned
    for unfit, limit, what in ((unlike, fits.fence, "its captions"), (classes, fits.threshold, "any other")):
        for n in np.flatnonzero(unfit & (fits.own < limit)).tolist():
            yield n, limit, what


TOOL = Tool(
    "clip_outliers",
    find_outliers,
    OPTIONS,
    "Finds pictures that resemble no others, and labels that both the nearest neighbours and the text encoder "
    "contradict, and proposes the label that fits better.\n\n"
    "'--action' says whether an item with a wrong label is dropped or marked; the report sorts them by doubt. A "
    "picture that fits neither its label nor its captions (without captions: no class at all) is an outlier too.",
    ("--action mark --report REPORT",),
    lambda values: "pictures" if values.no_texts else "captions",
    takes_objects=True,
    nothing="no outliers and no wrong labels found",
)


def neighbour_count(total: int, wanted: int | None = None) -> int:
    """Return which neighbour to compare with: by default the 10th, or the one at rank 2%; at most the last."""
    return max(0, min(wanted or max(_FEWEST_NEIGHBOURS, round(_FOREIGN_SHARE * total)), total - 1))


def isolation(vectors: FloatArray, k: int, pool: Pool = IN_TURN) -> FloatArray:
    """Return how similar each picture is to its k-th nearest neighbour (Ramaswamy et al., 2000).

    Parameters
    ----------
    vectors : numpy.ndarray
        Shape (N, D), float32 unit rows.
    k : int
        From 0 to N - 1.
    pool : Pool
        Multiplies the vectors.

    Returns
    -------
    numpy.ndarray
        Shape (N,), float32 cosine similarities; 1 where k is 0. The lowest ones fit least.
    """
    if k == 0:
        return np.ones(len(vectors), np.float32)
    rows = max(1, _BLOCK_SCORES // len(vectors))
    found = pool.map(partial(_kth_best, vectors, rows, k), range(0, len(vectors), rows))
    return np.concatenate(list(found))


def _kth_best(vectors: FloatArray, rows: int, k: int, start: int) -> FloatArray:
    """Return the exact score of the k-th nearest other row of each row of a block.

    A score that differs by more than twice the sieve's error from the k-th best one is certainly above or below it;
    only the others are computed exactly.
    """
    block, margin = vectors[start : start + rows], np.float32(2 * NUMPY_SIEVE.error(vectors.shape[1]))
    scores = numpy_product(block, vectors)
    kth = np.partition(scores, -(k + 1), axis=1)[:, -(k + 1), None]
    above = (scores > kth + margin).sum(axis=1)
    at, columns = np.nonzero(np.abs(scores - kth) <= margin)
    exact = scores_at(block, at, vectors, columns)
    order = np.lexsort((-exact, at))
    first = np.searchsorted(at, np.arange(len(block)))
    return np.asarray(exact[order[first + k - above]])


def lower_fence(scores: FloatArray | Scores, reach: float = _FAR_FENCE) -> float:
    """Return the lower quartile less ``reach`` interquartile ranges, below which scores are outliers."""
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
        Below it, a picture more likely belongs to another class than to its own.
    fence : float
        Similarities with the own class are usually higher; above ``threshold``, where most labels are right.
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


def fit_labels(texts: FloatArray, labels: IntArray) -> LabelFits:
    """Compare each picture's similarity with its own class with the similarities with other classes.

    Parameters
    ----------
    texts : numpy.ndarray
        Shape (N, C), N >= 20, C >= 2: cosine similarity with each class.
    labels : numpy.ndarray
        Shape (N,), int64: given label of each.
    """
    scores = texts.astype(np.float64)
    others = np.ones(scores.shape, np.bool_)
    others[np.arange(len(scores)), labels] = False
    own, rivals = scores[~others], np.where(others, scores, -np.inf)
    mixture = fit_mixture(own, scores[others])
    contradicted = mixture.wrong_odds(own) * (1 - mixture.wrong_odds(rivals.max(axis=1)))
    fence = lower_fence(own, _NEAR_FENCE)
    return LabelFits(own, mixture.even_odds(), fence, rivals.argmax(axis=1).astype(np.int64), contradicted)


def unlike_any_class(texts: FloatArray) -> BoolArray:
    """Find the pictures less similar to their most similar class than pictures usually are, shape (N,).

    A picture that only carries a wrong label fits some other class as well as usual.
    """
    best = texts.max(axis=1, initial=-1.0)
    unlike: BoolArray = best < lower_fence(best, _NEAR_FENCE)
    return unlike


def unlike_captions(images: FloatArray, texts: FloatArray, owner: IntArray) -> BoolArray:
    """Find the pictures that no caption fits, shape (N,): whose best caption fits far worse than best captions do.

    Parameters are those of :func:`~datumaro_clip.curate.margins.margins`; pictures without captions are not found.
    """
    best = np.full(len(images), -np.inf)
    np.maximum.at(best, owner, margins(images, texts, owner).own)
    captioned = np.isfinite(best)
    unlike: BoolArray = captioned & (best < lower_fence(best[captioned]))
    return unlike


def caption_leanings(captions: FloatArray, owner: IntArray, labels: IntArray, rivals: IntArray) -> Scores:
    """Return how much more pictures' captions resemble the given label than its rival, shape (N,), float64.

    The unit is the median difference; 0 for a picture without captions. Below 0 the captions support the rival.

    Parameters
    ----------
    captions : numpy.ndarray
        Shape (M, C): cosine similarity of each caption with each class.
    owner : numpy.ndarray
        Shape (M,), int64: the picture that each caption belongs to.
    labels : numpy.ndarray
        Shape (N,), int64: given label of each of the N pictures.
    rivals : numpy.ndarray
        Shape (N,), int64: the label that would replace it.
    """
    rows, count = np.arange(len(owner)), len(labels)
    differences = captions[rows, labels[owner]].astype(np.float64) - captions[rows, rivals[owner]]
    captioned = np.bincount(owner, minlength=count)
    leanings: Scores = np.bincount(owner, weights=differences, minlength=count) / np.maximum(captioned, 1)
    usual = float(np.median(leanings[captioned > 0])) if len(owner) else 1.0
    return leanings / max(usual, 1e-3)


class LabelDoubts(NamedTuple):
    """Labels that may be wrong.

    Attributes
    ----------
    doubts : numpy.ndarray
        Shape (N,), float32 from 0 to 1: the probability, by the text encoder, that another class fits the picture and
        the given one does not, times the share of the neighbours with another label. Without texts: the share of the
        neighbours with the proposed label less the share with the given one; at least 0.
    proposed : numpy.ndarray
        Shape (N,), int64: the other label that fits best by the text encoder; without texts, the neighbours' most
        frequent other label.
    """

    doubts: FloatArray
    proposed: IntArray


def doubt_labels(
    vectors: FloatArray,
    labels: IntArray,
    fits: LabelFits | None,
    count: int,
    pool: Pool = IN_TURN,
) -> LabelDoubts:
    """Compare each given label with the neighbours' labels and with the text encoder's scores.

    Parameters
    ----------
    vectors : numpy.ndarray
        Shape (N, D), float32 unit rows.
    labels : numpy.ndarray
        Shape (N,), int64: given label of each, from 0 to ``count`` - 1.
    fits : LabelFits or None
        By the text encoder, as :func:`fit_labels` returns them; with None, the neighbours alone decide.
    count : int
        C, the number of classes.
    pool : Pool
        Finds the neighbours.
    """
    rows = np.arange(len(vectors))
    votes = neighbour_votes(vectors, labels, count, pool)
    own = votes[rows, labels]
    if fits is not None:
        return LabelDoubts((fits.contradicted * (1 - own)).round(6).astype(np.float32), fits.rival)
    votes[rows, labels] = -1.0
    proposed = votes.argmax(axis=1).astype(np.int64)
    return LabelDoubts(np.maximum(votes[rows, proposed] - own, 0).round(6), proposed)


def neighbour_votes(vectors: FloatArray, labels: IntArray, count: int, pool: Pool = IN_TURN) -> FloatArray:
    """Return the share of each label among the ten nearest other pictures, shape (N, C), weighted by similarity."""
    votes = np.zeros((len(vectors), count), np.float32)
    k = min(_LABEL_NEIGHBOURS, len(vectors) - 1)
    if k < 1:
        return votes
    indices, scores = nearest_rows(pool, vectors, vectors, k + 1)
    for row, (neighbours, similar) in enumerate(zip(indices, scores, strict=True)):
        others = neighbours != row
        np.add.at(votes[row], labels[neighbours[others][:k]], np.maximum(similar[others][:k], 1e-3))
    shares: FloatArray = votes / votes.sum(axis=1, keepdims=True)
    return shares
