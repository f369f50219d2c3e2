"""Golden inputs: pictures and texts, equal to the bit in every release, whose vectors each model keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from datumaro_clip.errors import ModelFormatError
from datumaro_clip.model.directory import GOLDEN, MAX_DIMENSION
from datumaro_clip.texts import TokenBatch, Tokenizer
from datumaro_clip.vectors import FloatArray, is_unit_rows

#: These must never change: models keep the vectors of exactly these texts.
GOLDEN_TEXTS = (
    "a photo of a cat",
    "two dogs playing in the snow",
    "a red car parked on the street",
    "an aerial photograph of farmland, taken in summer",
    "a hand-drawn diagram",
    "a bowl of fruit on a wooden table next to a window with the curtains half drawn",
    "7 people",
    "naïve café ☕",
)
COUNT = 8


def golden_pixels(size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Draw eight patterns in integer arithmetic.

    Parameters
    ----------
    size : tuple of int
        (H, W) of the model's pictures; they are drawn at this size, so resizing in Pillow plays no part.

    Returns
    -------
    numpy.ndarray
        Shape (8, H, W, 3), uint8, RGB.
    """
    return np.stack([np.stack(channels, axis=-1).astype(np.uint8) for channels in _patterns(*size)])


def _patterns(height: int, width: int) -> Iterator[tuple[npt.NDArray[np.int64], ...]]:
    """Yield the three channels of each pattern, one pattern at a time to save memory."""
    y = (np.arange(height, dtype=np.int64) * 256 // height)[:, None]
    x = (np.arange(width, dtype=np.int64) * 256 // width)[None, :]
    radius = (x - 128) ** 2 + (y - 128) ** 2
    yield x + 0 * y, y + 0 * x, 255 - x + 0 * y
    yield (x // 32 + y // 32) % 2 * 255, (x // 64 + y // 64) % 2 * 255, (x + y) // 2
    yield x ^ y, x & y, x | y
    yield radius // 64, radius // 128, 255 - radius // 128
    yield (x * x + 3 * y) // 8, (y * y + 5 * x) // 8, x * y // 256
    yield 0 * x + y // 16 * 16, 0 * y + x // 16 * 16, (x - y) % 256
    yield np.where(radius < 4096, 220, 20), np.where(radius < 9216, 180, 60), 0 * x + 90 + 0 * y
    yield (x * 7919 + y * 104729) // 13, (x * 1299709 + y * 15485863) // 17, (x * y * 31) // 7


def golden_tokens(tokenizer: Tokenizer) -> TokenBatch:
    """Tokenise the eight texts as one batch."""
    return tokenizer.encode(GOLDEN_TEXTS).batch(range(COUNT))


@dataclass(frozen=True)
class GoldenVectors:
    """Vectors of the golden inputs: ``images`` and ``texts``, each (8, D), float32, unit rows."""

    images: FloatArray
    texts: FloatArray

    def save(self, directory: Path) -> None:
        """Write ``golden.npy``: (16, D), pictures first."""
        np.save(directory / GOLDEN, np.concatenate([self.images, self.texts]), allow_pickle=False)

    @classmethod
    def load(cls, directory: Path) -> GoldenVectors:
        """Read ``golden.npy``; raise :class:`ModelFormatError` if it is not 16 unit rows."""
        path = directory / GOLDEN
        try:
            # Mapped: a header with a shape larger than the file is an error, instead of a huge allocation.
            rows = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as exc:
            raise ModelFormatError(f"{path} cannot be read: {exc}") from exc
        wanted = rows.ndim == 2 and len(rows) == 2 * COUNT and rows.shape[1] <= MAX_DIMENSION
        if not wanted or rows.dtype != np.float32 or not is_unit_rows(rows):
            raise ModelFormatError(f"{path} holds {rows.dtype} {rows.shape}, wanted 16 unit rows of float32")
        return cls(np.array(rows[:COUNT]), np.array(rows[COUNT:]))
