"""Cuts parts out of pictures: boxes, upright or rotated, with or without what surrounds an outline or mask."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from datumaro_clip.errors import ImageError

Box = tuple[float, float, float, float]
Mask = npt.NDArray[np.bool_]

#: Fills what is outside of an object's mask, or of the picture: the middle of the range.
GREY = (128, 128, 128)


@dataclass(frozen=True, eq=False)
class Region:
    """A part of a picture, cut out at the picture's full resolution.

    Attributes
    ----------
    box : tuple of float
        ``(x, y, w, h)`` in pixels; of a rotated box, before its rotation about its centre.
    angle : float
        Rotation of the box in degrees, clockwise as the picture is seen; the part is turned upright.
    margin : float
        Share of the box's width and height that is added on each side.
    outline : tuple of tuple of float
        Polygons (x1, y1, x2, y2, …) in pixels; what is outside of all of them becomes grey. If empty, nothing does.
    mask : callable, optional
        Returns a mask (H, W) of the picture's pixels, used instead of an outline.
    max_side : int, optional
        The picture is reduced to this longest side, in pixels, before the part is cut out.
    """

    box: Box
    angle: float = 0.0
    margin: float = 0.0
    outline: tuple[tuple[float, ...], ...] = ()
    mask: Callable[[], Mask] | None = None
    max_side: int | None = None

    @property
    def identity(self) -> bytes:
        """Bytes that differ between different parts of the same picture; of a plain box, its numbers alone.

        This calls :attr:`mask`.
        """
        numbers = _number_bytes(self.box)
        if self.angle == self.margin == 0 and not self.outline and self.mask is None and self.max_side is None:
            return numbers
        state = hashlib.blake2b(numbers, digest_size=32, person=b"region")
        state.update(_number_bytes([self.angle, self.margin, self.max_side or 0, len(self.outline)]))
        for polygon in self.outline:
            state.update(len(polygon).to_bytes(8, "little") + _number_bytes(polygon))
        if self.mask is not None:
            mask = self.mask()
            state.update(repr(mask.shape).encode() + np.packbits(mask).tobytes())
        return state.digest()

    def cut_from(self, picture: Image.Image) -> Image.Image:
        """Cut the part out, upright.

        Parameters
        ----------
        picture : PIL.Image.Image
            Mode ``RGB``, whole; see :class:`Cutter` for :attr:`max_side`.

        Returns
        -------
        PIL.Image.Image
            Mode ``RGB``; the box is widened to whole pixels, and, unless it is rotated, clipped to the picture.

        Raises
        ------
        ImageError
            With the reason ``empty``, if the box holds no pixel of the picture.
        """
        x, y, w, h = self.box
        box = (x - self.margin * w, y - self.margin * h, w + 2 * self.margin * w, h + 2 * self.margin * h)
        if self.angle % 360:
            if (hidden := self._hidden(picture.size)) is not None:
                picture = picture.copy()
                picture.paste(GREY, mask=hidden)
            return _cut_rotated(picture, box, self.angle)
        edges = edges_of(box, picture.size)
        part = picture.crop(edges)
        if (hidden := self._hidden(picture.size)) is not None:
            part.paste(GREY, mask=hidden.crop(edges))
        return part

    def reduced(self, size: tuple[int, int]) -> tuple[Region, tuple[int, int]]:
        """Scale the part as :attr:`max_side` scales a picture of (width, height); also return that picture's size."""
        longest = max(size)
        if self.max_side is None or longest <= self.max_side:
            return self, size
        factor, mask = self.max_side / longest, self.mask
        width, height = (max(round(side * factor), 1) for side in size)
        x, y, w, h = self.box
        smaller = replace(
            self,
            box=(x * factor, y * factor, w * factor, h * factor),
            outline=tuple(tuple(value * factor for value in polygon) for polygon in self.outline),
            mask=None if mask is None else lambda: np.asarray(Image.fromarray(mask()).resize((width, height))),
        )
        return smaller, (width, height)

    def _hidden(self, size: tuple[int, int]) -> Image.Image | None:
        """Return a mask, mode ``1``, of the pixels of a (width, height) picture that become grey; None if none do."""
        if self.mask is None:
            if not self.outline:
                return None
            hidden = Image.new("1", size, 1)
            for polygon in self.outline:
                if len(polygon) >= 6:
                    ImageDraw.Draw(hidden).polygon(polygon, fill=0)
            return hidden
        mask = np.asarray(self.mask(), bool)
        if mask.shape != size[::-1]:
            wanted, got = f"{size[0]}x{size[1]}", "x".join(map(str, mask.shape[::-1]))
            raise ImageError("unreadable", f"its mask is of {got} pixels, the picture of {wanted}")
        return Image.fromarray(~mask)


