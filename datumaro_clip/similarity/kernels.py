"""What NumPy has no fast kernel for: float16 rows, widened as they are read. The only importer of numkong."""

from __future__ import annotations

from typing import Any

import numkong
import numpy as np
import numpy.typing as npt

# Queries from which packing them pays; below, each row of the matrix is simply read once for each query.
_PACKED_QUERIES = 3


def widened(halves: npt.NDArray[np.float16]) -> npt.NDArray[np.float32]:
    """float16 to float32, exactly, many times as fast as ``astype``, which takes one number at a time."""
    return np.asarray(numkong.astype(halves, "f32"))


def squared_lengths(rows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Each row's dot product with itself: (N, D) of float16 or float32, shape (N,), accumulated in float32 or wider."""
    rows = np.ascontiguousarray(rows)
    return np.asarray(numkong.dot(rows, rows)) if len(rows) else np.empty(0)


def half_products(left: npt.NDArray[np.float16], right: npt.NDArray[np.float16]) -> npt.NDArray[np.float32]:
    """All dot products of the rows of (M, D) with those of (N, D): shape (M, N), accumulated in float32."""
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    if len(left) < _PACKED_QUERIES and left.size and right.size:
        # Asked for float32, it takes three times as long.
        return np.asarray(numkong.cdist(left, right, "dot")).astype(np.float32)
    products: npt.NDArray[np.float32] = np.asarray(numkong.dots_packed(right, numkong.dots_pack(left, dtype="f16"))).T
    return products
