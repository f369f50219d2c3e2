"""One picture: what is asked for, how it is prepared for the encoder, and what becomes of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from datumaro_clip.embedding.cache import VectorCache
from datumaro_clip.embedding.keys import content_digest, vector_key
from datumaro_clip.errors import ImageError
from datumaro_clip.images import Box, ImageLike
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.vectors import FloatArray


@dataclass(frozen=True)
class ImageRequest:
    """A picture to embed.

    Attributes
    ----------
    image : ImageLike or callable
        The picture, or a function that gives it; the function is called once, in a worker thread.
    box : tuple of float, optional
        ``(x, y, w, h)`` in pixels: only this part of it.
    """

    image: ImageLike | Callable[[], ImageLike]
    box: Box | None = None

    def fetch(self) -> ImageLike:
        """The picture itself.

        Raises
        ------
        ImageError
            If the function that should give it fails, however it does.
        """
        if not callable(self.image):
            return self.image
        try:
            return self.image()
        except ImageError:
            raise
        except Exception as exc:  # The function is another program's, and may raise anything.
            raise ImageError("unreadable", f"the picture cannot be had: {exc}") from exc


@dataclass(frozen=True, eq=False)
class EmbedResult:
    """What became of a request.

    Attributes
    ----------
    vector : numpy.ndarray or None
        Shape (D,), float32, unit length; None where the picture could not be embedded.
    error : ImageError or None
        Why not.
    source : str
        ``cache``, ``computed`` or ``failed``.
    """

    vector: FloatArray | None
    error: ImageError | None
    source: Literal["cache", "computed", "failed"]


@dataclass(eq=False)
class Prepared:
    """A request up to where the encoder takes over: one of ``vector``, ``pixels`` and ``error`` is set.

    Attributes
    ----------
    key : bytes or None
        Where to keep the vector; None where it is not to be kept.
    vector : numpy.ndarray or None
        Shape (D,), found in the cache.
    pixels : numpy.ndarray or None
        Shape (H, W, 3), uint8, for the encoder.
    error : ImageError or None
        Why there are no pixels.
    """

    key: bytes | None = None
    vector: FloatArray | None = None
    pixels: npt.NDArray[np.uint8] | None = None
    error: ImageError | None = None


class Preparation:
    """Hash, look up, decode and preprocess; safe to call from several threads.

    Parameters
    ----------
    encoder : Encoder
    cache : VectorCache or None
    exact_decode : bool
        Decode large JPEGs whole.
    """

    def __init__(self, encoder: Encoder, cache: VectorCache | None, exact_decode: bool) -> None:
        self._read, self._provenance = encoder.preprocessing.read, encoder.provenance
        self._cache, self._exact_decode = cache, exact_decode

    def __call__(self, request: ImageRequest) -> Prepared:
        """Prepare one request; whatever is wrong with the picture is in the result."""
        try:
            image, box = request.fetch(), request.box
            if self._cache is None:
                return Prepared(pixels=self._read(image, box=box, exact=self._exact_decode))
            before = _state_of(image)
            key = vector_key(content_digest(image), self._provenance, box, exact_decode=self._exact_decode)
            [vector] = self._cache.get([key])
            if vector is not None:
                return Prepared(key, vector)
            pixels = self._read(image, box=box, exact=self._exact_decode)
            # A file that changes between the hash and the decoding must not leave its vector under the old key.
            return Prepared(key if _state_of(image) == before else None, pixels=pixels)
        except ImageError as error:
            return Prepared(error=error)


def _state_of(image: ImageLike) -> tuple[int, int, int] | None:
    """What changes when a file is written to; None for what is no file, or has gone."""
    if not isinstance(image, str | os.PathLike):
        return None
    try:
        status = os.stat(image)
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