def _number_bytes(numbers: Sequence[float]) -> bytes:
    """Convert numbers to the bytes of little-endian float64; equal numbers have equal bytes, also 0 and -0."""
    return (np.asarray(numbers, "<f8") + 0.0).tobytes()


class Cutter:
    """Cuts parts out of one picture, which is reduced once to each size that parts need.

    Parameters
    ----------
    picture : PIL.Image.Image
        Mode ``RGB``.
    """

    def __init__(self, picture: Image.Image) -> None:
        self._sizes = {picture.size: picture}
        self._picture = picture

    def __call__(self, region: Region) -> Image.Image:
        """Cut a part out, mode ``RGB``; raise :class:`~datumaro_clip.errors.ImageError` if it has no pixel."""
        region, size = region.reduced(self._picture.size)
        if size not in self._sizes:
            self._sizes[size] = self._picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
        return region.cut_from(self._sizes[size])


def require_size(picture: Image.Image, said: tuple[int, int] | None) -> None:
    """Raise unless a picture has the (width, height) that its boxes refer to; None stands for any size.

    Raises
    ------
    ImageError
        With the reason ``another_size``.
    """
    if said in (None, picture.size):
        return
    wanted, got = (f"{width}x{height}" for width, height in (said, picture.size))
    what = "its boxes are about another picture; mend the size, or the file"
    if said[::-1] == picture.size:
        what = "it is turned, as its EXIF may say, and its boxes too; turn its pixels, as 'mogrify -auto-orient' does"
    raise ImageError("another_size", f"the dataset says {wanted}, the file has {got} pixels: {what}")


def edges_of(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Widen a box (x, y, w, h) to whole pixels, and clip it to a picture: left, top, right, bottom.

    Raises
    ------
    ImageError
        If it holds no pixel of the picture.
    """
    x, y, w, h = box
    if not all(map(math.isfinite, box)):
        raise ImageError("empty", f"the box {box} is not finite")
    left, top = max(math.floor(x), 0), max(math.floor(y), 0)
    right, bottom = min(math.ceil(x + w), size[0]), min(math.ceil(y + h), size[1])
    if left >= right or top >= bottom or w <= 0 or h <= 0:
        raise ImageError("empty", f"the box {box} holds no pixel of the {size[0]}x{size[1]} picture")
    return left, top, right, bottom


def _cut_rotated(picture: Image.Image, box: Box, angle: float) -> Image.Image:
    """Cut out a rotated box and turn it upright, grey where it reaches beyond the picture."""
    x, y, w, h = box
    if not all(map(math.isfinite, (*box, angle))):
        raise ImageError("empty", f"the box {box}, rotated by {angle}, is not finite")
    sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    across, down = x + w / 2, y + h / 2
    reach = (abs(w * cosine) + abs(h * sine)) / 2, (abs(w * sine) + abs(h * cosine)) / 2
    edges_of((across - reach[0], down - reach[1], 2 * reach[0], 2 * reach[1]), picture.size)
    width, height = min(math.ceil(w), sum(picture.size)), min(math.ceil(h), sum(picture.size))
    if width < 1 or height < 1:
        raise ImageError("empty", f"the box {box} has no area")
    # The map from pixels of the part to pixels of the picture rotates about the part's centre, which is the box's.
    left = across - (cosine * width - sine * height) / 2
    top = down - (sine * width + cosine * height) / 2
    matrix = (cosine, -sine, left, sine, cosine, top)
    return picture.transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC, fillcolor=GREY)
