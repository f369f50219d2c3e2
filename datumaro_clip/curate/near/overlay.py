"""One picture of a pair laid on the other at full resolution; with OpenCV.

The map between them is a 3×3 affine matrix from pixels of the picture below (the *target*) to pixels of the one above.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from io import BytesIO
from os import PathLike
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from datumaro_clip.curate.near.alignment import Map
from datumaro_clip.curate.near.rings import SIDE
from datumaro_clip.images import ImageLike, decode
from datumaro_clip.vectors import FloatArray

#: Pictures of more pixels are compared at this many (2,000×2,000): at about half the size for a photo of 16 megapixels.
MOST_PIXELS = 4_000_000

Pixels = npt.NDArray[np.uint8]
Matrix = npt.NDArray[np.float64]
Inside = npt.NDArray[np.uint8]

# A map this close to the whole frame, in sides, is first tried as the whole frame itself.
_NEARLY_WHOLE = 0.04
# Pixels by which the farthest corner may be off.
_PLACED = 0.05
_ON_THE_GRID = 0.25
_PLACED_ROUGHLY = 0.5
_ROUNDS = 4
_ECC_SIDE = 256
_ECC_STEPS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-4)
# A grid needs to fit a little better than the whole frame, which is exact where it is true.
_WORTHWHILE = 0.97
_SAMPLE_SIDE = 384
_EQUATIONS = 40_000
_CORNERS = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]], np.float64)


class JpegTables(NamedTuple):
    """How a JPEG rounds the DCT coefficients of 8×8 blocks: steps (8, 8), float32, of lightness and of colour."""

    lightness: FloatArray
    colour: FloatArray
    halved: bool
    """Whether colours are stored at half the width and height (4:2:0)."""


class Picture(NamedTuple):
    """A picture as it is compared.

    Attributes
    ----------
    pixels : numpy.ndarray
        Shape (H, W, 3), uint8 RGB; no more than ``MOST_PIXELS``.
    tables : JpegTables, optional
        Of a JPEG whose pixels these are, unshrunk.
    size : tuple of int
        Width and height as stored.
    """

    pixels: Pixels
    tables: JpegTables | None
    size: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Bytes that the pixels take."""
        return self.pixels.nbytes

    def shrunk(self, most_pixels: int) -> Picture:
        """The same picture at no more than this many pixels."""
        height, width = self.pixels.shape[:2]
        scale = math.sqrt(most_pixels / (height * width))
        if scale >= 1:
            return self
        size = max(1, round(width * scale)), max(1, round(height * scale))
        return Picture(_pixels(cv2.resize(self.pixels, size, interpolation=cv2.INTER_AREA)), None, self.size)


class Overlay(NamedTuple):
    """The second picture as the target would show it.

    Attributes
    ----------
    pixels : numpy.ndarray
        Shape (H, W, 3) of the target, uint8 RGB.
    inside : numpy.ndarray
        Shape (H, W), uint8: 1 where both pictures show something.
    on_grid : bool
        Whether each of its pixels is a pixel of the second picture, or that picture resized as a whole; elsewhere it
        was interpolated, and edges may be off by a pixel.
    where : numpy.ndarray
        Shape (3, 3): the map.
    """

    pixels: Pixels
    inside: Inside
    on_grid: bool
    where: Matrix


def read_picture(source: ImageLike) -> Picture:
    """Decode a picture, and read how it was encoded.

    Raises
    ------
    ImageError
        Whatever is wrong with it; the reason says which.
    """
    picture = decode(source)
    whole = Picture(np.asarray(picture), _tables(source), picture.size)
    return whole.shrunk(MOST_PIXELS)


def _tables(source: ImageLike) -> JpegTables | None:
    """The quantisation tables in the header of a JPEG file; None for everything else."""
    if not isinstance(source, str | bytes | PathLike):
        return None
    with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as header:
        steps = getattr(header, "quantization", None)
        layers = getattr(header, "layer", [])
    if not steps or not layers:
        return None
    # A layer is (name, horizontal sampling, vertical sampling, number of its table).
    lightness, colour = (np.array(steps[layer[3]], np.float32).reshape(8, 8) for layer in (layers[0], layers[-1]))
    return JpegTables(lightness, colour, len(layers) == 3 and layers[0][1:3] == (2, 2))


