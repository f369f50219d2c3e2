"""Vectors of the texts and pictures in requests, computed in batches with those of other requests."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import numpy.typing as npt
from cachetools import LRUCache

from datumaro_clip.errors import DatumaroClipError
from datumaro_clip.images import Box, ImageLike
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.service.metrics import Metrics
from datumaro_clip.service.pool import Batcher, Pool
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
        self.text = TextCache(self.texts, kept_texts, lambda result: metrics.text_cache.labels(result).inc())

    async def picture(self, image: ImageLike, box: Box | None = None) -> FloatArray:
        """Return the vector (D,) of a picture, or of a box (x, y, width, height) of it, as embedding a dataset does.

        Raises
        ------
        ImageError
            If it cannot be decoded.
        """
        return await self.pictures(await self._pool.run(self.encoder.preprocessing.read, image, box=box))

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
        # One picture that the encoder fails on must not fail the others.
        return [result for one in pixels for result in self._embed_pixels([one])]


class TextCache:
    """Vectors of recent texts; a request for a text that is being computed waits for that computation.

    Parameters
    ----------
    compute : callable
        Returns the vector (D,) of a normalised text.
    most : int
        Texts that are kept; the least recently used goes first.
    tell : callable
        Called with ``hit`` or ``miss`` at each look-up; a text that is being computed for another request is a hit.
    """

    def __init__(self, compute: Callable[[str], Awaitable[FloatArray]], most: int, tell: Callable[[str], None]) -> None:
        self._compute, self._tell = compute, tell
        self._kept: LRUCache[str, asyncio.Task[FloatArray]] = LRUCache(most)

    async def __call__(self, text: str) -> FloatArray:
        """Return the vector (D,) of a text.

        Raises
        ------
        Exception
            The one that the computation raised; the next request tries again.
        """
        key = normalised(text)
        task = self._kept.get(key)
        self._tell("miss" if task is None else "hit")
        if task is None:
            task = asyncio.ensure_future(self._compute(key))
            self._kept[key] = task
            task.add_done_callback(lambda ended: self._forget_failed(key, ended))
        # Shielded: one request that goes away must not end it for the others.
        return await asyncio.shield(task)

    def _forget_failed(self, key: str, task: asyncio.Task[FloatArray]) -> None:
        if (task.cancelled() or task.exception() is not None) and self._kept.get(key) is task:
            del self._kept[key]


def normalised(text: str) -> str:
    """Return the text in composed form (NFC), without blanks at its ends, and with single ones inside."""
    return " ".join(unicodedata.normalize("NFC", text).split())
