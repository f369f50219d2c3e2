"""How subsets overlap, and how well some items cover all: by each item's most similar one on the other side."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from datumaro_clip.index.rows import VectorRows
from datumaro_clip.similarity.scores import FloatArray, IndexArray

#: Items of a subset, and of all, whose most similar ones are looked for; more would change the figures by a percent.
PROBES = 500, 2000
#: Cosine similarity from which an item counts as having its like on the other side.
ALIKE = 0.95
#: Subsets compared at most: the largest.
MOST_SUBSETS = 8
BINS = 40
# Vectors compared at a time.
_BLOCK = 4096


class Overlap(NamedTuple):
    """What subsets have in common.

    Attributes
    ----------
    subsets : list of int
        Codes of the S subsets compared, the largest first.
    probes : list of int
        Items of each that were looked at, drawn evenly.
    nearest : numpy.ndarray
        Shape (S, S): median over a subset's probes of the greatest cosine similarity with any other item of each
        subset; NaN where there is none.
    alike : numpy.ndarray
        Shape (S, S): the share of probes for which it is at least :data:`ALIKE`.
    """

    subsets: list[int]
    probes: list[int]
    nearest: npt.NDArray[np.float64]
    alike: npt.NDArray[np.float64]


def overlap(vectors: VectorRows, subset_of: IndexArray) -> Overlap:
    """Compare subsets.

    Parameters
    ----------
    vectors : VectorRows
        (N, D) unit rows.
    subset_of : numpy.ndarray
        (N,) int64, the code of each row's subset.
    """
    sizes = np.bincount(subset_of)
    subsets = [int(code) for code in np.argsort(-sizes, kind="stable")[:MOST_SUBSETS] if sizes[code]]
    drawn = [_evenly(np.flatnonzero(subset_of == code), PROBES[0]) for code in subsets]
    probes = np.concatenate([np.zeros(0, np.int64), *drawn])
    queries = np.asarray(vectors[probes], np.float32)
    best = np.full((len(probes), len(subsets)), -np.inf, np.float32)
    for start in range(0, len(vectors), _BLOCK):
        block = np.asarray(vectors[start : start + _BLOCK], np.float32)
        scores = queries @ block.T
        own = np.flatnonzero((probes >= start) & (probes < start + len(block)))
        scores[own, probes[own] - start] = -np.inf
        for place, code in enumerate(subsets):
            columns = np.flatnonzero(subset_of[start : start + len(block)] == code)
            if len(columns):
                np.maximum(best[:, place], scores[:, columns].max(axis=1), out=best[:, place])
    best[np.isinf(best)] = np.nan
    ends = np.cumsum([len(rows) for rows in drawn])[:-1]
    parts = np.split(best, ends) if subsets else []
    nearest = np.array([[_median(column) for column in part.T] for part in parts])
    alike = np.array([(part >= ALIKE).mean(axis=0) for part in parts])
    return Overlap(subsets, [len(rows) for rows in drawn], nearest, alike)


def coverage(vectors: VectorRows, chosen: IndexArray) -> dict[str, Any]:
    """How similar some rows, and as many drawn at random (seed 0), are to all.

    Parameters
    ----------
    vectors : VectorRows
        (N, D) unit rows.
    chosen : numpy.ndarray
        (n,) int64 rows, at least one.

    Returns
    -------
    dict
        ``probes``, how many of the N rows were looked at, drawn evenly; ``range`` of the histograms; for ``chosen`` and
        ``random`` rows, over the probes, of the greatest cosine similarity: ``mean``, ``low`` (the 5th percentile),
        ``bins``.
    """
    probes = np.asarray(vectors[_evenly(np.arange(len(vectors)), PROBES[1])], np.float32)
    random = np.sort(np.random.default_rng(0).choice(len(vectors), len(chosen), replace=False))
    found = {"chosen": _greatest(probes, vectors, np.sort(chosen)), "random": _greatest(probes, vectors, random)}
    low, high = min(float(each.min()) for each in found.values()), 1.0
    told: dict[str, Any] = {"probes": len(probes), "range": [low, high]}
    for name, each in found.items():
        bins = np.histogram(np.clip(each, low, high), BINS, (low, max(high, low + 1e-6)))[0]
        told[name] = {"mean": float(each.mean()), "low": float(np.quantile(each, 0.05)), "bins": bins.tolist()}
    return told


def _greatest(probes: FloatArray, vectors: VectorRows, rows: IndexArray) -> FloatArray:
    """Each probe's greatest cosine similarity with any of the rows, (P,)."""
    best = np.full(len(probes), -np.inf, np.float32)
    for start in range(0, len(rows), _BLOCK):
        block = np.asarray(vectors[rows[start : start + _BLOCK]], np.float32)
        np.maximum(best, (probes @ block.T).max(axis=1), out=best)
    return best


def _evenly(rows: IndexArray, most: int) -> IndexArray:
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64))] if len(rows) else rows


def _median(values: FloatArray) -> float:
    return float("nan") if np.isnan(values).all() else float(np.nanmedian(values))