def full_map(where: Map, first: Picture, second: Picture) -> Matrix:
    """From a map (2, 3) of thumbnails to the map of the pictures: from pixels of the first to pixels of the second."""
    square = _frame((SIDE, SIDE))
    thumbnails = np.vstack([np.asarray(where, np.float64), [0, 0, 1]])
    fractions = square @ thumbnails @ np.linalg.inv(square)
    return _matrix(np.linalg.inv(_frame(second.pixels.shape)) @ fractions @ _frame(first.pixels.shape))


def scale_of(where: Matrix) -> float:
    """How many pixels above lie on a pixel's side below."""
    return math.sqrt(abs(float(np.linalg.det(where[:2, :2]))))


def lay(above: Pixels, target: Pixels, start: Matrix, likeness: Callable[[Pixels, Inside], FloatArray]) -> Overlay:
    """Lay a picture on another one, from about the right place on.

    Parameters
    ----------
    above, target : numpy.ndarray
        Shapes (h, w, 3) and (H, W, 3), uint8 RGB.
    start : numpy.ndarray
        Shape (3, 3): from pixels of the target to pixels above.
    likeness : callable
        Lightness (H, W), float32, of what was laid, in the target's light, given also where it is inside.
    """
    lightness = grey(target)
    whole = _whole_frame(start, target, above)
    found = []
    off = math.inf
    if whole is not None:
        laid = resized(_turned(above, whole), target)
        everywhere = np.ones(target.shape[:2], np.uint8)
        lit = likeness(laid, everywhere)
        start = _matrix(np.linalg.inv(_frame(above.shape)) @ whole @ _frame(target.shape))
        _, off = _correction(lit, lightness, everywhere)
        found.append((float(cv2.absdiff(lit, lightness).mean()), Overlay(laid, everywhere, True, start)))
    if off > _PLACED:
        where = _refined(above, target, start) if off > _PLACED_ROUGHLY else start
        for _ in range(_ROUNDS):
            laid, inside = _warped(above, where, target.shape)
            step, off = _correction(likeness(laid, inside), lightness, inside)
            if off < _PLACED:
                break
            where = _matrix(where @ step)
        where, on_grid = _on_grid(where, target.shape)
        laid, inside = _warped(above, where, target.shape)
        inside = _pixels(cv2.erode(inside, np.ones((5, 5), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0))
        if inside.any():
            error = cv2.mean(cv2.absdiff(likeness(laid, inside), lightness), inside)[0]
            found.append((_WORTHWHILE * error, Overlay(laid, inside, on_grid, where)))
    return min(found, key=lambda each: each[0])[1] if found else Overlay(target, inside, False, start)


def grey(pixels: npt.NDArray[Any]) -> FloatArray:
    """Lightness (H, W), float32, 0 to 255, as JPEG weighs the channels (ITU-R BT.601)."""
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.float32)


