"""Every pixel format that Pillow knows, to 8-bit RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from datumaro_clip.errors import ImageError

# Pillow has no direct way from La, and warns on the one from a palette with transparent entries.
_BY_WAY_OF = {"La": "LA", "P": "RGBA", "PA": "RGBA"}


def to_rgb(picture: Image.Image) -> Image.Image:
    """Load a picture and convert it to mode ``RGB``; return the same object if it is that already.

    Raises
    ------
    ImageError
        If it has no pixels, or is a picture of floats with NaN or infinity among them.
    """
    picture.load()
    if 0 in picture.size:
        raise ImageError("empty", "it has no pixels")
    if picture.mode == "RGB":
        return picture
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        return Image.fromarray(narrow(np.asarray(picture))).convert("RGB")
    if picture.mode == "F" and not np.isfinite(np.asarray(picture)).all():
        raise ImageError("unreadable", "it has NaN or infinite pixels; replace them first")
    return picture.convert(_BY_WAY_OF.get(picture.mode, "RGB")).convert("RGB")


def narrow(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Integers of 16 bits, in any integer type, to 8: the upper byte, as libpng and Pillow do for RGB."""
    return np.asarray(np.clip(pixels, 0, 0xFFFF) >> 8, dtype=np.uint8)
