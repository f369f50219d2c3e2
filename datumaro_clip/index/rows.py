"""Results of a search, the vectors of a store's segments as one matrix, and exact scores of candidate rows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import numpy as np

from datumaro_clip.similarity import exact_scores
from datumaro_clip.similarity.scores import FloatArray, IndexArray, Matrix

_TIMED: ContextVar[list[float] | None] = ContextVar("rescoring", default=None)


class Found(NamedTuple):
    """The most similar rows of each query.

    Attributes
    ----------
    rows : numpy.ndarray
        (Q, k) int64, by descending score, then ascending row.
    scores : numpy.ndarray
        (Q, k) float32: :func:`~datumaro_clip.similarity.exact_scores`.
    """

    rows: IndexArray
    scores: FloatArray

    @classmethod
    def none(cls, queries: int) -> Found:
        """Return the result of a search that matches nothing."""
        return cls(np.zeros((queries, 0), np.int64), np.zeros((queries, 0), np.float32))


class VectorRows:
    """The live vectors (N, D) of a store's segments, read straight from the memory-mapped arrays.

    Parameters
    ----------
    parts : sequence of (numpy.ndarray, numpy.ndarray or None)
        (n, D) memory-mapped vectors of each part, and the ascending indices of the live ones; None for all.
    dimension : int
        D.
    dtype : numpy dtype string
        Of all vectors.
    """

    ndim = 2

    def __init__(self, parts: Sequence[tuple[Matrix, IndexArray | None]], dimension: int, dtype: str) -> None:
        self._parts = parts
        self._starts = np.cumsum([0, *(len(vectors) if live is None else len(live) for vectors, live in parts)])
        self.shape = (int(self._starts[-1]), dimension)
        self.dtype = np.dtype(dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | IndexArray, /) -> Matrix:
        """Return the rows of a slice, or of an array of indices."""
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        gathered = np.empty((len(rows), self.shape[1]), self.dtype)
        part_of = np.searchsorted(self._starts, rows, side="right") - 1
        for index in np.unique(part_of):
            at = np.flatnonzero(part_of == index)
            vectors, live = self._parts[index]
            local = rows[at] - self._starts[index]
            gathered[at] = vectors[local if live is None else live[local]]
        return gathered


def rescored(query: FloatArray, rows: IndexArray, vectors: VectorRows) -> FloatArray:
    """Return the exact scores of candidate rows, and record the time that it takes for :func:`timed_rescoring`."""
    start = time.perf_counter()
    scores = exact_scores(query, vectors[rows])
    timed = _TIMED.get()
    if timed is not None:
        timed.append(time.perf_counter() - start)
    return scores


@contextmanager
def timed_rescoring() -> Iterator[list[float]]:
    """Collect the seconds of each exact scoring of candidates in this thread."""
    seconds: list[float] = []
    token = _TIMED.set(seconds)
    try:
        yield seconds
    finally:
        _TIMED.reset(token)


def best_of(queries: Matrix, proposed: Sequence[IndexArray], vectors: VectorRows, k: int) -> Found:
    """Return the k best candidates of each query by their exact scores.

    ``proposed`` are the candidate rows of each query, at least k, all different.
    """
    found = []
    for query, rows in zip(queries, proposed, strict=True):
        scores = rescored(query, rows, vectors)
        order = np.lexsort((rows, -scores))[:k]
        found.append((rows[order], scores[order]))
    return Found(*map(np.stack, zip(*found, strict=True)))
