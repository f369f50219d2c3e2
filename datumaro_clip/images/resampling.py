"""Resizes a window of a picture to the very pixels that Pillow makes, in about half the time.

The weights are Pillow's; sums are made in float32, and rounded as exact ones would be. On an AMD EPYC, one thread, to
224 pixels, this takes 0.3 to 0.6 of the CPU time of ``resize`` and ``crop`` with a bicubic filter, and 0.45 to 0.87
with a bilinear one.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from PIL.Image import Resampling

Window = tuple[int, int, int, int]
Pixels = npt.NDArray[np.uint8]
_Indices = npt.NDArray[np.intp]
_Floats = npt.NDArray[np.float64]
_Singles = npt.NDArray[np.float32]

# Pillow rounds weights to multiples of 2^-22, and the results of its two passes to whole levels (its Resample.c).
# Float32 holds such a weight exactly; float64 also holds sums of such weights times levels exactly.
_WEIGHT_STEPS = 1 << 22
# Outputs that share a matrix of weights: with more, more zeros are multiplied; with fewer, there are more products.
_BAND = 3
# Multiplications in one product: too few for BLAS to start threads, and their operands fit the processor's cache.
_PRODUCT = 1 << 16

# Pillow resizes the width first, but the height of a picture that is more than so many times as high as wide, if it
# shrinks.
_TALL = 100
# Filters kept: most datasets have pictures of few sizes.
_FILTERS = 256

# Written as C floats in Pillow.
_HAMMING_MEAN, _HAMMING_SWING = float(np.float32(0.54)), float(np.float32(0.46))


def _hamming(x: _Floats) -> _Floats:
    return np.sinc(x) * (_HAMMING_MEAN + _HAMMING_SWING * np.cos(np.pi * x)) * (np.abs(x) < 1)


def _cubic(x: _Floats) -> _Floats:
    """Cubic convolution with a = -0.5 (Keys, 1981, equation 4)."""
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


#: How many inputs each kernel reaches to either side if the picture is not shrunk, and the kernel.
_KERNELS: dict[Resampling, tuple[float, Callable[[_Floats], _Floats]]] = {
    Resampling.BOX: (0.5, lambda x: ((x > -0.5) & (x <= 0.5)).astype(np.float64)),
    Resampling.BILINEAR: (1.0, lambda x: np.maximum(1 - np.abs(x), 0)),
    Resampling.HAMMING: (1.0, _hamming),
    Resampling.BICUBIC: (2.0, _cubic),
    Resampling.LANCZOS: (3.0, lambda x: np.sinc(x) * np.sinc(x / 3) * (np.abs(x) < 3)),
}


def taps_of(inputs: int, outputs: int, which: _Indices, resample: Resampling) -> tuple[_Indices, _Floats]:
    """Compute Pillow's weights for some neighbouring outputs of an axis whose ``inputs`` pixels become ``outputs``.

    Parameters
    ----------
    inputs, outputs : int
        Pixels of the whole axis.
    which : numpy.ndarray
        Shape (N,): the wanted outputs, ascending.
    resample : PIL.Image.Resampling

    Returns
    -------
    first : numpy.ndarray
        Shape (N,): each output's first input; it may lie before the picture.
    taps : numpy.ndarray
        Shape (N, T), float64: the weights of the T inputs from there on, zero outside of the picture.
    """
    scale = inputs / outputs
    if resample == Resampling.NEAREST:
        return _nearest(scale, which), np.ones((len(which), 1))
    reach, kernel = _KERNELS[resample]
    stretch = max(scale, 1.0)
    centre = (which + 0.5)[:, None] * scale
    first, last = (np.floor(centre + side * reach * stretch + 0.5).astype(np.intp) for side in (-1, 1))
    position = first + np.arange((last - first).max())
    used = (position >= 0) & (position < np.minimum(last, inputs))
    weights = kernel((position - centre + 0.5) / stretch) * used
    weights /= weights.sum(axis=1, keepdims=True)
    return first[:, 0], np.trunc(weights * _WEIGHT_STEPS + np.copysign(0.5, weights)) / _WEIGHT_STEPS


def _nearest(scale: float, which: _Indices) -> _Indices:
    """Return the input under each output's centre, with the rounding errors of Pillow, which adds up steps."""
    steps = np.full(which[-1] + 1, scale)
    steps[0] = scale * 0.5
    return np.cumsum(steps)[which].astype(np.intp)


