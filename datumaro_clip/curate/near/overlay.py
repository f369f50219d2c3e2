"""Warps one picture of a pair (*above*) to the other (the *target*) at full resolution; with OpenCV.

The map between them is a 3×3 affine matrix from pixels of the target to pixels of the picture above.
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

from datumaro_clip.curate.near.alignment import ecc, slopes
from datumaro_clip.curate.near.rings import SIDE, Map
from datumaro_clip.images import ImageLike, decode
from datumaro_clip.vectors import FloatArray

#: Larger pictures are shrunk to this many pixels (2,000×2,000): a photo of 16 megapixels to about half its sides.
MOST_PIXELS = 4_000_000

Pixels = npt.NDArray[np.uint8]
Matrix = npt.NDArray[Any]
Inside = npt.NDArray[np.uint8]

# If no corner is farther off than this, in sides, the map is first tried as one of the whole frame.
_NEARLY_WHOLE = 0.04
# How many pixels the farthest corner may be off.
_PLACED = 0.05
_ON_THE_GRID = 0.25
_PLACED_ROUGHLY = 0.5
_ROUNDS = 4
_ECC_SIDE = 256
# Resizing the whole frame is exact where it is right: it wins only if its error is at most this share of the affine
# map's.
_WORTHWHILE = 0.97
_SAMPLE_SIDE = 384
_EQUATIONS = 40_000
_CORNERS = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]], np.float64)


class JpegTables(NamedTuple):
    """Quantisation steps of a JPEG for the DCT coefficients of 8×8 blocks: (8, 8), float32, of lightness and colour."""

    lightness: FloatArray
    colour: FloatArray
    halved: bool
    """Whether colours are stored at half the width and height (4:2:0)."""


class Picture(NamedTuple):
    """A picture ready for comparison.

    Attributes
    ----------
    pixels : numpy.ndarray
        Shape (H, W, 3), uint8 RGB; at most ``MOST_PIXELS``.
    tables : JpegTables, optional
        Of a JPEG file; None if the picture is of another kind, or was shrunk.
    size : tuple of int
        Width and height as stored.
    """

    pixels: Pixels
    tables: JpegTables | None
    size: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Memory of the pixels, in bytes."""
        return self.pixels.nbytes


class Overlay(NamedTuple):
    """A picture warped to the target.

    Attributes
    ----------
    pixels : numpy.ndarray
        Shape (H, W, 3) of the target, uint8 RGB.
    inside : numpy.ndarray
        Shape (H, W), uint8: 1 where both pictures show something.
    on_grid : bool
        Whether the pixels were taken as they are, or by resizing the whole picture. If not, they are interpolated, and
        edges may be off by a pixel.
    where : numpy.ndarray
        Shape (3, 3): the map.
    """

    pixels: Pixels
    inside: Inside
    on_grid: bool
    where: Matrix


def read_picture(source: ImageLike) -> Picture:
    """Decode a picture, shrunk to ``MOST_PIXELS`` if it has more, and read the quantisation tables of a JPEG.

    Raises
    ------
    ImageError
        If it cannot be decoded; ``reason`` says why.
    """
    picture = decode(source)
    pixels, scale = np.asarray(picture), math.sqrt(MOST_PIXELS / (picture.width * picture.height))
    if scale >= 1:
        return Picture(pixels, _tables(source), picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return Picture(_pixels(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)), None, picture.size)


def _tables(source: ImageLike) -> JpegTables | None:
    """Return the quantisation tables in the header of a JPEG file; None for everything else."""
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
    """Convert a map (2, 3) between thumbnails to one between the pictures, from pixels of the first to the second's."""
    square = _frame((SIDE, SIDE))
    thumbnails = np.vstack([np.asarray(where, np.float64), [0, 0, 1]])
    fractions = square @ thumbnails @ np.linalg.inv(square)
    full: Matrix = np.linalg.inv(_frame(second.pixels.shape)) @ fractions @ _frame(first.pixels.shape)
    return full


def scale_of(where: Matrix) -> float:
    """Return how many pixels of the picture above correspond to one pixel of the target, along a side."""
    return math.sqrt(abs(float(np.linalg.det(where[:2, :2]))))


def warp_to_target(
    above: Pixels, target: Pixels, start: Matrix, lightness_of: Callable[[Pixels, Inside], FloatArray]
) -> Overlay:
    """Warp a picture to another one, refining a map that is nearly right.

    Two ways are tried, and the better one is kept: resizing the whole frame, where the map is close to that, and an
    affine map that is refined until no corner is off by more than a twentieth of a pixel.

    Parameters
    ----------
    above, target : numpy.ndarray
        Shapes (h, w, 3) and (H, W, 3), uint8 RGB.
    start : numpy.ndarray
        Shape (3, 3): from pixels of the target to pixels above.
    lightness_of : callable
        From the warped pixels, and the mask of where they show something, to their lightness (H, W), float32, in the
        target's light.
    """
    lightness = grey(target)
    whole = _whole_frame(start, target, above)
    found = []
    off = math.inf
    if whole is not None:
        warped = resized(_turned(above, whole), target)
        everywhere = np.ones(target.shape[:2], np.uint8)
        lit = lightness_of(warped, everywhere)
        start = np.linalg.inv(_frame(above.shape)) @ whole @ _frame(target.shape)
        _, off = _correction(lit, lightness, everywhere)
        found.append((float(cv2.absdiff(lit, lightness).mean()), Overlay(warped, everywhere, True, start)))
    if off > _PLACED:
        where = _refined(above, target, start) if off > _PLACED_ROUGHLY else start
        for _ in range(_ROUNDS):
            warped, inside = _warped(above, where, target.shape)
            step, off = _correction(lightness_of(warped, inside), lightness, inside)
            if off < _PLACED:
                break
            where = where @ step
        where, on_grid = _on_grid(where, target.shape)
        warped, inside = _warped(above, where, target.shape)
        inside = _pixels(cv2.erode(inside, np.ones((5, 5), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0))
        if inside.any():
            error = cv2.mean(cv2.absdiff(lightness_of(warped, inside), lightness), inside)[0]
            found.append((_WORTHWHILE * error, Overlay(warped, inside, on_grid, where)))
    return min(found, key=lambda each: each[0])[1] if found else Overlay(target, inside, False, start)


def grey(pixels: npt.NDArray[Any]) -> FloatArray:
    """Return the lightness (H, W), float32, 0 to 255, as JPEG weights the channels (ITU-R BT.601)."""
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.float32)


