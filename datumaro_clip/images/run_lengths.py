"""Reads COCO's compressed run lengths of binary masks: numbers of pixels outside, inside, outside …, by columns."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Most characters of one number.
_MOST_PLACES = 7


def run_lengths(counts: str) -> npt.NDArray[np.int64] | None:
    """Decode compressed run lengths to numbers (R,); None if the text is malformed.

    The format is that of COCO's ``rleToString`` (maskApi.c): each character, less 48, holds five bits, and a sixth that
    says whether the number continues; from the fourth number on, each is the difference to the one two before.
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
