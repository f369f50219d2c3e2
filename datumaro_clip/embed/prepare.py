"""One request up to where the encoder takes over: found in the cache, decoded, or failed."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datumaro_clip.embed.cache import VectorCache
from datumaro_clip.embed.keys import content_digest, vector_key
from datumaro_clip.embed.requests import ImageRequest
from datumaro_clip.errors import ImageError
from datumaro_clip.images import ImageLike, decode
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.vectors import FloatArray


@dataclass(eq=False)
class Prepared:
    """A request on its way: one of ``vector``, ``pixels`` and ``error`` is set.

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
        self._preprocessing, self._provenance = encoder.preprocessing, encoder.provenance
        self._cache, self._exact_decode = cache, exact_decode

    def __call__(self, request: ImageRequest) -> Prepared:
        """Prepare one request; whatever is wrong with the picture is in the result."""
        try:
            return self._prepare(request.fetch(), request.box)
        except ImageError as error:
            return Prepared(error=error)

    def _prepare(self, image: ImageLike, box: tuple[float, float, float, float] | None) -> Prepared:
        if self._cache is None:
            return Prepared(pixels=self._pixels(image, box))
        before = _state_of(image)
        key = vector_key(content_digest(image), self._provenance, box, exact_decode=self._exact_decode)
        [vector] = self._cache.get([key])
        if vector is not None:
            return Prepared(key, vector)
        pixels = self._pixels(image, box)
        # A file that changes between the hash and the decoder must not leave its vector under the old key.
        return Prepared(key if _state_of(image) == before else None, pixels=pixels)

    def _pixels(self, image: ImageLike, box: tuple[float, float, float, float] | None) -> npt.NDArray[np.uint8]:
        target = None if self._exact_decode else self._preprocessing.decode_target
        return self._preprocessing(decode(image, target=target, box=box))


def _state_of(image: ImageLike) -> tuple[int, int, int] | None:
    """What changes when a file is written to; None for what is no file, or has gone."""
    if not isinstance(image, str | os.PathLike):
        return None
    try:
        status = os.stat(image)
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
