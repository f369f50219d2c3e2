"""Measure how much the vectors of one precision of a model differ from those of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datumaro_clip.similarity import top_k
from datumaro_clip.vectors import FloatArray

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

NEIGHBOURS = 10
RECALLS = (1, 5, 10)
WAYS = ("image_to_text", "text_to_image")

#: Names of all figures, in the order in which :func:`compare` returns them.
METRICS = (
    *(f"{part}_cosine" for part in ("min", "p1", "mean")),
    f"overlap@{NEIGHBOURS}",
    "duplicates_changed",
    *(f"text_{part}_cosine" for part in ("min", "p1", "mean")),
    *(f"{way}_recall@{k}" for k in RECALLS for way in WAYS),
    "alignment_changed",
    "zero_shot_top1",
)


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of cosine similarity: a caption is kept from ``alignment`` on, two pictures are duplicates from
    ``duplicate`` on."""

    alignment: float = 0.2
    duplicate: float = 0.95


@dataclass(frozen=True)
class GroundTruth:
    """Which captions and classes belong to which pictures.

    Attributes
    ----------
    owners : numpy.ndarray
        Shape (M,), int64: the picture of each caption.
    labels : numpy.ndarray
        Shape (N,), int64: the class of each picture, -1 if it has none.
    """

    owners: IntArray
    labels: IntArray


@dataclass(frozen=True)
class Vectors:
    """The vectors of one encoder, float32 unit rows.

    Attributes
    ----------
    images : numpy.ndarray
        Shape (N, D), one for each picture.
    captions : numpy.ndarray
        Shape (M, D), one for each caption.
    prompts : numpy.ndarray
        Shape (C, D), one for each class.
    """

    images: FloatArray
    captions: FloatArray
    prompts: FloatArray


@dataclass(frozen=True)
class Metric:
    """One figure; ``reference`` is the reference's own figure, if it has one."""

    value: float
    reference: float | None = None


def compare(reference: Vectors, candidate: Vectors, truth: GroundTruth, thresholds: Thresholds) -> dict[str, Metric]:
    """Compute all figures that the samples allow.

    Returns
    -------
    dict of str to Metric
        ``{min,p1,mean}_cosine`` of pictures, and ``duplicates_changed``; ``overlap@10`` with two or more pictures; with
        captions, ``text_{min,p1,mean}_cosine``, ``image_to_text_recall@k``, ``text_to_image_recall@k`` and
        ``alignment_changed``; with labels, ``zero_shot_top1``.
    """
    both = (reference, candidate)
    figures = _cosines(reference.images, candidate.images, "")
    if k := min(NEIGHBOURS, len(reference.images) - 1):
        nearest = zip(*(_nearest_others(vectors.images, k) for vectors in both), strict=True)
        shares = [len(set(ours) & set(theirs)) / k for ours, theirs in nearest]
        figures[f"overlap@{NEIGHBOURS}"] = Metric(float(np.mean(shares)))
    alike = [np.triu(vectors.images @ vectors.images.T >= thresholds.duplicate, 1) for vectors in both]
    figures["duplicates_changed"] = Metric(int(np.count_nonzero(alike[0] != alike[1])))
    if len(owners := truth.owners):
        figures |= _cosines(reference.captions, candidate.captions, "text_")
        expected, found = (_hits(vectors, owners) for vectors in both)
        for k in RECALLS:
            for way in WAYS:
                figures[f"{way}_recall@{k}"] = Metric(_recall(found[way], k), _recall(expected[way], k))
        scores = [np.einsum("nd,nd->n", vectors.images[owners], vectors.captions) for vectors in both]
        kept = [each >= thresholds.alignment for each in scores]
        figures["alignment_changed"] = Metric(int(np.count_nonzero(kept[0] != kept[1])))
    if len(reference.prompts) and np.any(truth.labels >= 0):
        figures["zero_shot_top1"] = Metric(_top1(candidate, truth.labels), _top1(reference, truth.labels))
    return figures


def _cosines(reference: FloatArray, candidate: FloatArray, prefix: str) -> dict[str, Metric]:
    """Return least, first percentile and mean of the cosine similarities of corresponding rows."""
    cosines = np.einsum("nd,nd->n", reference, candidate)
    return {
        f"{prefix}min_cosine": Metric(float(cosines.min())),
        f"{prefix}p1_cosine": Metric(float(np.percentile(cosines, 1))),
        f"{prefix}mean_cosine": Metric(float(cosines.mean(dtype=np.float64))),
    }


def _nearest_others(rows: FloatArray, k: int) -> list[list[int]]:
    """Return the k rows most similar to each row, except itself."""
    found, _ = top_k(rows, rows, k + 1)
    return [[other for other in others if other != row][:k] for row, others in enumerate(found.tolist())]


def _hits(vectors: Vectors, owners: IntArray) -> dict[str, BoolArray]:
    """Return which of the best matches of each picture with captions, and of each caption, are right, best first."""
    pictures, most = np.unique(owners), max(RECALLS)
    captions, _ = top_k(vectors.images[pictures], vectors.captions, most)
    images, _ = top_k(vectors.captions, vectors.images, most)
    return dict(zip(WAYS, (owners[captions] == pictures[:, None], images == owners[:, None]), strict=True))


def _recall(hits: BoolArray, k: int) -> float:
    """Return the share of queries with a hit among the k best."""
    return float(np.mean(np.any(hits[:, :k], axis=1)))


def _top1(vectors: Vectors, labels: IntArray) -> float:
    """Return the share of labelled pictures whose nearest prompt is that of their class."""
    labelled = labels >= 0
    best = np.argmax(vectors.images[labelled] @ vectors.prompts.T, axis=1)
    return float(np.mean(best == labels[labelled]))


def owners_of(counts: Sequence[int]) -> IntArray:
    """Return the picture of each caption, given the number of captions of each picture."""
    return np.repeat(np.arange(len(counts), dtype=np.int64), counts)
