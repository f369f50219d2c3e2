"""A store's vectors as a matrix that is read from the disk when indexed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from datumaro_clip.store.base import Array
from datumaro_clip.store.columns import Column

Rows = npt.NDArray[np.int64]

# Indices in the same range of so many rows are read together.
_NEAR = 1024


class StoredRows:
    """Live vectors, (N, D), read when they are indexed; each block is checked when it is first read.

    Parameters
    ----------
    parts : sequence of (Column, numpy.ndarray)
        The vectors of each segment, and the indices of the live ones, ascending.
    dimension : int
        D.
    dtype : str
        NumPy dtype string of the stored vectors.
    """

    ndim = 2

    def __init__(self, parts: Sequence[tuple[Column, Rows]], dimension: int, dtype: str) -> None:
        self._parts = parts
        self._starts = np.cumsum([0, *(len(live) for _, live in parts)])
        self.shape = (int(self._starts[-1]), dimension)
        self.dtype = np.dtype(dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice | npt.ArrayLike) -> Array:
        """Read one row (D,), or the rows of a slice, an array of indices or a mask (N,), as indexing an array does.

        Raises
        ------
        IndexError
            If an index is out of bounds, or of another type.
        """
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            return self._consecutive(start, stop) if step == 1 else self._gathered(np.arange(start, stop, step))
        indices = np.asarray(rows)
        if indices.dtype == bool and indices.shape == (len(self),):
            return self._gathered(np.flatnonzero(indices))
        if indices.ndim > 1 or not (np.issubdtype(indices.dtype, np.integer) or indices.shape == (0,)):
            raise IndexError(f"wanted a row, a slice, indices (n,) or a mask ({len(self)},), got {rows!r}")
        outside = (indices < -len(self)) | (indices >= len(self))
        if outside.any():
            raise IndexError(f"row {indices[outside].flat[0]} of {len(self)} rows")
        found = self._gathered(np.atleast_1d(np.where(indices < 0, indices + len(self), indices)).astype(np.int64))
        return found[0] if indices.ndim == 0 else found

    def _consecutive(self, start: int, stop: int) -> Array:
        pieces = list(self._read(start, stop))
        return pieces[0] if len(pieces) == 1 else np.concatenate([np.empty((0, self.shape[1]), self.dtype), *pieces])

    def _read(self, start: int, stop: int) -> Iterator[Array]:
        """Yield consecutive rows, one piece for each segment."""
        for (column, live), first in zip(self._parts, self._starts, strict=False):
            wanted = live[max(start - first, 0) : max(stop - first, 0)]
            if len(wanted):
                block = column.read(int(wanted[0]), int(wanted[-1]) + 1)
                yield block if len(block) == len(wanted) else block[wanted - wanted[0]]

    def _gathered(self, rows: Rows) -> Array:
        """Read rows in any order; those that lie close to one another are read together."""
        order = np.argsort(rows, kind="stable")
        gathered = np.empty((len(rows), self.shape[1]), self.dtype)
        for near in np.split(order, np.flatnonzero(np.diff(rows[order] // _NEAR)) + 1) if len(rows) else []:
            first = int(rows[near[0]])
            gathered[near] = self._consecutive(first, int(rows[near[-1]]) + 1)[rows[near] - first]
        return gathered
