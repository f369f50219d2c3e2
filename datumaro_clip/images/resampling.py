"""Pillow's resize, pixel for pixel, of the part that is kept alone, and in two thirds of its time."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from datumaro_clip.images.axis_filter import AxisFilter, Pixels, taps_of

Window = tuple[int, int, int, int]

# Pillow makes a picture narrow first, but one of more than so many times its width flat first, where that shrinks it.
_TALL = 100
# Filters kept: most datasets have pictures of few sizes.
_FILTERS = 256


def resize_window(picture: Image.Image, size: tuple[int, int], window: Window, resample: Image.Resampling) -> Pixels:
    """A window of a picture resized: what ``picture.resize(size, resample).crop(window)`` shows.

    Nothing outside of the window is made: a sliver of 1×5,000 pixels, its shortest edge resized to 224, would have 250
    million, but costs no more than what is kept of it.

    Parameters
    ----------
    picture : PIL.Image.Image
        Mode ``RGB``.
    size : tuple of int
        (W, H) of the whole picture once resized, in pixels.
    window : tuple of int
        (left, top, right, bottom) within that, in pixels, not empty.
    resample : PIL.Image.Resampling
        Any filter of Pillow's.

    Returns
    -------
    numpy.ndarray
        Shape (bottom - top, right - left, 3), uint8, C-contiguous.
    """
    if size == picture.size:
        return np.array(picture.crop(window))
    if picture.height > _TALL * picture.width and picture.height > size[1]:
        turned = picture.transpose(Image.Transpose.TRANSPOSE)
        return _transposed(resize_window(turned, size[::-1], (*window[1::-1], *window[:1:-1]), resample))
    left, top, right, bottom = window
    across = _axis_filter(picture.width, size[0], left, right, resample)
    down = _axis_filter(picture.height, size[1], top, bottom, resample)
    columns = np.concatenate([across(_transposed(picture.crop(box))) for box in _strips(across, down)], axis=1)
    rows = _transposed(columns)
    return np.concatenate([down(rows[:, x : x + down.step]) for x in range(0, right - left, down.step)], axis=1)


def _strips(across: AxisFilter, down: AxisFilter) -> list[Window]:
    """Boxes, one below the other, of what both filters use of a picture."""
    tops = range(down.start, down.stop, across.step)
    return [(across.start, top, across.stop, min(top + across.step, down.stop)) for top in tops]


@lru_cache(_FILTERS)
def _axis_filter(inputs: int, outputs: int, begin: int, end: int, resample: Image.Resampling) -> AxisFilter:
    """The filter for outputs ``begin`` to ``end`` of an axis whose ``inputs`` pixels become ``outputs``."""
    return AxisFilter(inputs, inputs / outputs, *taps_of(inputs, outputs, np.arange(begin, end), resample))


def _transposed(pixels: Image.Image | Pixels) -> Pixels:
    """(M, N, 3) of (N, M, 3)."""
    import cv2  # Twenty times as fast as NumPy here; but a tenth of a second to import, which not every run needs.

    transposed: npt.NDArray[np.uint8] = cv2.transpose(np.asarray(pixels))
    return transposed
