"""Binary masks as COCO's run lengths: how many pixels are out, in, out …, column by column."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Characters of one number.
_MOST_PLACES = 7


def run_lengths(counts: str) -> npt.NDArray[np.int64] | None:
    """COCO's compressed run lengths as numbers (R,); None where the text is no such thing.

    The format is COCO's ``rleToString`` (maskApi.c): five bits a character from 48 on, the sixth says that the number
    goes on; from the fourth number on, each is the difference to the one two before.
    """
    parts = np.frombuffer(counts.encode("utf-8", "surrogatepass"), np.uint8).astype(np.int64) - 48
    is_last = (parts & 32) == 0
    if not len(parts) or not is_last[-1] or parts.min() < 0 or parts.max() >= 64:
        return None
    ends = np.flatnonzero(is_last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    places = np.arange(len(parts)) - np.repeat(starts, ends - starts + 1)
    if places.max() >= _MOST_PLACES:
        return None
    numbers = np.add.reduceat((parts & 31) << 5 * places, starts)
    numbers -= np.where(parts[ends] & 16, np.int64(1) << 5 * (places[ends] + 1), 0)
    runs = numbers.copy()
    runs[1::2], runs[2::2] = np.cumsum(numbers[1::2]), np.cumsum(numbers[2::2])
    return runs if runs.min() >= 0 else None
