"""How far the vectors of one precision of a model are from those of another: arrays in, numbers out."""

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

#: Names of all figures, in the order in which :func:`compare` gives those that the samples allow.
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
    """Where decisions are taken: keep a caption whose cosine similarity to its picture is at least ``alignment``, and
    count two pictures as duplicates from ``duplicate`` on."""

    alignment: float = 0.2
    duplicate: float = 0.95


@dataclass(frozen=True)
class GroundTruth:
    """What belongs together.

    Attributes
    ----------
    owners : numpy.ndarray
        Shape (M,), int64: the picture that each caption is of.
    labels : numpy.ndarray
        Shape (N,), int64: each picture's class, -1 where it has none.
    """

    owners: IntArray
    labels: IntArray


@dataclass(frozen=True)
class Vectors:
    """Everything that one encoder made of the samples, float32 unit rows.

    Attributes
    ----------
    images : numpy.ndarray
        Shape (N, D), pictures.
    captions : numpy.ndarray
        Shape (M, D).
    prompts : numpy.ndarray
        Shape (C, D), one a class.
    """

    images: FloatArray
    captions: FloatArray
    prompts: FloatArray


@dataclass(frozen=True)
class Metric:
    """One figure; ``reference`` is the reference's own, where there is such a thing."""

    value: float
    reference: float | None = None


def compare(reference: Vectors, candidate: Vectors, truth: GroundTruth, thresholds: Thresholds) -> dict[str, Metric]:
    """All figures that the samples allow.

    Returns
    -------
    dict of str to Metric
        ``{min,p1,mean}_cosine`` of pictures, ``text_{min,p1,mean}_cosine`` of captions, ``overlap@10``;
        ``image_to_text_recall@k``, ``text_to_image_recall@k`` and ``alignment_changed`` where there are captions;
        ``zero_shot_top1`` where there are labels; ``duplicates_changed``.
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
    """Row by row: least, first percentile, mean."""
    cosines = np.einsum("nd,nd->n", reference, candidate)
    return {
        f"{prefix}min_cosine": Metric(float(cosines.min())),
        f"{prefix}p1_cosine": Metric(float(np.percentile(cosines, 1))),
        f"{prefix}mean_cosine": Metric(float(cosines.mean(dtype=np.float64))),
    }


def _nearest_others(rows: FloatArray, k: int) -> list[list[int]]:
    """The k rows most like each row, itself left out."""
    found, _ = top_k(rows, rows, k + 1)
    return [[other for other in others if other != row][:k] for row, others in enumerate(found.tolist())]


def _hits(vectors: Vectors, owners: IntArray) -> dict[str, BoolArray]:
    """Which of the best for each picture with captions, and for each caption, are its own, the best first."""
    pictures, most = np.unique(owners), max(RECALLS)
    captions, _ = top_k(vectors.images[pictures], vectors.captions, most)
    images, _ = top_k(vectors.captions, vectors.images, most)
    return dict(zip(WAYS, (owners[captions] == pictures[:, None], images == owners[:, None]), strict=True))


def _recall(hits: BoolArray, k: int) -> float:
    """Share of the queries with a hit among the k best."""
    return float(np.mean(np.any(hits[:, :k], axis=1)))


def _top1(vectors: Vectors, labels: IntArray) -> float:
    """Share of the pictures with a label whose nearest prompt is their own class's."""
    labelled = labels >= 0
    best = np.argmax(vectors.images[labelled] @ vectors.prompts.T, axis=1)
    return float(np.mean(best == labels[labelled]))


def owners_of(counts: Sequence[int]) -> IntArray:
    """Which picture each caption is of, from the number of captions of each."""
    return np.repeat(np.arange(len(counts), dtype=np.int64), counts)
