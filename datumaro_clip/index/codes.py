"""Vectors quantised to int8, and bounds of a pair's cosine similarity from the dot product of its codes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from datumaro_clip.similarity.kernels import byte_products
from datumaro_clip.similarity.scores import FloatArray, IndexArray, Matrix, as_float32

ByteArray = npt.NDArray[np.int8]
Doubles = npt.NDArray[np.float64]

_LARGEST = 127
# The error of float32 arithmetic that a bound allows for, for each unit of the query's length; see `bounds`.
_ROUNDING = 2.0**-19
_UNDERFLOW = 2.0**-100
# Makes up for the rounding of a measured length to float32.
_UP = np.float32(1 + 2.0**-22)


@dataclass(frozen=True, eq=False)
class Codes:
    """Rows x, approximated by ``centre + inverse rotation(scale * codes)``, and the error of that.

    Attributes
    ----------
    centre : numpy.ndarray
        (D,) float32, near the middle of the rows.
    codes : numpy.ndarray
        (N, D) int8, from -127 to 127.
    scale : numpy.ndarray
        (N,) float32, positive.
    error : numpy.ndarray
        (N,) float32, an upper bound of the length of each row's quantisation error.
    length : numpy.ndarray
        (N,) float32, an upper bound of the length of ``scale * codes``.
    """

    centre: FloatArray
    codes: ByteArray
    scale: FloatArray
    error: FloatArray
    length: FloatArray

    def __len__(self) -> int:
        return len(self.codes)

    def of(self, rows: slice | IndexArray) -> Codes:
        """Return the codes of some of the rows."""
        return Codes(self.centre, self.codes[rows], self.scale[rows], self.error[rows], self.length[rows])


class CodedQueries(NamedTuple):
    """Queries (Q, D), approximated by ``scale * codes`` in rotated axes; ``lost`` is the length of the error.

    Attributes
    ----------
    vectors : numpy.ndarray
        (Q, D) float32, the queries themselves.
    codes : numpy.ndarray
        (Q, D) int8.
    scale, lost, length : numpy.ndarray
        (Q,) float32; ``length`` is that of the queries themselves.
    """

    vectors: FloatArray
    codes: ByteArray
    scale: FloatArray
    lost: FloatArray
    length: FloatArray


def centre_of(rows: Matrix) -> FloatArray:
    """Return the mean (D,) of some rows (N, D). Bounds hold for any centre, and are narrowest near the middle."""
    mean: FloatArray = as_float32(rows).mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def encode(rows: Matrix, centre: FloatArray) -> Codes:
    """Quantise rows (N, D) of float32 or float16."""
    codes, scale, lost = _quantised(rotated(as_float32(rows).astype(np.float64) - centre))
    length = np.linalg.norm(codes.astype(np.float32), axis=1) * scale
    return Codes(centre, codes, scale, lost * _UP, length.astype(np.float32) * _UP)


def encode_queries(queries: Matrix) -> CodedQueries:
    """Quantise queries (Q, D) of float32 or float16."""
    vectors = as_float32(queries)
    # In float64, since the squares of numbers below 1e-23 are 0 in float32.
    exact = vectors.astype(np.float64)
    codes, scale, lost = _quantised(rotated(exact))
    return CodedQueries(vectors, codes, scale, lost * _UP, np.linalg.norm(exact, axis=1).astype(np.float32) * _UP)


def bounds(queries: CodedQueries, rows: Codes) -> tuple[FloatArray, FloatArray]:
    r"""Return the least and the largest value that the exact score of each query with each row can have.

    With R a rotation, x = m + y a row and m the centre: ``R y = a c + e`` with the codes c and the scale a, and
    ``R q = b d + f`` for a query q. A rotation changes no dot product, so

        x·q = m·q + (R y)·(R q) = m·q + a b (c·d) + (a c)·f + e·(R q).

    By the inequality of Cauchy and Schwarz the third term is at most ``|a c| |f|`` and the last at most ``|e| |q|``
    in size. The lengths ``|a c|``, ``|e|``, ``|f|`` and ``|q|`` are measured, not estimated, when rows and queries are
    coded. ``c·d`` is an integer, computed exactly. So x·q lies within ``|a c| |f| + |e| |q|`` of ``m·q + a b (c·d)``.

    Rounding adds to that. R is applied in float64, with at most log2(D) + 2 roundings of 2**-53: 2**-48 of a
    row's length. Here, ``c·d``, the two scalings, the sum, the bound (three roundings) and its addition are each
    rounded to float32, a relative error of u = 2**-24 of terms that are at most ``(|a c| + |m| + |e|) |q|`` in size,
    and :func:`~datumaro_clip.similarity.exact_scores` is rounded once. For unit rows, as a store holds them, these
    lengths add up to less than 4: at most 8 roundings of 4 u, 2**-19 ``|q|``, are added to the bound; and 2**-100, for
    subnormal numbers, whose rounding error is absolute.

    Parameters
    ----------
    queries : CodedQueries
        Q queries.
    rows : Codes
        B rows.

    Returns
    -------
    lower, upper : numpy.ndarray
        (Q, B) float32.
    """
    middle: FloatArray = byte_products(queries.codes, rows.codes).astype(np.float32)
    middle *= rows.scale
    middle *= queries.scale[:, None]
    middle += np.einsum("qd,d->q", queries.vectors, rows.centre, dtype=np.float64).astype(np.float32)[:, None]
    width = rows.length * queries.lost[:, None]
    width += rows.error * queries.length[:, None]
    width += np.float32(_ROUNDING) * queries.length[:, None] + np.float32(_UNDERFLOW)
    return middle - width, np.add(middle, width, out=middle)


def rotated(rows: Doubles) -> Doubles:
    """Rotate rows (N, D) so that their length is spread over all columns.

    CLIP's vectors have columns that are ten times as large as the others; with one scale per row, the others would get
    few of the 255 levels. Random signs and a Hadamard transform spread them, as in Ailon and Chazelle, "The fast
    Johnson–Lindenstrauss transform" (SIAM J. Comput. 39, 2009). If D is 2**n times an odd number, blocks of 2**n
    columns are transformed.
    """
    count, dimension = rows.shape
    block = dimension & -dimension
    rows = rows * _signs(dimension)
    half = 1
    while half < block:
        pairs = rows.reshape(count, -1, 2, half)
        rows = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2)
        half *= 2
    turned: Doubles = rows.reshape(count, dimension) / np.sqrt(block)
    return turned


@lru_cache(maxsize=8)
def _signs(dimension: int) -> Doubles:
    """Return random signs (D,), the same on every machine: NumPy never changes the generator's raw stream."""
    return np.where(np.random.PCG64(0).random_raw(dimension) & 1, 1.0, -1.0)


def _quantised(rows: Doubles) -> tuple[ByteArray, FloatArray, FloatArray]:
    """Return the codes and the scale of each row, and the length of its quantisation error."""
    peaks = np.abs(rows).max(axis=1, initial=0.0)
    scale = (peaks / _LARGEST).astype(np.float32)
    # Such small numbers are rounded to codes of 0.
    scale[scale < np.finfo(np.float32).tiny] = 1
    codes = np.clip(np.rint(rows / scale[:, None]), -_LARGEST, _LARGEST)
    lost = np.linalg.norm(rows - codes * scale[:, None].astype(np.float64), axis=1)
    return codes.astype(np.int8), scale, lost.astype(np.float32)