class AxisFilter:
    """Computes N outputs of an axis from its inputs ``start`` to ``stop``.

    Outputs that begin near one another form a band: a matrix of their weights is multiplied by the inputs that they
    share. These sums are in float32; one that is too near to a half to tell how the exact sum is rounded is computed
    again in float64. So the results depend neither on the order of additions nor on the library.

    Parameters
    ----------
    inputs : int
        Pixels of the axis.
    scale : float
        Inputs for an output.
    first, taps : numpy.ndarray
        Shapes (N,) and (N, T), as of :func:`taps_of`.
    """

    def __init__(self, inputs: int, scale: float, first: _Indices, taps: _Floats) -> None:
        count = taps.shape[1]
        self.start, self.stop = max(int(first[0]), 0), min(int(first[-1]) + count, inputs)
        self._places, self._taps = first - first[0], taps
        self._before = self.start - int(first[0])
        self._stride = max(round(_BAND * scale), 1)
        band, place = np.divmod(self._places, self._stride)
        row = np.arange(len(band)) - np.searchsorted(band, band)
        self._bands = np.zeros((band[-1] + 1, row.max() + 1, self._stride + count - 1), np.float32)
        self._bands[band[:, None], row[:, None], place[:, None] + np.arange(count)] = taps
        self._rows = band * self._bands.shape[1] + row
        # The rounding error of a sum in float32, and of adding a half, in levels (Higham, 2002, section 3.1).
        self._error = 255 * float(np.abs(taps).sum(axis=1).max()) * (count + 2) * 2.0**-24

    @property
    def step(self) -> int:
        """How many pixels across the axis are best computed at a time."""
        return max(_PRODUCT // (3 * int(self._bands[0].size)), 1)

    def __call__(self, inputs: Pixels) -> Pixels:
        """Compute the outputs, (N, M, 3) uint8, of inputs (stop - start, M, 3) uint8."""
        # Zeros where there is no input.
        length, end = (len(self._bands) - 1) * self._stride + self._bands.shape[2], self._before + len(inputs)
        levels = _scratch("levels", (length, math.prod(inputs.shape[1:])))
        levels[: self._before], levels[end:] = 0, 0
        levels[self._before : end] = inputs.reshape(len(inputs), -1)
        # The weighted sums, band by band, with an error of at most _error.
        windows = sliding_window_view(levels, self._bands.shape[2], axis=0)[:: self._stride]
        banded = _scratch("sums", (*self._bands.shape[:2], levels.shape[1]))
        np.matmul(self._bands, windows.transpose(0, 2, 1), out=banded)
        sums = np.clip(banded, 0, 255, out=banded).reshape(-1, levels.shape[1])
        low, high = (_whole(sums, 0.5 + error)[self._rows] for error in (-self._error, self._error))
        doubtful = np.flatnonzero(low != high)
        low.reshape(-1)[doubtful] = self._exact(*np.divmod(doubtful, levels.shape[1]), levels)
        outputs: Pixels = low.reshape(-1, *inputs.shape[1:])
        return outputs

    def _exact(self, outputs: _Indices, across: _Indices, levels: _Singles) -> Pixels:
        """Compute the outputs at some places by sums without rounding."""
        inputs = self._places[outputs][:, None] + np.arange(self._taps.shape[1])
        sums: _Floats = (self._taps[outputs] * levels[inputs, across[:, None]]).sum(axis=1)
        return _whole(np.clip(sums, 0, 255), 0.5)


class _Scratch(threading.local):
    """Memory of a thread that is used again: allocating a megabyte can take longer than filling it."""

    def __init__(self) -> None:
        self._memory: dict[str, _Singles] = {}

    def __call__(self, name: str, shape: tuple[int, ...]) -> _Singles:
        """Return an uninitialised array of this shape, valid until the thread asks for another one of that name."""
        size = math.prod(shape)
        if name not in self._memory or self._memory[name].size < size:
            self._memory[name] = np.empty(size, np.float32)
        return self._memory[name][:size].reshape(shape)


_scratch = _Scratch()


def _whole(sums: npt.NDArray[np.floating[Any]], half: float) -> Pixels:
    """Round sums from 0 to 255 to levels: up if the next level is at most ``half`` above, else down."""
    levels: Pixels = np.empty(sums.shape, np.uint8)
    np.add(sums, sums.dtype.type(half), out=levels, casting="unsafe")
    return levels


def resize_window(picture: Image.Image, size: tuple[int, int], window: Window, resample: Image.Resampling) -> Pixels:
    """Return the pixels of ``picture.resize(size, resample).crop(window)``.

    Only the window is computed: a picture of 1×5,000 pixels, with its shortest edge resized to 224, would have 250
    million pixels.

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
    # The part of the picture that both filters use, in horizontal strips.
    strips = [(top, min(top + across.step, down.stop)) for top in range(down.start, down.stop, across.step)]
    parts = [picture.crop((across.start, top, across.stop, end)) for top, end in strips]
    rows = _transposed(np.concatenate([across(_transposed(part)) for part in parts], axis=1))
    return np.concatenate([down(rows[:, x : x + down.step]) for x in range(0, right - left, down.step)], axis=1)


@lru_cache(_FILTERS)
def _axis_filter(inputs: int, outputs: int, begin: int, end: int, resample: Image.Resampling) -> AxisFilter:
    """Make the filter for outputs ``begin`` to ``end`` of an axis whose ``inputs`` pixels become ``outputs``."""
    return AxisFilter(inputs, inputs / outputs, *taps_of(inputs, outputs, np.arange(begin, end), resample))


def _transposed(pixels: Image.Image | Pixels) -> Pixels:
    """Transpose pixels (N, M, 3) to (M, N, 3)."""
    import cv2  # Twenty times as fast as NumPy here; imported here, as it takes a tenth of a second.

    transposed: npt.NDArray[np.uint8] = cv2.transpose(np.asarray(pixels))
    return transposed
