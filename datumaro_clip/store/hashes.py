"""Finding rows by the 32-bit hashes of their keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from datumaro_clip.vectors import ItemKey

Hashes = npt.NDArray[np.uint32]
Rows = npt.NDArray[np.int64]

_LOW = np.uint64(2**32 - 1)
_BITS = np.uint64(32)


class HashIndex:
    """Rows in the order of their hashes.

    Parameters
    ----------
    hashes : numpy.ndarray
        (n,) uint32.
    rows : numpy.ndarray
        (n,), each below 2**32: what the hashes are of.
    """

    def __init__(self, hashes: Hashes, rows: Rows) -> None:
        # One number for hash and row sorts faster than an order of hashes is found.
        self._sorted = np.sort(hashes.astype(np.uint64) << _BITS | rows.astype(np.uint64))

    def rows_of(self, wanted: int) -> list[int]:
        """Rows of one hash, ascending."""
        first = np.uint64(wanted) << _BITS
        start, stop = np.searchsorted(self._sorted, first), np.searchsorted(self._sorted, first | _LOW, side="right")
        return [int(row) for row in self._sorted[start:stop] & _LOW]

    def repeated(self) -> Rows:
        """Rows whose hash another row has too, ascending."""
        hashes = self._sorted >> _BITS
        same = np.flatnonzero(hashes[1:] == hashes[:-1])
        return np.unique(self._sorted[np.concatenate([same, same + 1])] & _LOW).astype(np.int64)


def possible_rows(hashes: Hashes, wanted: Sequence[int]) -> Rows:
    """Rows, ascending, whose hash may be a wanted one: all that are, and one in 65,536 others for each wanted."""
    is_wanted = np.zeros(2**16, bool)
    is_wanted[np.array(wanted, np.uint32).astype(np.uint16)] = True
    return np.flatnonzero(is_wanted[hashes.astype(np.uint16)])


def repeated_key(hashes: Hashes, key: Callable[[int], ItemKey]) -> ItemKey | None:
    """A key that two rows share, if there is one; only the keys of rows of equal hash are asked for."""
    suspects = HashIndex(hashes, np.arange(len(hashes))).repeated()
    counted = Counter(key(int(row)) for row in suspects)
    return next((found for found, count in counted.items() if count > 1), None)
