"""A store's vectors as a matrix that is not in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from datumaro_clip.store.base import Array
from datumaro_clip.store.columns import Column

Rows = npt.NDArray[np.int64]

# Rows that are read together for indices that lie close to one another.
_NEAR = 1024


class StoredRows:
    """Live vectors, (N, D), read when they are sliced or indexed; a block is checked when it is first read.

    Parameters
    ----------
    parts : sequence of (Column, numpy.ndarray)
        Each segment's vectors, and which of them are live, ascending.
    dimension : int
        D.
    dtype : numpy dtype string
        As they are stored.
    """

    ndim = 2

    def __init__(self, parts: Sequence[tuple[Column, Rows]], dimension: int, dtype: str) -> None:
        self._parts = parts
        self._starts = np.cumsum([0, *(len(live) for _, live in parts)])
        self.shape = (int(self._starts[-1]), dimension)
        self.dtype = np.dtype(dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Rows) -> Array:
        """Rows ``start`` to ``stop`` of a slice without a step, or those of an array of indices."""
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(len(self))
            pieces = list(self._read(start, stop))
            return pieces[0] if len(pieces) == 1 else np.concatenate([self._no_rows(), *pieces])
        return self._gathered(np.asarray(rows, np.int64))

    def _read(self, start: int, stop: int) -> Iterator[Array]:
        """The pieces of consecutive rows, one a segment."""
        for (column, live), first in zip(self._parts, self._starts, strict=False):
            wanted = live[max(start - first, 0) : max(stop - first, 0)]
            if len(wanted):
                block = column.read(int(wanted[0]), int(wanted[-1]) + 1)
                yield block if len(block) == len(wanted) else block[wanted - wanted[0]]

    def _gathered(self, rows: Rows) -> Array:
        """Rows in any order; those that lie close to one another are read once."""
        order = np.argsort(rows, kind="stable")
        gathered = np.empty((len(rows), self.shape[1]), self.dtype)
        for near in np.split(order, np.flatnonzero(np.diff(rows[order] // _NEAR)) + 1) if len(rows) else []:
            first = int(rows[near[0]])
            gathered[near] = self[first : int(rows[near[-1]]) + 1][rows[near] - first]
        return gathered

    def _no_rows(self) -> Array:
        return np.empty((0, self.shape[1]), self.dtype)
