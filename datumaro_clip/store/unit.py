"""What a store demands of its vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datumaro_clip.errors import InvalidVectorError
from datumaro_clip.similarity.kernels import squared_lengths
from datumaro_clip.store.base import Array
from datumaro_clip.vectors import UNIT_TOLERANCE, ItemKey


def require_unit_rows(keys: Sequence[ItemKey], rows: Array) -> None:
    """Check vectors as they will be stored.

    Parameters
    ----------
    keys : sequence of ItemKey
        The item of each row.
    rows : numpy.ndarray
        (n, D), float32 or float16.

    Raises
    ------
    InvalidVectorError
        If a row is not finite and of unit length; the message names the item of the first.
    """
    lengths = np.sqrt(squared_lengths(rows))
    is_unit = np.abs(lengths - 1) <= UNIT_TOLERANCE
    if not is_unit.all():
        row = int(np.argmin(is_unit))
        raise InvalidVectorError(
            f"a vector of {keys[row]} has length {lengths[row]:.6g}; a store keeps finite vectors of unit length: "
            "see datumaro_clip.vectors.unit_rows"
        )
