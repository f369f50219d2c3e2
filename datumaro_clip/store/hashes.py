"""Find rows by the 32-bit hashes of their keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from datumaro_clip.vectors import ItemKey

Hashes = npt.NDArray[np.uint32]
Rows = npt.NDArray[np.int64]

_LOW = np.uint64(2**32 - 1)
_BITS = np.uint64(32)


class HashIndex:
    """Rows sorted by their hashes.

    Parameters
    ----------
    hashes : numpy.ndarray
        (n,) uint32.
    rows : numpy.ndarray
        (n,), each below 2**32: the row of each hash.
    """

    def __init__(self, hashes: Hashes, rows: Rows) -> None:
        # Sorting numbers that hold hash and row is faster than argsort of the hashes.
        self._sorted = np.sort(hashes.astype(np.uint64) << _BITS | rows.astype(np.uint64))

    def rows_of(self, wanted: int) -> list[int]:
        """Return the rows of one hash, ascending."""
        first = np.uint64(wanted) << _BITS
        start, stop = np.searchsorted(self._sorted, first), np.searchsorted(self._sorted, first | _LOW, side="right")
        return [int(row) for row in self._sorted[start:stop] & _LOW]

    def repeated(self) -> Rows:
        """Return the rows that share their hash with another row, ascending."""
        hashes = self._sorted >> _BITS
        same = np.flatnonzero(hashes[1:] == hashes[:-1])
        return np.unique(self._sorted[np.concatenate([same, same + 1])] & _LOW).astype(np.int64)


def possible_rows(hashes: Hashes, wanted: Sequence[int]) -> Rows:
    """Return all rows of the wanted hashes, and by chance one in 65,536 others for each wanted hash; ascending."""
    is_wanted = np.zeros(2**16, bool)
    is_wanted[np.array(wanted, np.uint32).astype(np.uint16)] = True
    return np.flatnonzero(is_wanted[hashes.astype(np.uint16)])


def repeated_keys(hashes: Hashes, key: Callable[[int], ItemKey]) -> dict[ItemKey, list[int]]:
    """Return the keys that several rows share, with these rows; asks only for keys of rows that share a hash."""
    rows_by_key: dict[ItemKey, list[int]] = defaultdict(list)
    for row in HashIndex(hashes, np.arange(len(hashes))).repeated().tolist():
        rows_by_key[key(row)].append(row)
    return {found: rows for found, rows in rows_by_key.items() if len(rows) > 1}


def locate(starts: Rows, row: int) -> tuple[int, int]:
    """Return which of several joined parts a row is in, and its row there; ``starts`` has each part's first row."""
    part = int(np.searchsorted(starts, row, side="right")) - 1
    return part, row - int(starts[part])
