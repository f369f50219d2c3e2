"""Fits pictures to a detector's input, and maps boxes back to the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from datumaro_clip.errors import ModelFormatError
from datumaro_clip.vectors import FloatArray

PLACEMENTS = ("top_left", "centre", "stretch")
COLOURS = ("bgr", "rgb")

# The input around the picture is of this grey, as in the training of YOLO networks.
_GREY = 114

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class InputSettings:
    """How to prepare pictures for a detector.

    Attributes
    ----------
    size : tuple of int
        (H, W) of the input, in pixels.
    placement : str
        Where the picture, resized in proportion, lies in the input: ``top_left`` or ``centre``; or ``stretch``: resized
        to fill the input.
    colour : str
        Order of the channels: ``bgr`` or ``rgb``.
    scale : float
        Factor of the pixels' values, which are 0 to 255.
    mean, std : tuple of float
        Of the channels in their order: ``(pixel * scale - mean) / std``.
    """

    size: tuple[int, int]
    placement: str = "centre"
    colour: str = "rgb"
    scale: float = 1 / 255
    mean: Channels = (0.0, 0.0, 0.0)
    std: Channels = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise ModelFormatError(f"a detector's input has pixels, got {self.size[1]}x{self.size[0]}")
        if self.placement not in PLACEMENTS:
            raise ModelFormatError(f"placement {self.placement!r} is none of {', '.join(PLACEMENTS)}")
        if self.colour not in COLOURS:
            raise ModelFormatError(f"colour {self.colour!r} is none of {', '.join(COLOURS)}")
        numbers = [self.scale, *self.mean, *self.std]
        if not np.isfinite(numbers).all() or self.scale <= 0 or min(self.std) <= 0:
            raise ModelFormatError("scale and deviations are finite and above zero, means are finite")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> InputSettings:
        """Read what :meth:`to_mapping` returns; raise KeyError, TypeError or ValueError for anything else."""
        height, width = values["size"]
        return cls(
            (int(height), int(width)),
            str(values["placement"]),
            str(values["colour"]),
            float(values["scale"]),
            _channels(values["mean"]),
            _channels(values["std"]),
        )

    def to_mapping(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def fit(self, picture: Image.Image) -> tuple[FloatArray, Placed]:
        """Resize a picture, and place it in the input.

        Parameters
        ----------
        picture : PIL.Image.Image
            Mode ``RGB``.

        Returns
        -------
        pixel_values : numpy.ndarray
            Shape (3, H, W), float32, C order.
        placed : Placed
            Maps boxes back to the picture.
        """
        import cv2  # YOLO networks are trained with its resize, from four pixels; with Pillow's they lose 4% of AP.

        height, width = self.size
        across, down = width / picture.width, height / picture.height
        if self.placement != "stretch":
            across = down = min(across, down)
        # Rounded down, as YOLOX does.
        new = max(int(picture.width * across), 1), max(int(picture.height * down), 1)
        centred = self.placement == "centre"
        left, top = ((width - new[0]) // 2, (height - new[1]) // 2) if centred else (0, 0)
        pixels = np.full((height, width, 3), _GREY, np.uint8)
        resized = cv2.resize(np.asarray(picture), new, interpolation=cv2.INTER_LINEAR)
        pixels[top : top + new[1], left : left + new[0]] = resized
        return self._values(pixels), Placed(left, top, across, down)

    def _values(self, pixels: np.ndarray[Any, Any]) -> FloatArray:
        """Turn RGB pixels (H, W, 3) into the network's input (3, H, W)."""
        ordered = pixels[..., ::-1] if self.colour == "bgr" else pixels
        values = np.ascontiguousarray(ordered.transpose(2, 0, 1), np.float32)
        if self.scale != 1:
            values *= np.float32(self.scale)
        if any(self.mean):
            values -= np.asarray(self.mean, np.float32)[:, None, None]
        if self.std != (1.0, 1.0, 1.0):
            values /= np.asarray(self.std, np.float32)[:, None, None]
        return values


@dataclass(frozen=True)
class Placed:
    """Where a picture lies in a detector's input: its left and top in pixels, and the factors of its resize."""

    left: int
    top: int
    across: float
    down: float

    def to_picture(self, boxes: FloatArray) -> FloatArray:
        """Map boxes (N, 4), x1, y1, x2, y2, from pixels of the input to pixels of the picture."""
        offset = np.array([self.left, self.top, self.left, self.top], np.float32)
        factor = np.array([self.across, self.down, self.across, self.down], np.float32)
        return (boxes - offset) / factor


def _channels(values: Any) -> Channels:
    first, second, third = (float(value) for value in values)
    return first, second, third
