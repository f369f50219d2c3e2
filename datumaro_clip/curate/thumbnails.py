"""Square thumbnails, by which near duplicates are found; kept in a file instead of in memory."""

from __future__ import annotations

import tempfile
from threading import Lock

import numpy as np
import numpy.typing as npt
from PIL import Image

from datumaro_clip.curate.near.rings import SIDE, Thumbnail
from datumaro_clip.system.files import scratch_errors

_BYTES = SIDE * SIDE * 3


def square_thumbnail(picture: Image.Image) -> Thumbnail:
    """Shrink a picture to 96x96 pixels, each the mean of an area: shape (96, 96, 3), uint8 RGB.

    Sides shrink independently, so that a stretched copy looks like its original.
    """
    return np.asarray(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.uint8)


class ThumbnailFile:
    """Thumbnails by number, in an unnamed temporary file of 27 KiB each; several threads may read them.

    A hundred thousand take 2.6 GiB of disk; the operating system caches them in spare memory.
    """

    def __init__(self) -> None:
        with scratch_errors():
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._count = 0
        self._position = Lock()

    def __len__(self) -> int:
        return self._count

    def append(self, thumbnail: Thumbnail) -> None:
        """Add a thumbnail at the end; raises :class:`~datumaro_clip.errors.ScratchError` where there is no room."""
        with scratch_errors():
            self._file.seek(self._count * _BYTES)
            self._file.write(np.ascontiguousarray(thumbnail).tobytes())
            self._file.flush()
        self._count += 1

    def __getitem__(self, index: int) -> Thumbnail:
        if not 0 <= index < self._count:
            raise IndexError(f"thumbnail {index} of {self._count}")
        thumbnail: Thumbnail = self.block(index, index + 1)[0]
        return thumbnail

    def block(self, start: int, end: int) -> npt.NDArray[np.uint8]:
        """Read consecutive thumbnails, (n, 96, 96, 3); fewer at the end of the file."""
        wanted = (min(end, self._count) - start) * _BYTES
        with self._position:
            self._file.seek(start * _BYTES)
            data = self._file.read(wanted)
        return np.frombuffer(data, dtype=np.uint8).reshape(-1, SIDE, SIDE, 3)

    def __enter__(self) -> ThumbnailFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
