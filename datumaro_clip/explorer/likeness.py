"""How subsets overlap, and how well some items represent all: by each item's most similar one on the other side."""

from __future__ import annotations

from typing import Any

import numpy as np

from datumaro_clip.index.rows import VectorRows
from datumaro_clip.similarity.scores import FloatArray, IndexArray

# Items of a subset, and of all, that are compared; more would change the figures by a percent.
_SUBSET_PROBES, _PROBES = 500, 2000
# Cosine similarity from which an item counts as having a copy in the other subset.
_ALIKE = 0.95
# Subsets that are compared: the largest.
_MOST_SUBSETS = 8
_BINS = 40
# Vectors compared at a time.
_BLOCK = 4096


def overlap(vectors: VectorRows, subset_of: IndexArray) -> dict[str, Any]:
    """Compare subsets by each item's most similar other item in each of them.

    Parameters
    ----------
    vectors : VectorRows
        (N, D) unit rows.
    subset_of : numpy.ndarray
        (N,) int64, the code of each row's subset.

    Returns
    -------
    dict
        ``subsets``, codes of the S largest subsets, the largest first; ``probes``, how many of each one's items were
        compared, drawn evenly; ``nearest`` (S × S), the median over a subset's probes of the greatest cosine similarity
        with any other item of each subset, None where there is none; ``alike`` (S × S), the share of probes for which
        it is at least ``alike_from``.
    """
    sizes = np.bincount(subset_of)
    subsets = [int(code) for code in np.argsort(-sizes, kind="stable")[:_MOST_SUBSETS] if sizes[code]]
    drawn = [_evenly(np.flatnonzero(subset_of == code), _SUBSET_PROBES) for code in subsets]
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
    ends = np.cumsum([len(rows) for rows in drawn])[:-1]
    parts = np.split(best, ends) if subsets else []
    return {
        "subsets": subsets,
        "probes": [len(rows) for rows in drawn],
        "alike_from": _ALIKE,
        "nearest": [[_median(column) for column in part.T] for part in parts],
        "alike": [(part >= _ALIKE).mean(axis=0).tolist() for part in parts],
    }


def coverage(vectors: VectorRows, chosen: IndexArray) -> dict[str, Any]:
    """Return how similar all rows are to some of them, and to as many drawn at random (seed 0).

    Parameters
    ----------
    vectors : VectorRows
        (N, D) unit rows.
    chosen : numpy.ndarray
        (n,) int64 rows, at least one.

    Returns
    -------
    dict
        ``probes``, how many of the N rows were compared, drawn evenly; ``range`` of the histograms; for ``chosen`` and
        ``random`` rows, over the probes, of the greatest cosine similarity: ``mean``, ``low`` (the 5th percentile),
        ``bins``.
    """
    probes = np.asarray(vectors[_evenly(np.arange(len(vectors)), _PROBES)], np.float32)
    random = np.sort(np.random.default_rng(0).choice(len(vectors), len(chosen), replace=False))
    found = {"chosen": _greatest(probes, vectors, np.sort(chosen)), "random": _greatest(probes, vectors, random)}
    low, high = min(float(each.min()) for each in found.values()), 1.0
    told: dict[str, Any] = {"probes": len(probes), "range": [low, high]}
    for name, each in found.items():
        bins = np.histogram(np.clip(each, low, high), _BINS, (low, max(high, low + 1e-6)))[0]
        told[name] = {"mean": float(each.mean()), "low": float(np.quantile(each, 0.05)), "bins": bins.tolist()}
    return told


def _greatest(probes: FloatArray, vectors: VectorRows, rows: IndexArray) -> FloatArray:
    """Return each probe's greatest cosine similarity with any of the rows, (P,)."""
    best = np.full(len(probes), -np.inf, np.float32)
    for start in range(0, len(rows), _BLOCK):
        block = np.asarray(vectors[rows[start : start + _BLOCK]], np.float32)
        np.maximum(best, (probes @ block.T).max(axis=1), out=best)
    return best


def _evenly(rows: IndexArray, most: int) -> IndexArray:
    """Draw at most so many rows, evenly spaced."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64))]


def _median(values: FloatArray) -> float | None:
    """Return the median of the finite values; None where there are none."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None
