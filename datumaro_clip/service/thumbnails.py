"""Small pictures, made once and kept."""

from __future__ import annotations

import hashlib
import io
from contextlib import suppress
from pathlib import Path
from threading import Lock

from PIL import Image

from datumaro_clip.images import decode
from datumaro_clip.service.pictures import Picture
from datumaro_clip.system.files import atomic_write, cache_root

SIZES = (64, 128, 256, 512, 1024)
_QUALITY = 85
#: A check removes the oldest thumbnails beyond nine tenths of these bytes.
MOST_BYTES = 2 << 30
# Thumbnails made between two checks of their size.
_LOOK_EVERY = 1000


class Thumbnails:
    """JPEGs whose longer side is one of ``SIZES``, in a folder of the cache."""

    def __init__(self) -> None:
        self._root = cache_root() / "thumbnails"
        self._made = 0
        self._lock = Lock()

    def path(self, picture: Picture, size: int) -> Path:
        """Return the file of a thumbnail, which is made if it is not there.

        Raises
        ------
        ImageError
            If the picture cannot be decoded.
        OSError
            If the cache cannot be written.
        """
        digest = hashlib.sha256(f"{picture.tag} {size}".encode()).hexdigest()
        path = self._root / digest[:2] / f"{digest[2:]}.jpg"
        if not path.exists():
            data = make(picture, size)
            with atomic_write(path) as file:
                file.write(data)
            self._prune()
        return path

    def _prune(self) -> None:
        """Remove the oldest thumbnails, once in a while."""
        self._made += 1
        if self._made % _LOOK_EVERY:
            return
        with self._lock:
            files = [(entry.stat().st_mtime, entry.stat().st_size, entry) for entry in self._root.glob("*/*.jpg")]
            total = sum(size for _, size, _ in files)
            for _, size, path in sorted(files):
                if total <= 0.9 * MOST_BYTES:
                    break
                with suppress(OSError):
                    path.unlink()
                total -= size


def make(picture: Picture, size: int) -> bytes:
    """Return a picture as a JPEG whose longer side is at most ``size`` pixels."""
    # The JPEG decoder shrinks until the shorter side has the target: half the size keeps pictures of up to 1:2 sharp.
    image = decode(picture.content, target=max(size // 2, 32))
    image.thumbnail((size, size), Image.Resampling.LANCZOS, reducing_gap=2.0)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
