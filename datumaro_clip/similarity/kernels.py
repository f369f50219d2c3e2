"""Fast kernels that NumPy lacks, for float16 and for dot products row by row. The only importer of numkong.

On platforms without a wheel of numkong, NumPy computes the same results, several times as slowly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

try:
    import numkong as _numkong

    numkong: Any = _numkong
except ImportError:
    numkong = None

# With fewer queries, packing them takes longer than reading each row of the matrix once for each query.
_PACKED_QUERIES = 3


def widened(halves: npt.NDArray[np.float16]) -> npt.NDArray[np.float32]:
    """Convert float16 to float32, exactly, many times as fast as ``astype``, which converts one number at a time."""
    return halves.astype(np.float32) if numkong is None else np.asarray(numkong.astype(halves, "f32"))


def row_dots(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the dot product of each row of one matrix with the same row of another: both (N, D), of one dtype; (N,).

    Float32 is accumulated in float64, in which the products are exact; float16 in float32.
    """
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    if numkong is None or not left.size:
        wide = np.float32 if left.dtype == np.float16 else np.float64
        return np.asarray(np.einsum("nd,nd->n", left, right, dtype=wide), np.float64)
    return np.asarray(numkong.dot(left, right))


def squared_lengths(rows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the dot product of each row with itself, as :func:`row_dots` does."""
    return row_dots(rows, rows)


def half_products(left: npt.NDArray[np.float16], right: npt.NDArray[np.float16]) -> npt.NDArray[np.float32]:
    """Return all dot products of the rows of (M, D) and (N, D): shape (M, N), accumulated in float32."""
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    if numkong is None:
        products: npt.NDArray[np.float32] = left.astype(np.float32) @ right.astype(np.float32).T
        return products
    if len(left) < _PACKED_QUERIES and left.size and right.size:
        # Asked for float32, it takes three times as long.
        return np.asarray(numkong.cdist(left, right, "dot")).astype(np.float32)
    products = np.asarray(numkong.dots_packed(right, numkong.dots_pack(left, dtype="f16"))).T
    return products


def byte_products(left: npt.NDArray[np.int8], right: npt.NDArray[np.int8]) -> npt.NDArray[Any]:
    """Return all dot products of the rows of (M, D) and (N, D), exactly: shape (M, N), int32 or float64."""
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    if not (left.size and right.size):
        return np.zeros((len(left), len(right)), np.int32)
    if numkong is None:
        # Exact in float64, which BLAS multiplies; it has no integers.
        return np.asarray(left.astype(np.float64) @ right.astype(np.float64).T)
    if len(left) == 1:
        # Unpacked, one query takes a third of the time.
        return np.asarray(numkong.cdist(left, right, "dot"))
    products: npt.NDArray[np.int32] = np.asarray(numkong.dots_packed(right, numkong.dots_pack(left))).T
    return products
