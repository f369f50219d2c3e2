"""Pixels of pictures: where they are, how to read them, and how to write arrays that are read back unchanged."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from datumaro.components.media import Image, RoIImage, VideoFrame
from datumaro.util.image import decode_image, encode_image

from datumaro_clip.images.decoding import decode, is_deep, to_8_bits


@dataclass(frozen=True)
class NpyFile:
    """A NumPy array that is read when called."""

    path: str

    def __call__(self) -> npt.NDArray[Any]:
        """Read the array; it is mapped first, so that a header cannot ask for more memory than the file has bytes."""
        return np.array(np.load(self.path, mmap_mode="r", allow_pickle=False))


def exact_png(data: npt.NDArray[Any]) -> bytes | None:
    """Return a PNG from which Datumaro reads the very same array; None if there is none."""
    if data.dtype != np.uint8 or data.ndim not in (2, 3) or not data.size or data.shape[2:] not in ((), (3,), (4,)):
        return None
    png = encode_image(data, ".png")
    return png if np.array_equal(decode_image(png), data) else None


def npy(data: npt.NDArray[Any]) -> bytes:
    """Return the bytes of a NumPy file."""
    file = io.BytesIO()
    np.save(file, data, allow_pickle=False)
    return file.getvalue()


def path_of(image: Image) -> str | None:
    """Return the path of a picture's file, if it has one."""
    data = getattr(image, "_data", None)
    path: str | None = data.path if isinstance(data, NpyFile) else getattr(image, "path", None)
    return path


def dotted(extension: str | None) -> str | None:
    """Return an extension with its dot, which the user may have left out."""
    return extension if extension is None or extension.startswith(".") else f".{extension}"


def decoded_anew(image: Image) -> Any:
    """Return Datumaro's array, uint8; of a picture of 16 bits our decoder's, since Datumaro keeps the lower 8."""
    if isinstance(image, RoIImage | VideoFrame):
        return image.data
    source = path_of(image) or raw(image)
    if isinstance(source, np.ndarray) and source.dtype == np.uint16:
        return to_8_bits(source)
    if isinstance(source, str | bytes) and is_deep(source):
        return np.asarray(decode(source))[..., ::-1]
    return image.data


def raw(image: Image) -> Any:
    """Return what a picture in memory was made of: encoded bytes, or the array before Datumaro makes it uint8."""
    data = getattr(image, "_data", None)
    return data() if callable(data) else data
