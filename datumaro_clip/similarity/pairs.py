"""Finds all pairs of rows whose similarity reaches a threshold, exactly."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np

from datumaro_clip.similarity.narrow import narrow
from datumaro_clip.similarity.scores import (
    NUMPY_SIEVE,
    FloatArray,
    IndexArray,
    Matrix,
    blocks_of,
    numpy_product,
    require_finite,
    require_matrix,
    scores_at,
)
from datumaro_clip.similarity.threads import in_threads

BLOCK_ROWS = 2048


class Pairs(NamedTuple):
    """Pairs of rows: ``left[m] < right[m]``, sorted by left, then right.

    Attributes
    ----------
    left, right : numpy.ndarray
        Shape (M,), int64: row indices.
    scores : numpy.ndarray
        Shape (M,), float32: :func:`~datumaro_clip.similarity.exact_scores`.
    """

    left: IndexArray
    right: IndexArray
    scores: FloatArray


def pairs_above(matrix: Matrix, threshold: float) -> Pairs:
    """Find every pair of rows whose cosine similarity is at least ``threshold``.

    Parameters
    ----------
    matrix : numpy.ndarray
        Shape (N, D), float32 or float16, unit rows.
    threshold : float
        From -1 to 1, compared as float32.

    Returns
    -------
    Pairs
        ``(left, right, scores)``: the exact set, left < right, sorted.

    Raises
    ------
    InvalidVectorError
        If the matrix is not (N, D) of floats, or a row is not finite.
    """
    require_matrix(matrix, "matrix")
    require_finite(matrix)
    error = NUMPY_SIEVE.error(matrix.shape[1])
    columns = narrow(matrix, threshold, error)
    bound = np.float32(threshold - (error if columns is None else 3 * error))
    sieved = matrix if columns is None else columns

    def pairs_of(start: int) -> list[Pairs]:
        found = candidates(sieved, range(start, start + BLOCK_ROWS), bound)
        return [scored(matrix, left, right, np.float32(threshold)) for left, right in found]

    found = joined(list(chain.from_iterable(in_threads(pairs_of, range(0, len(matrix), BLOCK_ROWS)))))
    order = np.lexsort((found.right, found.left))
    return Pairs(found.left[order], found.right[order], found.scores[order])


def candidates(columns: Matrix, part: range, bound: np.float32) -> Iterator[tuple[IndexArray, IndexArray]]:
    """Yield the pairs (left, right) whose dot products reach the bound: left in a part of the rows, right after it."""
    block = columns[part.start : part.stop]
    for offset, other in blocks_of(columns[part.start :], len(part)):
        passing = np.flatnonzero(numpy_product(block, other) >= bound)
        left, right = np.divmod(passing, len(other))
        upper = left < right + offset
        yield left[upper] + part.start, right[upper] + part.start + offset


def scored(matrix: Matrix, left: IndexArray, right: IndexArray, threshold: np.float32) -> Pairs:
    """Score candidates exactly, and keep those that reach the threshold."""
    scores = scores_at(matrix, left, matrix, right)
    keep = scores >= threshold
    return Pairs(left[keep], right[keep], scores[keep])


def joined(found: list[Pairs]) -> Pairs:
    """Concatenate parts."""
    empty = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    return Pairs(*(np.concatenate(parts) for parts in zip(empty, *found, strict=True)))
