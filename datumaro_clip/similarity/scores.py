"""The exact score, fast products that approximate it, and bounds of their errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from datumaro_clip.errors import InvalidVectorError
from datumaro_clip.similarity.kernels import half_products, row_dots, squared_lengths, widened

FloatArray = npt.NDArray[np.float32]
IndexArray = npt.NDArray[np.int64]
Matrix = npt.NDArray[Any]


class LazyMatrix(Protocol):
    """Rows (N, D) that are read on demand, by several threads at once."""

    @property
    def ndim(self) -> int:
        """2."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the rows."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | IndexArray, /) -> Matrix:
        """Read consecutive rows, or those of an array of indices."""


MatrixLike = Matrix | LazyMatrix


class SelectedRows:
    """Some rows of a matrix, read on demand."""

    ndim = 2

    def __init__(self, matrix: MatrixLike, rows: IndexArray) -> None:
        self._matrix, self._rows = matrix, rows
        self.shape, self.dtype = (len(rows), matrix.shape[1]), matrix.dtype

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: slice | IndexArray, /) -> Matrix:
        """See :class:`LazyMatrix`."""
        return self._matrix[self._rows[rows]]


#: Far above the length of a unit row: only rows that are wrong or not finite are longer.
LONGEST_ROW = np.float32(1e3)
#: Pairs whose rows are gathered at a time: twice 512 columns take 1 MiB, which fits the processor's cache.
EXACT_ROWS = 256


def exact_scores(left: npt.ArrayLike, right: npt.ArrayLike) -> FloatArray:
    """Return the cosine similarity of unit rows, pair by pair, the same bits in whatever batch it is computed.

    Products are exact in float64, in which they are added; the sum is rounded to float32 once.

    Parameters
    ----------
    left, right : array_like
        Shape (M, D) each, or broadcastable to it, float16 or float32 (float64 is rounded to it), unit rows.

    Returns
    -------
    numpy.ndarray
        Shape (M,), float32.
    """
    left, right = np.broadcast_arrays(as_float32(np.asarray(left)), as_float32(np.asarray(right)))
    rows, columns = math.prod(left.shape[:-1]), left.shape[-1]
    scores = row_dots(left.reshape(rows, columns), right.reshape(rows, columns))
    return scores.astype(np.float32).reshape(left.shape[:-1])


def scores_at(left: MatrixLike, i: IndexArray, right: MatrixLike, j: IndexArray) -> FloatArray:
    """Return the exact scores of ``left[i]`` and ``right[j]``, shape (M,), a bounded number of rows at a time."""
    parts = [slice(start, start + EXACT_ROWS) for start in range(0, len(i), EXACT_ROWS)]
    scores = [exact_scores(left[i[part]], right[j[part]]) for part in parts]
    return np.concatenate([np.empty(0, np.float32), *scores])


def as_float32(matrix: Matrix) -> FloatArray:
    """Convert a matrix to float32; return it as it is if it is that already."""
    return widened(matrix) if matrix.dtype == np.float16 else np.asarray(matrix, np.float32)


def numpy_product(left: Matrix, right: Matrix) -> FloatArray:
    """Return all dot products of the rows of (M, D) and (N, D): shape (M, N), float32."""
    products: FloatArray = as_float32(left) @ as_float32(right).T
    return products


@dataclass(frozen=True)
class Sieve:
    """A fast product, and the bound of its error.

    Attributes
    ----------
    product : callable
        Takes matrices (M, D) and (N, D) of float16 or float32, and returns all dot products (M, N) in float32.
    rounded : callable
        Converts the left rows to what the product reads, once for many products.
    unit_error : float
        Largest relative error of one multiplication and addition; 2**-24 for float32.
    """

    product: Callable[[Matrix, Matrix], FloatArray] = numpy_product
    rounded: Callable[[Matrix], Matrix] = as_float32
    unit_error: float = 2.0**-24

    def error(self, dimension: int) -> float:
        """Return the largest absolute error of a dot product of two unit rows of length ``dimension``.

        The bound n·u of Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., §3.1, doubled for rows that
        are a little longer than one after float16 storage, and for the rounding of the exact score.
        """
        return 2.0 * dimension * self.unit_error

    def errors(self, queries: Matrix) -> FloatArray:
        """Return the largest error for each query (Q, D), including what :attr:`rounded` changes: shape (Q,)."""
        exact = as_float32(queries)
        lost = np.linalg.norm(exact - as_float32(self.rounded(exact)), axis=1)
        # By the inequality of Cauchy and Schwarz; rows of float16 are up to 2**-11 longer than one.
        errors: FloatArray = self.error(queries.shape[1]) * np.linalg.norm(exact, axis=1) + np.float32(1.001) * lost
        return errors


NUMPY_SIEVE = Sieve()
#: For a matrix of float16, which it reads as it is; queries are rounded to float16, too.
HALF_SIEVE = Sieve(half_products, rounded=lambda rows: np.asarray(rows, np.float16))


# With more queries it is faster to widen float16 once and multiply by BLAS; measured.
_FEW_QUERIES = 64


def sieve_for(queries: Matrix, matrix: MatrixLike) -> Sieve:
    """Return the fastest sieve for a number of queries and a matrix."""
    return HALF_SIEVE if matrix.dtype == np.float16 and len(queries) <= _FEW_QUERIES else NUMPY_SIEVE


def blocks_of(matrix: MatrixLike, rows: int, part: range | None = None) -> Iterator[tuple[int, Matrix]]:
    """Yield blocks of at most ``rows`` consecutive rows, of a part or of all, with the index of their first row."""
    part = range(len(matrix)) if part is None else part
    for start in range(part.start, part.stop, rows):
        yield start, matrix[start : min(start + rows, part.stop)]


def require_matrix(matrix: MatrixLike, name: str) -> None:
    """Raise :class:`InvalidVectorError` unless ``matrix`` is (N, D) of float16, float32 or float64."""
    if matrix.ndim != 2 or matrix.dtype.kind != "f":
        raise InvalidVectorError(
            f"{name}: wanted a matrix of shape (N, D) of floats, got shape {matrix.shape} of {matrix.dtype}"
        )


def require_finite(matrix: Matrix) -> None:
    """Raise :class:`InvalidVectorError`, naming the first, if a row is not finite, or far too long for a unit row."""
    bad = np.flatnonzero(~(squared_lengths(matrix) <= LONGEST_ROW**2))
    if len(bad):
        raise InvalidVectorError(f"row {bad[0]} of {len(matrix)} is not a finite unit row")
