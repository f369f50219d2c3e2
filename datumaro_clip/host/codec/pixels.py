"""Arrays of pictures as files from which the very same arrays are read."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from datumaro.util.image import decode_image, encode_image


@dataclass(frozen=True)
class NpyFile:
    """A NumPy array that is read when called."""

    path: str

    def __call__(self) -> npt.NDArray[Any]:
        """The array; mapped first, so that a header cannot ask for more memory than the file has bytes."""
        return np.array(np.load(self.path, mmap_mode="r", allow_pickle=False))


def exact_png(data: npt.NDArray[Any]) -> bytes | None:
    """A PNG from which Datumaro reads the very same array; None if there is none."""
    if data.dtype != np.uint8 or data.ndim not in (2, 3) or not data.size or data.shape[2:] not in ((), (3,), (4,)):
        return None
    png = encode_image(data, ".png")
    return png if np.array_equal(decode_image(png), data) else None


def npy(data: npt.NDArray[Any]) -> bytes:
    """A NumPy file."""
    file = io.BytesIO()
    np.save(file, data, allow_pickle=False)
    return file.getvalue()
