"""Finds the k rows most similar to each query, exactly."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from datumaro_clip.errors import InvalidVectorError, OptionError
from datumaro_clip.similarity.scores import (
    LONGEST_ROW,
    FloatArray,
    IndexArray,
    Matrix,
    MatrixLike,
    Sieve,
    as_float32,
    blocks_of,
    require_matrix,
    scores_at,
    sieve_for,
)
from datumaro_clip.similarity.threads import in_threads
from datumaro_clip.system.machine import available_processors

#: Queries answered in one pass over the matrix.
QUERY_ROWS = 256
#: Dot products held at a time: 2 MiB of float32, which fit the processor's cache.
BLOCK_SCORES = 1 << 19
#: Most rows of the matrix multiplied at a time: enough that the work for each block as a whole does not count.
BLOCK_ROWS = 1 << 11
#: Fewest rows for a thread.
PART_ROWS = 1 << 15


def top_k(
    queries: Matrix, matrix: MatrixLike, k: int, *, sieve: Sieve | None = None, threads: int | None = None
) -> tuple[IndexArray, FloatArray]:
    """Find the rows of a matrix that are most similar to each query.

    Memory does not grow with N: the matrix is read block by block, once for each 256 queries, by a thread for each
    processor.

    Parameters
    ----------
    queries : numpy.ndarray
        Shape (Q, D), float32 or float16, unit rows.
    matrix : numpy.ndarray
        Shape (N, D), float32 or float16, unit rows; a memory map, or a :class:`~.scores.LazyMatrix`, is read block by
        block.
    k : int
        Rows wanted for each query; all N if k is larger.
    sieve : Sieve, optional
        Multiplies, by default the fastest one; changes the time, never the answer.
    threads : int, optional
        Most threads; one for each processor if omitted.

    Returns
    -------
    indices : numpy.ndarray
        Shape (Q, min(k, N)), int64, by descending score, then ascending index.
    scores : numpy.ndarray
        Shape (Q, min(k, N)), float32: :func:`~datumaro_clip.similarity.exact_scores`.

    Raises
    ------
    InvalidVectorError
        If shapes or dtypes do not fit, or a row is not finite.
    OptionError
        If k is negative.
    """
    require_matrix(queries, "queries")
    require_matrix(matrix, "matrix")
    if queries.shape[1] != matrix.shape[1]:
        raise InvalidVectorError(f"queries of shape {queries.shape} do not fit a matrix of shape {matrix.shape}")
    if k < 0:
        raise OptionError(f"k is {k}; it must not be negative")
    k = min(k, len(matrix))
    threads = threads or available_processors()
    chunks = _best(queries, matrix, k, sieve or sieve_for(queries, matrix), threads) if k else []
    indices = np.concatenate([np.empty((0, k), np.int64), *(found.indices.reshape(-1, k) for found in chunks)])
    scores = np.concatenate([np.empty((0, k), np.float32), *(found.scores.reshape(-1, k) for found in chunks)])
    return indices.reshape(len(queries), k), scores.reshape(len(queries), k)


def _best(queries: Matrix, matrix: MatrixLike, k: int, sieve: Sieve, threads: int) -> list[_Best]:
    """Find the k best rows, for 256 queries at a time; the threads share blocks of queries and parts of the matrix."""
    parts = _parts(len(matrix), threads)
    tasks = [(chunk, part) for _, chunk in blocks_of(queries, QUERY_ROWS) for part in parts]
    found = in_threads(lambda task: _best_of_part(*task, matrix, k, sieve), tasks, threads)
    return [_merged(found[start : start + len(parts)]) for start in range(0, len(found), len(parts))]


def _merged(found: list[_Best]) -> _Best:
    """Merge the best rows of several parts of the matrix, for the same queries."""
    best, *others = found
    for other in others:
        best.take(other.rows, other.indices, other.scores)
    return best


def _parts(rows: int, threads: int) -> list[range]:
    """Split the rows into a part for each thread, or fewer: a small part is not worth a thread."""
    count = max(1, min(threads, rows // PART_ROWS))
    limits = [rows * part // count for part in range(count + 1)]
    return [range(*part) for part in pairwise(limits)]


def _best_of_part(queries: Matrix, part: range, matrix: MatrixLike, k: int, sieve: Sieve) -> _Best:
    """Find the k best of some consecutive rows."""
    best = _Best(queries, matrix, k, sieve)
    # A block needs k rows to have a k-th best score.
    rows = max(k, min(BLOCK_ROWS, BLOCK_SCORES // len(queries)))
    multiplier = sieve.rounded(queries)
    for start, block in blocks_of(matrix, rows, part):
        best.offer(sieve.product(multiplier, block), start)
    return best


class _Best:
    """The k best rows so far for each query, in flat arrays: by query, descending score, ascending index."""

    def __init__(self, queries: Matrix, matrix: MatrixLike, k: int, sieve: Sieve) -> None:
        self.queries, self.matrix, self.k = queries, matrix, k
        self.margin = 2 * sieve.errors(queries)
        self.ceiling = LONGEST_ROW * np.linalg.norm(as_float32(queries), axis=1)
        self.floor = np.full(len(queries), -np.inf, np.float32)
        self.rows = self.indices = np.empty(0, np.int64)
        self.scores = np.empty(0, np.float32)

    def offer(self, scores: FloatArray, start: int) -> None:
        """Take the rows that may be among the k best, by the approximate scores (Q, B) of the rows from ``start``."""
        peaks = scores.max(axis=1)
        if not (peaks <= self.ceiling).all():
            raise InvalidVectorError(f"a row among {start} to {start + scores.shape[1] - 1} is not a finite unit row")
        hot = np.flatnonzero(peaks >= self.floor - self.margin)
        if len(hot):
            rows, columns = self._candidates(scores[hot], hot)
            self.take(rows, columns + start, scores_at(self.queries, rows, self.matrix, columns + start))

    def _candidates(self, scores: FloatArray, hot: IndexArray) -> tuple[IndexArray, IndexArray]:
        """Return the queries and columns of the pairs that may be among the k best, for the queries ``hot``."""
        floor = self.floor[hot]
        if scores.shape[1] > self.k:
            floor = np.maximum(floor, np.partition(scores, -self.k, axis=1)[:, -self.k])
        at, columns = np.nonzero(scores >= (floor - self.margin[hot])[:, None])
        return hot[at], columns

    def take(self, rows: IndexArray, indices: IndexArray, scores: FloatArray) -> None:
        """Add exactly scored rows ``indices`` for the queries ``rows``, and keep the k best of each query."""
        rows = np.concatenate([self.rows, rows])
        indices = np.concatenate([self.indices, indices])
        scores = np.concatenate([self.scores, scores])
        order = np.lexsort((indices, -scores, rows))
        first = np.searchsorted(rows[order], np.arange(len(self.floor)))
        rank = np.arange(len(order)) - first[rows[order]]
        order = order[rank < self.k]
        self.rows, self.indices, self.scores = rows[order], indices[order], scores[order]
        last = order[np.flatnonzero(rank[rank < self.k] == self.k - 1)]
        self.floor[rows[last]] = scores[last]