def subsample(inside: Inside, count: int) -> tuple[tuple[slice, slice], npt.NDArray[np.bool_]]:
    """Thin out an image for statistics: slices that take about ``count`` pixels, and which of those lie inside."""
    stride = max(1, math.isqrt(inside.size // count))
    thin = slice(stride // 2, None, stride), slice(stride // 2, None, stride)
    return thin, inside[thin].astype(np.bool_)


def least_squares(terms: list[FloatArray], wanted: FloatArray, inside: Inside) -> npt.NDArray[np.float64]:
    """Fit weights (T,) so that the weighted terms (H, W) sum to what is wanted, over the pixels inside, robustly.

    The second and third round leave out pixels with a residual above three times the median, such as those of an edit.
    """
    thin, chosen = subsample(inside, _EQUATIONS)
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
        residual = np.abs(aim - table @ weights)
        fits = residual <= max(3 * float(np.median(residual)), 1.0)
    return np.asarray(weights / scales)


def _pixels(picture: Any) -> Pixels:
    return np.asarray(picture, np.uint8)


def _frame(shape: tuple[int, ...]) -> Matrix:
    """Return the map from the centres of pixels to fractions of the frame."""
    height, width = shape[:2]
    return np.array([[1 / width, 0, 0.5 / width], [0, 1 / height, 0.5 / height], [0, 0, 1.0]])


def _whole_frame(where: Matrix, target: Pixels, above: Pixels) -> Matrix | None:
    """Return the one of the eight maps from whole frame to whole frame that is near, in fractions; None without one."""
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
    """Turn and mirror the picture as a map of whole frames does."""
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
    """Resize as ``cv2.resize`` does, which shrinks without smoothing."""

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
    """Resize a picture to the target's size, by the filter that fits the target's middle best, whatever the light."""
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
    """Shrink the picture above to the target's resolution, if it is finer by a fifth; also return the map to it."""
    scale = scale_of(where)
    if scale <= 1.2:
        return above, where
    size = max(1, round(above.shape[1] / scale)), max(1, round(above.shape[0] / scale))
    small = _pixels(cv2.resize(above, size, interpolation=cv2.INTER_AREA))
    return small, np.linalg.inv(_frame(small.shape)) @ _frame(above.shape) @ where


def _warped(above: Pixels, where: Matrix, shape: tuple[int, ...]) -> tuple[Pixels, Inside]:
    """Warp a picture to a frame; also return the mask of where it shows something there."""
    small, where = _shrunk_alike(above, where)
    size = shape[1], shape[0]
    frame = np.zeros(small.shape[:2], np.uint8)
    frame[2:-2, 2:-2] = 1
    inverse = cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(small, where[:2], size, flags=cv2.INTER_CUBIC | inverse, borderMode=cv2.BORDER_REPLICATE)
    return _pixels(warped), _pixels(cv2.warpAffine(frame, where[:2], size, flags=cv2.INTER_NEAREST | inverse))


def _refined(above: Pixels, target: Pixels, start: Matrix) -> Matrix:
    """Refine the map on reduced pictures (ECC, Evangelidis & Psarakis, 2008)."""
    scale = min(1.0, _ECC_SIDE / max(target.shape[:2]))
    size = max(1, round(target.shape[1] * scale)), max(1, round(target.shape[0] * scale))
    low = _pixels(cv2.resize(target, size, interpolation=cv2.INTER_AREA))
    to_low = np.linalg.inv(_frame(low.shape)) @ _frame(target.shape)
    high, where = _shrunk_alike(above, start @ np.linalg.inv(to_low))
    _, inside = _warped(high, where, low.shape)
    found = ecc(grey(low) / 255, grey(high) / 255, where[:2].astype(np.float32), inside, 40, 1e-4)
    if found is None:
        return start
    to_above = np.linalg.inv(_frame(above.shape)) @ _frame(high.shape)
    refined: Matrix = to_above @ np.vstack([found, [0, 0, 1]]) @ to_low
    return refined


def _correction(warped: FloatArray, target: FloatArray, inside: Inside) -> tuple[Matrix, float]:
    """Find the affine map that aligns the warped picture with the target; also by how many pixels it moves a corner.

    One Gauss-Newton step (Lucas & Kanade, 1981) that also fits contrast and brightness.
    """
    soft, aim = (cv2.GaussianBlur(each, (0, 0), 1.0) for each in (warped, target))
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
    """Round the map to whole pixels, if it is nearly so already: a crop, perhaps turned by a right angle."""
    whole = np.rint(where)
    corners = _CORNERS * [shape[1], shape[0], 1]
    if np.abs(corners @ (where - whole).T).max() < _ON_THE_GRID and abs(abs(np.linalg.det(whole)) - 1) < 0.5:
        return whole, True
    return where, False
