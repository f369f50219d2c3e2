"""Rows that a search finds, and the vectors that decide which."""

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
        """What is found among no rows."""
        return cls(np.zeros((queries, 0), np.int64), np.zeros((queries, 0), np.float32))

    @classmethod
    def stacked(cls, parts: Sequence[tuple[IndexArray, FloatArray]]) -> Found:
        """What was found for each query by itself: rows and scores, as many of each."""
        return cls(np.stack([rows for rows, _ in parts]), np.stack([scores for _, scores in parts]))

    @classmethod
    def joined(cls, parts: Sequence[Found], k: int) -> Found:
        """What was found for some queries after another."""
        rows = np.concatenate([np.zeros((0, k), np.int64), *(part.rows for part in parts)])
        return cls(rows, np.concatenate([np.zeros((0, k), np.float32), *(part.scores for part in parts)]))


class VectorRows:
    """Live vectors (N, D) of a store's segments, read straight from the arrays that hold them.

    Parameters
    ----------
    parts : sequence of (numpy.ndarray, numpy.ndarray or None)
        (n, D) vectors of each part, mapped, and which of them are live, ascending; None for all.
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
        """Rows ``start`` to ``stop`` of a slice without a step, or those of an array of indices."""
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
    """The exact scores of rows that something quicker has proposed."""
    start = time.perf_counter()
    scores = exact_scores(query, vectors[rows])
    timed = _TIMED.get()
    if timed is not None:
        timed.append(time.perf_counter() - start)
    return scores


@contextmanager
def timed_rescoring() -> Iterator[list[float]]:
    """The seconds of each exact scoring of proposals, as the searches of this thread do them."""
    seconds: list[float] = []
    token = _TIMED.set(seconds)
    try:
        yield seconds
    finally:
        _TIMED.reset(token)


def best_of(queries: Matrix, proposed: Sequence[IndexArray], vectors: VectorRows, k: int) -> Found:
    """The k best of the rows that are proposed for each query, at least k different ones, by their exact scores."""
    found = []
    for query, rows in zip(queries, proposed, strict=True):
        scores = rescored(query, rows, vectors)
        order = np.lexsort((rows, -scores))[:k]
        found.append((rows[order], scores[order]))
    return Found.stacked(found)
