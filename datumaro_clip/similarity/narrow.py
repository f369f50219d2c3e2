"""Narrows a matrix to few columns whose dot products are never below the cosine similarities of its rows.

Split each unit row x into its projection p on a few orthonormal axes (d numbers) and the rest, of length r. By the
inequality of Cauchy and Schwarz x·y ≤ p·q + r·s, which is the dot product of (p, r) and (q, s): d + 1 columns give an
upper bound of what D columns decide. With the principal axes of CLIP vectors the rests are short, and the bound tight.
"""

from __future__ import annotations

import numpy as np

from datumaro_clip.similarity.scores import FloatArray, IndexArray, Matrix, as_float32, blocks_of

# Rows in the sample: one half to find the axes, two million pairs of the other half to try widths on.
_SAMPLE_ROWS = 4096
_BLOCK_ROWS = 8192
# Widths tried, as shares of D; above a half, the bound takes nearly as long as the product itself.
_SHARES = (1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2)
# The cost of gathering and scoring one pair exactly, in columns of a dot product; measured: 0.8 µs and 0.02 ns.
_PAIR_COST = 4e4


def narrow(matrix: Matrix, threshold: float, error: float, tried: IndexArray | None = None) -> FloatArray | None:
    """Return columns that bound all similarities, in the width that is fastest for this matrix and threshold.

    Parameters
    ----------
    matrix : numpy.ndarray
        Shape (N, D), unit rows.
    threshold : float
        Similarity above which pairs will be scored exactly.
    error : float
        Rounding error of a dot product of D float32 columns.
    tried : numpy.ndarray, optional
        Indices of rows to try widths on, if the pairs to be bounded are not like those of all rows.

    Returns
    -------
    numpy.ndarray or None
        Shape (N, d + 1), float32: ``columns[i] @ columns[j]`` is at least the similarity of rows i and j, less
        a few ``error``. None if no narrow matrix pays: there are few rows, or no bound rules out most pairs.
    """
    if len(matrix) < _SAMPLE_ROWS:
        return None
    sample = as_float32(matrix[np.linspace(0, len(matrix) - 1, _SAMPLE_ROWS).astype(np.int64)])
    axes = _principal_axes(sample[::2])
    # Widths are tried on other rows than the axes were found from: the axes fit those better than the rest.
    others = sample[1::2] if tried is None else as_float32(matrix[tried[:_SAMPLE_ROWS]])
    width = _cheapest_width(others, axes, threshold, error)
    return None if width is None else _columns(matrix, axes[:, :width], error)


def _principal_axes(rows: FloatArray) -> FloatArray:
    """Return orthonormal columns (D, D), sorted by how much of the rows' squared length they hold."""
    _, axes = np.linalg.eigh((rows.T @ rows).astype(np.float64))
    return axes[:, ::-1].astype(np.float32)


def _cheapest_width(sample: FloatArray, axes: FloatArray, threshold: float, error: float) -> int | None:
    """Return the number of axes with the least cost of bounding all pairs and scoring the rest; None for all axes."""
    dimension = sample.shape[1]
    widths = sorted({max(1, int(dimension * share)) for share in _SHARES})
    costs = {width: _cost(_columns(sample, axes[:, :width], error), threshold) for width in widths}
    costs[dimension] = _cost(sample, threshold)
    best = min(costs, key=lambda width: costs[width])
    return None if best == dimension else best


def _cost(columns: FloatArray, threshold: float) -> float:
    """Return the cost of a pair, in columns of a dot product."""
    passing = np.count_nonzero(columns @ columns.T >= threshold) - len(columns)
    return float(columns.shape[1] + _PAIR_COST * passing / (len(columns) * (len(columns) - 1)))


def _columns(matrix: Matrix, axes: FloatArray, error: float) -> FloatArray:
    """Return (p, r) of each row."""
    columns = np.empty((len(matrix), axes.shape[1] + 1), np.float32)
    for start, block in blocks_of(matrix, _BLOCK_ROWS):
        rows, part = as_float32(block), columns[start : start + len(block)]
        np.matmul(rows, axes, out=part[:, :-1])
        rest = np.einsum("nd,nd->n", rows, rows) - np.einsum("nd,nd->n", part[:, :-1], part[:, :-1])
        # Cancellation may make the rest too small by the rounding error, which is added back.
        part[:, -1] = np.sqrt(np.maximum(rest, 0) + 2 * error)
    return columns
