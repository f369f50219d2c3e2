"""Approximate search for neighbours, and for pairs above a threshold, among too many rows to compare them all.

Rows drawn at random are the centres of cells. Each row belongs to the few cells whose centres are most similar to it,
and is compared with the other rows there. Two very similar rows have nearly the same centres around them, so that most
such pairs share a cell; the others are missed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from datumaro_clip.similarity.narrow import narrow
from datumaro_clip.similarity.pairs import Pairs, candidates, joined, scored
from datumaro_clip.similarity.scores import (
    NUMPY_SIEVE,
    FloatArray,
    IndexArray,
    Matrix,
    as_float32,
    numpy_product,
    require_finite,
    require_matrix,
)
from datumaro_clip.similarity.threads import in_threads
from datumaro_clip.similarity.topk import top_k

_log = logging.getLogger(__name__)

_ROWS_A_CELL = 1000
# Cells that each row belongs to, in the search for pairs and for neighbours: with more, more is found, in more time.
_PAIR_PROBES, _NEIGHBOUR_PROBES = 5, 2
# Rows assigned to cells at a time.
_NEAREST_ROWS = 4096
# Rows of a cell compared at a time: with larger blocks, more of the products would lie below the diagonal.
_CELL_ROWS = 512
# Pairs that a thread scores at a time.
_SCORED_PAIRS = 1 << 16

#: Runs independent tasks, and returns their results in order, as ``map`` does.
Run: TypeAlias = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


def approximate_pairs_above(matrix: Matrix, threshold: float) -> Pairs:
    """Find most of the pairs of rows whose cosine similarity is at least ``threshold``, and no others.

    For matrices of more than some 300,000 rows and thresholds of 0.9 or more; a log line says that it is not exact.
    The time grows with N, except for assigning rows to the N / 1000 cells.

    Parameters
    ----------
    matrix : numpy.ndarray
        Shape (N, D), float32 or float16, unit rows.
    threshold : float
        From -1 to 1, compared as float32.

    Returns
    -------
    Pairs
        A subset of what :func:`~datumaro_clip.similarity.pairs_above` returns, with the same scores and order.

    Raises
    ------
    InvalidVectorError
        If the matrix is not (N, D) of floats, or a row is not finite.
    """
    require_matrix(matrix, "matrix")
    require_finite(matrix)
    error = NUMPY_SIEVE.error(matrix.shape[1])
    cells = _cells(matrix, _centres(matrix), _PAIR_PROBES)
    _log.info("pairs of %d rows are looked for in %d cells: not exact, some may be missed", len(matrix), len(cells))
    columns = narrow(matrix, threshold, error, tried=max(cells, key=len, default=None))
    wide = matrix if columns is None else columns
    bound = np.float32(threshold - 3 * error)
    met = in_threads(lambda members: _met(wide, members, bound), cells)
    # A pair that shares several cells counts once.
    codes = np.unique(np.concatenate([np.empty(0, np.int64), *met]))

    def scored_from(start: int) -> Pairs:
        rows = np.divmod(codes[start : start + _SCORED_PAIRS], len(matrix))
        return scored(matrix, *rows, np.float32(threshold))

    return joined(in_threads(scored_from, range(0, len(codes), _SCORED_PAIRS)))


def approximate_top_k(queries: Matrix, matrix: Matrix, k: int, *, run: Run = map) -> tuple[IndexArray, FloatArray]:
    """Find the rows of a matrix that are most similar to each query, among the rows that share a cell with it.

    Parameters
    ----------
    queries : numpy.ndarray
        Shape (Q, D), float32 or float16, unit rows.
    matrix : numpy.ndarray
        Shape (N, D), float32 or float16, unit rows.
    k : int
        Rows wanted for each query.
    run : callable
        Compares the cells: it gets a function and tasks, all of which can be pickled.

    Returns
    -------
    indices : numpy.ndarray
        Shape (Q, k), int64, by descending score, then ascending index; -1 where fewer rows share a cell with the query.
    scores : numpy.ndarray
        Shape (Q, k), float32: :func:`~datumaro_clip.similarity.exact_scores`; -inf where there is no row.
    """
    indices, scores = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32)
    centres = _centres(matrix)
    members = _cells(matrix, centres, _NEIGHBOUR_PROBES)
    askers = members if queries is matrix else _cells(queries, centres, _NEIGHBOUR_PROBES)
    cells = [cell for cell in zip(askers, members, strict=True) if len(cell[0]) and len(cell[1])]
    tasks = ((queries[rows], matrix[among]) for rows, among in cells)
    for (rows, among), (places, found) in zip(cells, run(partial(_best_of_cell, k), tasks), strict=True):
        indices[rows], scores[rows] = _best_of_both(indices[rows], scores[rows], among[places], found)
    return indices, scores


def _best_of_cell(k: int, cell: tuple[Matrix, Matrix]) -> tuple[IndexArray, FloatArray]:
    return top_k(*cell, k, threads=1)


def _best_of_both(
    indices: IndexArray, scores: FloatArray, others: IndexArray, their_scores: FloatArray
) -> tuple[IndexArray, FloatArray]:
    """Return the k best neighbours of each query (Q, k) among known and other neighbours, each once."""
    known = (others[:, :, None] == indices[:, None, :]).any(axis=2)
    both = np.concatenate([indices, np.where(known, -1, others)], axis=1)
    all_scores = np.concatenate([scores, np.where(known, -np.inf, their_scores)], axis=1).astype(np.float32)
    order = np.lexsort((both, -all_scores))[:, : indices.shape[1]]
    return np.take_along_axis(both, order, axis=1), np.take_along_axis(all_scores, order, axis=1)


def _centres(matrix: Matrix) -> FloatArray:
    """Draw the centres: rows at random, the same for the same number of rows, in their order."""
    count = math.ceil(len(matrix) / _ROWS_A_CELL)
    return as_float32(matrix[np.sort(np.random.default_rng(0).permutation(len(matrix))[:count])])


def _cells(matrix: Matrix, centres: FloatArray, probes: int) -> list[IndexArray]:
    """Return the rows of each cell, ascending."""
    nearest = _nearest(matrix, centres, min(probes, len(centres)))
    order = np.argsort(nearest.ravel(), kind="stable")
    limits = np.searchsorted(nearest.ravel()[order], np.arange(1, len(centres)))
    return [part // nearest.shape[1] for part in np.split(order, limits)]


def _nearest(matrix: Matrix, centres: Matrix, probes: int) -> IndexArray:
    """Return the centres most similar to each row, (N, probes)."""

    def nearest_to(start: int) -> IndexArray:
        return _peaks(numpy_product(matrix[start : start + _NEAREST_ROWS], centres), probes)

    blocks = in_threads(nearest_to, range(0, len(matrix), _NEAREST_ROWS))
    return np.concatenate([np.empty((0, probes), np.int64), *blocks])


def _peaks(scores: FloatArray, count: int) -> IndexArray:
    """Return the columns of each row's highest scores, overwriting these; ten times as fast as partitioning."""
    rows, peaks = np.arange(len(scores)), np.empty((len(scores), count), np.int64)
    for rank in range(count):
        peaks[:, rank] = scores.argmax(axis=1)
        scores[rows, peaks[:, rank]] = -np.inf
    return peaks


def _met(columns: Matrix, members: IndexArray, bound: np.float32) -> IndexArray:
    """Return the codes of the pairs of a cell that may be above the threshold: left row times N, plus right row."""
    rows = columns[members]
    parts = [range(start, start + _CELL_ROWS) for start in range(0, len(rows), _CELL_ROWS)]
    found = [pair for part in parts for pair in candidates(rows, part, bound)]
    codes = [members[left] * len(columns) + members[right] for left, right in found]
    return np.concatenate([np.empty(0, np.int64), *codes])
