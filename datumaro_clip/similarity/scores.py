"""The score that decides, and how far a float32 product in blocks may stray from it."""

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
    """Rows (N, D) that are read when they are asked for, by several threads at once."""

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
        """Consecutive rows, or those of an array of indices."""


MatrixLike = Matrix | LazyMatrix


class SelectedRows:
    """Some rows of a matrix, read as they are asked for."""

    ndim = 2

    def __init__(self, matrix: MatrixLike, rows: IndexArray) -> None:
        self._matrix, self._rows = matrix, rows
        self.shape, self.dtype = (len(rows), matrix.shape[1]), matrix.dtype

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: slice | IndexArray, /) -> Matrix:
        """See :class:`LazyMatrix`."""
        selected: Matrix = self._matrix[self._rows[rows]]
        return selected


#: Length that no finite unit row has, and less than what infinite and NaN ones come to.
LONGEST_ROW = np.float32(1e3)
#: Pairs whose rows are gathered at a time: twice 512 columns take 1 MiB, which caches hold.
EXACT_ROWS = 256


def exact_scores(left: npt.ArrayLike, right: npt.ArrayLike) -> FloatArray:
    """Cosine similarity of unit rows, pair by pair, the same wherever and however often it is asked.

    Products are accumulated in float64, in which each is exact, and the sum is rounded to float32 once.

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
    """Exact scores of ``left[i]`` with ``right[j]``, shape (M,), a bounded number of rows at a time."""
    parts = [slice(start, start + EXACT_ROWS) for start in range(0, len(i), EXACT_ROWS)]
    scores = [exact_scores(left[i[part]], right[j[part]]) for part in parts]
    return np.concatenate([np.empty(0, np.float32), *scores])


def as_float32(matrix: Matrix) -> FloatArray:
    """The matrix as float32; itself where it is that already."""
    return widened(matrix) if matrix.dtype == np.float16 else np.asarray(matrix, np.float32)


def numpy_product(left: Matrix, right: Matrix) -> FloatArray:
    """All dot products of the rows of (M, D) with those of (N, D): shape (M, N), float32."""
    products: FloatArray = as_float32(left) @ as_float32(right).T
    return products


@dataclass(frozen=True)
class Sieve:
    """A fast product, and how far it may be from the truth.

    Attributes
    ----------
    product : callable
        Takes (M, D) and (N, D) matrices of float16 or float32, gives all dot products (M, N) in float32.
    rounded : callable
        What it wants the left rows as, when they are few and used often.
    unit_error : float
        Largest relative error of one multiplication and addition; 2**-24 for float32.
    """

    product: Callable[[Matrix, Matrix], FloatArray] = numpy_product
    rounded: Callable[[Matrix], Matrix] = as_float32
    unit_error: float = 2.0**-24

    def error(self, dimension: int) -> float:
        """Largest absolute error of a dot product of two unit rows of length ``dimension``.

        The bound n·u of Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., §3.1, doubled for
        rows that float16 storage left a little longer than one and for the rounding of the exact score.
        """
        return 2.0 * dimension * self.unit_error

    def errors(self, queries: Matrix) -> FloatArray:
        """As :meth:`error`, for each of the rows (Q, D) that :attr:`rounded` makes something else of: shape (Q,)."""
        exact = as_float32(queries)
        lost = np.linalg.norm(exact - as_float32(self.rounded(exact)), axis=1)
        # By the inequality of Cauchy and Schwarz; rows of float16 are up to 2**-11 longer than one.
        errors: FloatArray = self.error(queries.shape[1]) * np.linalg.norm(exact, axis=1) + np.float32(1.001) * lost
        return errors


NUMPY_SIEVE = Sieve()
#: For a matrix of float16, which it reads as it is; queries are rounded to float16 too.
HALF_SIEVE = Sieve(half_products, rounded=lambda rows: np.asarray(rows, np.float16))


# Queries up to which widening float16 as it is read beats widening it once for BLAS; measured.
_FEW_QUERIES = 64


def sieve_for(queries: Matrix, matrix: MatrixLike) -> Sieve:
    """The fastest sieve for some queries and the many rows of a matrix."""
    return HALF_SIEVE if matrix.dtype == np.float16 and len(queries) <= _FEW_QUERIES else NUMPY_SIEVE


def blocks_of(matrix: MatrixLike, rows: int, part: range | None = None) -> Iterator[tuple[int, Matrix]]:
    """Consecutive blocks of at most ``rows`` rows, each with the index of its first row; of a part or of all."""
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
    """Raise :class:`InvalidVectorError`, naming the first, if a row is none that a unit row could be."""
    bad = np.flatnonzero(~(squared_lengths(matrix) <= LONGEST_ROW**2))
    if len(bad):
        raise InvalidVectorError(f"row {bad[0]} of {len(matrix)} is not a finite unit row")
