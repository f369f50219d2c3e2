"""Mends what keeps Datumaro from writing a dataset that it has read; results that it gave before stay the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np


def widened(masks: Iterable[Any]) -> Iterator[Any]:
    """Give each mask of (mask, index) pairs a dtype that holds its index; anything else passes unchanged.

    Datumaro 1.13 multiplies a uint8 mask by its annotation's id when it writes COCO panoptic masks. Since NumPy 2 that
    raises for ids above 255, which every COCO crowd region has.
    """
    for mask in masks:
        if isinstance(mask, tuple) and len(mask) == 2:
            pixels, index = np.asarray(mask[0]), mask[1]
            mask = (pixels.astype(np.promote_types(pixels.dtype, np.min_scalar_type(index)), copy=False), index)
        yield mask
