"""A narrow matrix whose dot products are never below the cosine similarities of the wide one.

Split each unit row x at the span of a few orthonormal axes into what lies in it, p (d numbers), and the rest, of
length r. By the inequality of Cauchy and Schwarz x·y ≤ p·q + r·s, which is the dot product of (p, r) and (q, s): d + 1
columns bound what D columns decide. Along the principal axes of CLIP vectors the rests are short, and the bound tight.
"""

from __future__ import annotations

import numpy as np

from datumaro_clip.similarity.scores import FloatArray, IndexArray, Matrix, as_float32, blocks_of

# Rows looked at: one half to find axes, two million pairs of the other half to try widths on.
_SAMPLE_ROWS = 4096
_BLOCK_ROWS = 8192
# Widths tried, as shares of D; above a half, the bound costs nearly what the product itself costs.
_SHARES = (1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2)
# What it costs to gather and score one pair exactly, in columns of one pair's dot product; measured: 0.8 us to 0.02 ns.
_PAIR_COST = 4e4


def narrow(matrix: Matrix, threshold: float, error: float, tried: IndexArray | None = None) -> FloatArray | None:
    """Columns that bound all similarities, as few as pay for this matrix and threshold.

    Parameters
    ----------
    matrix : numpy.ndarray
        Shape (N, D), unit rows.
    threshold : float
        Similarity above which pairs will be scored exactly.
    error : float
        Rounding error of a dot product of D float32 columns.
    tried : numpy.ndarray, optional
        Indices of rows whose pairs are like those that will be bounded, to try widths on; rows from all over the
        matrix, if not given.

    Returns
    -------
    numpy.ndarray or None
        Shape (N, d + 1), float32: ``columns[i] @ columns[j]`` is at least the similarity of rows i and j, less
        a few ``error``. None where no narrow matrix pays: few rows, or too many pairs that no bound rules out.
    """
    if len(matrix) < _SAMPLE_ROWS:
        return None
    sample = as_float32(matrix[_evenly(len(matrix))])
    axes = _principal_axes(sample[::2])
    # Tried on other rows than those whose axes they are: those fit better than the matrix does.
    others = sample[1::2] if tried is None else as_float32(matrix[tried[:_SAMPLE_ROWS]])
    width = _cheapest_width(others, axes, threshold, error)
    return None if width is None else _columns(matrix, axes[:, :width], error)


def _evenly(rows: int) -> IndexArray:
    """Indices of rows all over a matrix."""
    return np.linspace(0, rows - 1, _SAMPLE_ROWS).astype(np.int64)


def _principal_axes(rows: FloatArray) -> FloatArray:
    """Orthonormal columns (D, D), those that hold most of the rows' squared length first."""
    _, axes = np.linalg.eigh((rows.T @ rows).astype(np.float64))
    ordered: FloatArray = axes[:, ::-1].astype(np.float32)
    return ordered


def _cheapest_width(sample: FloatArray, axes: FloatArray, threshold: float, error: float) -> int | None:
    """Number of axes at which bounding and scoring what passes cost least; None for all of them."""
    dimension = sample.shape[1]
    widths = sorted({max(1, int(dimension * share)) for share in _SHARES})
    costs = {width: _cost(_columns(sample, axes[:, :width], error), threshold) for width in widths}
    costs[dimension] = _cost(sample, threshold)
    best = min(costs, key=lambda width: costs[width])
    return None if best == dimension else best


def _cost(columns: FloatArray, threshold: float) -> float:
    """Cost a pair, in columns multiplied."""
    passing = np.count_nonzero(columns @ columns.T >= threshold) - len(columns)
    return float(columns.shape[1] + _PAIR_COST * passing / (len(columns) * (len(columns) - 1)))


def _columns(matrix: Matrix, axes: FloatArray, error: float) -> FloatArray:
    """(p, r) of each row."""
    columns = np.empty((len(matrix), axes.shape[1] + 1), np.float32)
    for start, block in blocks_of(matrix, _BLOCK_ROWS):
        rows, part = as_float32(block), columns[start : start + len(block)]
        np.matmul(rows, axes, out=part[:, :-1])
        rest = np.einsum("nd,nd->n", rows, rows) - np.einsum("nd,nd->n", part[:, :-1], part[:, :-1])
        # The difference cancels; what rounding may have taken from it is put back.
        part[:, -1] = np.sqrt(np.maximum(rest, 0) + 2 * error)
    return columns
