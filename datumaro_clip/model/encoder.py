"""The base class of encoders: two batch methods to implement, and methods built on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from itertools import islice
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from datumaro_clip.errors import InferenceError
from datumaro_clip.images import ImageLike, Preprocessing
from datumaro_clip.texts import TokenBatch, Tokenizer, length_batches, require_texts
from datumaro_clip.vectors import FloatArray, Provenance, VectorSpace

PixelBatch = npt.NDArray[np.uint8]


class Encoder(ABC):
    """A CLIP model: an image encoder and a text encoder of one vector space.

    A subclass sets the three attributes and implements the two ``submit`` methods.

    Attributes
    ----------
    provenance : Provenance
        Vector space, precision and device.
    preprocessing : Preprocessing
        Turns a decoded picture into the pixels that :meth:`submit_pixels` takes.
    tokenizer : Tokenizer
        Turns texts into the tokens that :meth:`submit_tokens` takes.
    """

    #: Rows in a batch, unless the caller says otherwise.
    batch_size: ClassVar[int] = 16

    provenance: Provenance
    preprocessing: Preprocessing
    tokenizer: Tokenizer

    @property
    def space(self) -> VectorSpace:
        """The vector space of everything that this encoder returns."""
        return self.provenance.space

    def __repr__(self) -> str:
        made = self.provenance
        return f"{type(self).__name__}({made.space}, {made.device}, {made.precision})"

    @abstractmethod
    def submit_pixels(self, pixels: PixelBatch) -> Future[FloatArray]:
        """Start encoding a batch of pictures; block while the queue is full.

        Parameters
        ----------
        pixels : numpy.ndarray
            Shape (B, H, W, 3), uint8, RGB, as :attr:`preprocessing` makes them. Not modified; it must not be
            modified by the caller before the future is done.

        Returns
        -------
        concurrent.futures.Future
            Resolves to (B, D) float32 unit rows, or to :class:`~datumaro_clip.errors.InferenceError`.
        """

    @abstractmethod
    def submit_tokens(self, tokens: TokenBatch) -> Future[FloatArray]:
        """Start encoding a batch of texts, (B, L) tokens; as :meth:`submit_pixels`."""

    def require_pixels(self, pixels: PixelBatch) -> None:
        """Raise :class:`~datumaro_clip.errors.InferenceError` unless shape and dtype are those of a batch."""
        height, width = self.preprocessing.size
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (height, width, 3):
            raise InferenceError(f"wanted uint8 (B, {height}, {width}, 3), got {pixels.dtype} {pixels.shape}")

    def embed_images(self, images: Iterable[ImageLike]) -> FloatArray:
        """Embed pictures; decodes one after another, without a cache. :func:`datumaro_clip.embed` has threads and one.

        Parameters
        ----------
        images : iterable
            Paths, encoded bytes, PIL images, or uint8 arrays (H, W), (H, W, 3) RGB or (H, W, 4) RGBA.

        Returns
        -------
        numpy.ndarray
            Shape (N, D), float32, unit rows, in the order given; (0, D) for no pictures.

        Raises
        ------
        ImageError
            For the first picture that cannot be decoded.
        InferenceError
            If the device fails.
        """
        rows = map(self.preprocessing.read, images)
        batches = iter(lambda: list(islice(rows, self.batch_size)), [])
        return self._gather([self.submit_pixels(np.stack(batch)) for batch in batches])

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Embed texts; equal texts are computed once.

        Parameters
        ----------
        texts : sequence of str
            Longer ones are cut as the model's own tokenizer cuts them.

        Returns
        -------
        numpy.ndarray
            Shape (N, D), float32, unit rows, in the order given; (0, D) for no texts.

        Raises
        ------
        TextError
            For the first value that is not a text.
        InferenceError
            If the device fails.
        """
        require_texts(texts)
        unique = list(dict.fromkeys(texts))
        batches = length_batches(self.tokenizer.encode(unique), self.batch_size)
        submitted = [(indices, self.submit_tokens(batch)) for indices, batch in batches]
        rows = self._gather([future for _, future in submitted])
        order = [index for indices, _ in submitted for index in indices.tolist()]
        position = {unique[index]: row for row, index in enumerate(order)}
        return rows[[position[text] for text in texts]] if len(texts) else rows

    def _gather(self, futures: list[Future[FloatArray]]) -> FloatArray:
        """Wait for the rows of all futures, and return them in order."""
        empty = np.empty((0, self.space.dimension), np.float32)
        return np.concatenate([empty, *(future.result() for future in futures)])