def slopes(picture: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Change per pixel, across and down."""
    across, down = (cv2.Sobel(picture, cv2.CV_32F, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1)))
    return across, down


def least_squares(terms: list[FloatArray], wanted: FloatArray, inside: Inside) -> npt.NDArray[np.float64]:
    """Weights (T,) by which the terms (H, W) sum to what is wanted, over places inside; what does not fit is left out.

    Three rounds, the later ones without what was off by more than three times the median: an edit has no say.
    """
    stride = max(1, math.isqrt(inside.size // _EQUATIONS))
    thin = (slice(stride // 2, None, stride),) * 2
    chosen = inside[thin].astype(np.bool_)
    if chosen.sum() < 10 * len(terms):
        return np.zeros(len(terms))
    table = np.stack([term[thin][chosen] for term in terms], axis=1).astype(np.float64)
    aim = wanted[thin][chosen].astype(np.float64)
    scales = np.maximum(np.sqrt((table * table).mean(axis=0)), 1e-6)
    table /= scales
    fits = np.ones(len(aim), np.bool_)
    weights = np.zeros(len(terms))
    for _ in range(3):
        some = table[fits]
        weights = np.linalg.solve(some.T @ some + 1e-6 * len(aim) * np.eye(len(terms)), some.T @ aim[fits])
        left = np.abs(aim - table @ weights)
        fits = left <= max(3 * float(np.median(left)), 1.0)
    return np.asarray(weights / scales)


def _pixels(picture: Any) -> Pixels:
    return np.asarray(picture, np.uint8)


def _matrix(values: Any) -> Matrix:
    return np.asarray(values, np.float64)


def _frame(shape: tuple[int, ...]) -> Matrix:
    """The map from pixels' centres to fractions of the frame."""
    height, width = shape[:2]
    return np.array([[1 / width, 0, 0.5 / width], [0, 1 / height, 0.5 / height], [0, 0, 1.0]])


def _whole_frame(where: Matrix, target: Pixels, above: Pixels) -> Matrix | None:
    """The nearest map of the whole frame on the whole frame, in fractions: one of eight; None where none is near."""
    fractions = _frame(above.shape) @ where @ np.linalg.inv(_frame(target.shape))
    turn = np.rint(fractions[:2, :2])
    if sorted(np.abs(turn).ravel().tolist()) != [0, 0, 1, 1] or abs(np.linalg.det(turn)) < 0.5:
        return None
    whole = np.eye(3)
    whole[:2, :2] = turn
    whole[:2, 2] = 0.5 - turn @ [0.5, 0.5]
    off = np.abs(_CORNERS @ (fractions - whole).T).max()
    return whole if off < _NEARLY_WHOLE else None


def _turned(above: Pixels, whole: Matrix) -> Pixels:
    """The picture turned and mirrored as a map of whole frames says."""
    turn = whole[:2, :2]
    if turn[0, 0] == 0:
        above, turn = above.swapaxes(0, 1), turn[::-1]
    if turn[0, 0] < 0:
        above = above[:, ::-1]
    return np.ascontiguousarray(above[::-1] if turn[1, 1] < 0 else above)


_Box = tuple[float, float, float, float]
_Resize = Callable[[Pixels, tuple[int, int], _Box], Pixels]


def _pillow(method: Image.Resampling) -> _Resize:
    return lambda picture, size, box: _pixels(Image.fromarray(picture).resize(size, method, box=box))


def _opencv(method: int) -> _Resize:
    """As ``cv2.resize``, which does not smooth what it shrinks."""

    def resize(picture: Pixels, size: tuple[int, int], box: _Box) -> Pixels:
        across, down = (box[2] - box[0]) / size[0], (box[3] - box[1]) / size[1]
        where = np.array([[across, 0, box[0] + across / 2 - 0.5], [0, down, box[1] + down / 2 - 0.5]])
        flags = method | cv2.WARP_INVERSE_MAP
        return _pixels(cv2.warpAffine(picture, where, size, flags=flags, borderMode=cv2.BORDER_REPLICATE))

    return resize


_RESIZES = (
    *map(_pillow, (Image.Resampling.BICUBIC, Image.Resampling.BOX, Image.Resampling.LANCZOS)),
    *map(_pillow, (Image.Resampling.BILINEAR, Image.Resampling.NEAREST)),
    *map(_opencv, (cv2.INTER_LINEAR, cv2.INTER_CUBIC)),
)


def resized(above: Pixels, target: Pixels) -> Pixels:
    """A picture at the target's size, by the filter that leaves least difference in the middle, whatever the light."""
    height, width = target.shape[:2]
    if above.shape == target.shape:
        return above
    across, down = above.shape[1] / width, above.shape[0] / height
    size = min(width, _SAMPLE_SIDE), min(height, _SAMPLE_SIDE)
    x, y = (width - size[0]) // 2, (height - size[1]) // 2
    box = (x * across, y * down, (x + size[0]) * across, (y + size[1]) * down)
    wanted = grey(target[y : y + size[1], x : x + size[0]])
    wanted -= wanted.mean()

    def error(resize: _Resize) -> float:
        found = grey(resize(above, size, box))
        found -= found.mean()
        found *= (found * wanted).mean() / ((found * found).mean() + 1e-6)
        return float(np.abs(found - wanted).mean())

    return min(_RESIZES, key=error)(above, (width, height), (0, 0, above.shape[1], above.shape[0]))


def _shrunk_alike(above: Pixels, where: Matrix) -> tuple[Pixels, Matrix]:
    """The picture above shrunk to about the target's resolution, where it is finer by a fifth; and the map to that."""
    scale = scale_of(where)
    if scale <= 1.2:
        return above, where
    size = max(1, round(above.shape[1] / scale)), max(1, round(above.shape[0] / scale))
    small = _pixels(cv2.resize(above, size, interpolation=cv2.INTER_AREA))
    return small, _matrix(np.linalg.inv(_frame(small.shape)) @ _frame(above.shape) @ where)


def _warped(above: Pixels, where: Matrix, shape: tuple[int, ...]) -> tuple[Pixels, Inside]:
    """A picture laid on a frame, and where it shows something there."""
    small, where = _shrunk_alike(above, where)
    size = shape[1], shape[0]
    frame = np.zeros(small.shape[:2], np.uint8)
    frame[2:-2, 2:-2] = 1
    inverse = cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(small, where[:2], size, flags=cv2.INTER_CUBIC | inverse, borderMode=cv2.BORDER_REPLICATE)
    return _pixels(laid), _pixels(cv2.warpAffine(frame, where[:2], size, flags=cv2.INTER_NEAREST | inverse))


def _refined(above: Pixels, target: Pixels, start: Matrix) -> Matrix:
    """The map refined on reduced pictures (ECC, Evangelidis & Psarakis, 2008)."""
    scale = min(1.0, _ECC_SIDE / max(target.shape[:2]))
    size = max(1, round(target.shape[1] * scale)), max(1, round(target.shape[0] * scale))
    low = _pixels(cv2.resize(target, size, interpolation=cv2.INTER_AREA))
    to_low = np.linalg.inv(_frame(low.shape)) @ _frame(target.shape)
    high, where = _shrunk_alike(above, _matrix(start @ np.linalg.inv(to_low)))
    _, inside = _warped(high, where, low.shape)
    begin = where[:2].astype(np.float32)
    try:
        _, found = cv2.findTransformECC(
            grey(low) / 255, grey(high) / 255, begin, cv2.MOTION_AFFINE, _ECC_STEPS, inside, 5
        )
    except cv2.error:  # no convergence: the start is the best that there is
        return start
    refined = np.vstack([found, [0, 0, 1]])
    return _matrix(np.linalg.inv(_frame(above.shape)) @ _frame(high.shape) @ refined @ to_low)


def _correction(laid: FloatArray, target: FloatArray, inside: Inside) -> tuple[Matrix, float]:
    """The affine map that moves what was laid to where the target has it, and by how many pixels it moves a corner.

    One step of Gauss and Newton (Lucas & Kanade, 1981), with a change of contrast and brightness beside it.
    """
    soft, aim = (cv2.GaussianBlur(each, (0, 0), 1.0) for each in (laid, target))
    across, down = slopes(soft)
    height, width = soft.shape
    x = (np.arange(width, dtype=np.float32) / width - 0.5)[None, :]
    y = (np.arange(height, dtype=np.float32) / height - 0.5)[:, None]
    terms = [across * x, across * y, across, down * x, down * y, down, soft, np.ones_like(soft)]
    found = least_squares(terms, aim - soft, inside)[:6].reshape(2, 3)
    fractions = np.array([[1 / width, 0, -0.5], [0, 1 / height, -0.5], [0, 0, 1]])
    step = np.eye(3)
    step[:2] += found @ fractions
    return step, float(np.abs(_CORNERS @ [[width, 0, 0], [0, height, 0], [0, 0, 1]] @ (step - np.eye(3)).T).max())


def _on_grid(where: Matrix, shape: tuple[int, ...]) -> tuple[Matrix, bool]:
    """The map moved to whole pixels, where it is as good as there: a crop, perhaps turned by a right angle."""
    whole = np.rint(where)
    corners = _CORNERS * [shape[1], shape[0], 1]
    if np.abs(corners @ (where - whole).T).max() < _ON_THE_GRID and abs(abs(np.linalg.det(whole)) - 1) < 0.5:
        return whole, True
    return where, False
