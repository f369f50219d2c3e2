"""Vectors of what requests bring: texts and pictures, in batches with those of other requests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from datumaro_clip.errors import DatumaroClipError
from datumaro_clip.images import Box, ImageLike
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.service.batching import Batcher
from datumaro_clip.service.metrics import Metrics
from datumaro_clip.service.pool import Pool
from datumaro_clip.service.textcache import TextCache
from datumaro_clip.vectors import FloatArray

Pixels = npt.NDArray[np.uint8]

# Beyond this a batch of texts or pictures is no quicker on a CPU.
_MOST_TOGETHER = 32


class Embedding:
    """The encoder as requests use it.

    Parameters
    ----------
    encoder : Encoder
    pool : Pool
    metrics : Metrics
    capacity : int
        Texts, and pictures, that may wait.
    kept_texts : int
        Texts whose vectors are kept.
    """

    def __init__(self, encoder: Encoder, pool: Pool, metrics: Metrics, capacity: int, kept_texts: int) -> None:
        self.encoder, self._pool, self._metrics = encoder, pool, metrics
        self.texts: Batcher[str, FloatArray] = Batcher(self._embed_texts, pool, most=_MOST_TOGETHER, capacity=capacity)
        self.pictures: Batcher[Pixels, FloatArray] = Batcher(
            self._embed_pixels, pool, most=_MOST_TOGETHER, capacity=capacity
        )
        self._cache = TextCache(
            self.texts, encoder.provenance, kept_texts, lambda result: metrics.text_cache.labels(result).inc()
        )

    async def text(self, text: str) -> FloatArray:
        """The vector (D,) of a text, from the cache where it is there."""
        return await self._cache.vector(text)

    async def picture(self, image: ImageLike, box: Box | None = None) -> FloatArray:
        """The vector (D,) of a picture, or of a box (x, y, width, height) of it.

        Raises
        ------
        ImageError
            If it cannot be decoded.
        """
        return await self.pictures(await self._pool.run(self.pixels, image, box))

    def pixels(self, image: ImageLike, box: Box | None = None) -> Pixels:
        """What the encoder takes of a picture, as embedding a dataset makes it."""
        return self.encoder.preprocessing.read(image, box=box)

    def _embed_texts(self, texts: list[str]) -> Sequence[FloatArray | Exception]:
        with self._metrics.busy("texts", len(texts)):
            return list(self.encoder.embed_texts(texts))

    def _embed_pixels(self, pixels: list[Pixels]) -> Sequence[FloatArray | Exception]:
        with self._metrics.busy("pictures", len(pixels)):
            try:
                return list(self.encoder.submit_pixels(np.stack(pixels)).result())
            except DatumaroClipError as error:
                if len(pixels) == 1:
                    return [error]
        # One that the encoder fails on must not take the others with it.
        return [result for one in pixels for result in self._embed_pixels([one])]
