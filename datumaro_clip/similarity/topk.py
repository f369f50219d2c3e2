"""The k rows most similar to each query, exactly."""

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
#: Dot products held at a time: 2 MiB of float32, which caches hold.
BLOCK_SCORES = 1 << 19
#: Rows of the matrix multiplied at a time, at most; what is done once for each block then costs little.
BLOCK_ROWS = 1 << 11
#: Rows that a thread of their own is worth.
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
        Shape (N, D), float32 or float16, unit rows; a memory map, or rows that are read when asked for, are read
        as it goes.
    k : int
        Rows wanted for each query; all N where k is larger.
    sieve : Sieve, optional
        Who multiplies, by default whoever is fastest; changes the time, never the answer.
    threads : int, optional
        At most; one a processor where omitted.

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
    _require_fitting(queries, matrix, k)
    k = min(k, len(matrix))
    threads = threads or available_processors()
    chunks = _best(queries, matrix, k, sieve or sieve_for(queries, matrix), threads) if k else []
    indices = np.concatenate([np.empty((0, k), np.int64), *(found.indices.reshape(-1, k) for found in chunks)])
    scores = np.concatenate([np.empty((0, k), np.float32), *(found.scores.reshape(-1, k) for found in chunks)])
    return indices.reshape(len(queries), k), scores.reshape(len(queries), k)


def _require_fitting(queries: Matrix, matrix: MatrixLike, k: int) -> None:
    """Raise unless the two matrices and ``k`` make sense together."""
    require_matrix(queries, "queries")
    require_matrix(matrix, "matrix")
    if queries.shape[1] != matrix.shape[1]:
        raise InvalidVectorError(f"queries of shape {queries.shape} do not fit a matrix of shape {matrix.shape}")
    if k < 0:
        raise OptionError(f"k is {k}; it must not be negative")


def _best(queries: Matrix, matrix: MatrixLike, k: int, sieve: Sieve, threads: int) -> list[_Best]:
    """The k best rows, for a few queries at a time; queries and parts of the matrix are shared out among threads."""
    parts = _parts(len(matrix), threads)
    tasks = [(chunk, part) for _, chunk in blocks_of(queries, QUERY_ROWS) for part in parts]
    found = in_threads(lambda task: _best_of_part(*task, matrix, k, sieve), tasks, threads)
    return [_merged(found[start : start + len(parts)]) for start in range(0, len(found), len(parts))]


def _merged(found: list[_Best]) -> _Best:
    """What several parts of a matrix hold for the same queries, as one."""
    best, *others = found
    for other in others:
        best.take(other.rows, other.indices, other.scores)
    return best


def _parts(rows: int, threads: int) -> list[range]:
    """Consecutive rows, one part for each thread, none so small that a thread costs more than it saves."""
    count = max(1, min(threads, rows // PART_ROWS))
    limits = [rows * part // count for part in range(count + 1)]
    return [range(*part) for part in pairwise(limits)]


def _best_of_part(queries: Matrix, part: range, matrix: MatrixLike, k: int, sieve: Sieve) -> _Best:
    """The k best of some consecutive rows."""
    best = _Best(queries, matrix, k, sieve)
    # A block must hold k rows for its own k-th best score to say anything.
    rows = max(k, min(BLOCK_ROWS, BLOCK_SCORES // len(queries)))
    multiplier = sieve.rounded(queries)
    for start, block in blocks_of(matrix, rows, part):
        best.offer(sieve.product(multiplier, block), start)
    return best


class _Best:
    """The k best rows so far for each query: flat arrays, by query, descending score, ascending index."""

    def __init__(self, queries: Matrix, matrix: MatrixLike, k: int, sieve: Sieve) -> None:
        self.queries, self.matrix, self.k = queries, matrix, k
        self.margin = 2 * sieve.errors(queries)
        self.ceiling = LONGEST_ROW * np.linalg.norm(as_float32(queries), axis=1)
        self.floor = np.full(len(queries), -np.inf, np.float32)
        self.rows = self.indices = np.empty(0, np.int64)
        self.scores = np.empty(0, np.float32)

    def offer(self, scores: FloatArray, start: int) -> None:
        """Take what is good enough from the scores (Q, B) of the rows from ``start`` on."""
        peaks = scores.max(axis=1)
        if not (peaks <= self.ceiling).all():
            raise InvalidVectorError(f"a row among {start} to {start + scores.shape[1] - 1} is not a finite unit row")
        hot = np.flatnonzero(peaks >= self.floor - self.margin)
        if len(hot):
            rows, columns = self._candidates(scores[hot], hot)
            self.take(rows, columns + start, scores_at(self.queries, rows, self.matrix, columns + start))

    def _candidates(self, scores: FloatArray, hot: IndexArray) -> tuple[IndexArray, IndexArray]:
        """Queries and columns that may be among the k best, for the queries ``hot``."""
        floor = self.floor[hot]
        if scores.shape[1] > self.k:
            floor = np.maximum(floor, np.partition(scores, -self.k, axis=1)[:, -self.k])
        at, columns = np.nonzero(scores >= (floor - self.margin[hot])[:, None])
        return hot[at], columns

    def take(self, rows: IndexArray, indices: IndexArray, scores: FloatArray) -> None:
        """Keep the k best of exactly scored rows ``indices`` for queries ``rows``, and of those held."""
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
