"""Encoders that look at themselves before they are first used."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from threading import Lock

from datumaro_clip.model.directory import IMAGE_ENCODER, TEXT_ENCODER, verify_files
from datumaro_clip.model.encoder import Encoder, PixelBatch
from datumaro_clip.texts import TokenBatch
from datumaro_clip.vectors import FloatArray, Provenance, VectorSpace


class WrappedEncoder(Encoder):
    """Another encoder, with :meth:`before_pixels` and :meth:`before_tokens` done before it is asked for vectors.

    Nothing is done earlier, so that a run that finds all its vectors in a cache pays nothing.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.preprocessing = encoder.preprocessing
        self.tokenizer = encoder.tokenizer

    @property
    def provenance(self) -> Provenance:  # type: ignore[override]  # AUTO knows its device only when compiled
        """The encoder's own."""
        return self._encoder.provenance

    @property
    def space(self) -> VectorSpace:
        """The encoder's own, for which nothing needs to be compiled."""
        return self._encoder.space

    def submit_pixels(self, pixels: PixelBatch) -> Future[FloatArray]:
        """As the encoder's."""
        self.before_pixels()
        return self._encoder.submit_pixels(pixels)

    def submit_tokens(self, tokens: TokenBatch) -> Future[FloatArray]:
        """As the encoder's."""
        self.before_tokens()
        return self._encoder.submit_tokens(tokens)

    def before_pixels(self) -> None:
        """Called before each batch of pictures, by any thread."""

    def before_tokens(self) -> None:
        """Called before each batch of texts, by any thread."""


class VerifiedEncoder(WrappedEncoder):
    """An encoder whose graphs are compared with their digests in the manifest, each before its first use.

    A flipped bit in weights gives vectors that look like any others. Reading the 350 MB of a ViT-B/32's image encoder
    takes a quarter of a second, compiling them three times as long.
    """

    def __init__(self, encoder: Encoder, directory: Path) -> None:
        super().__init__(encoder)
        self._directory = directory
        self._verified: set[str] = set()
        self._lock = Lock()

    def before_pixels(self) -> None:
        """Raise ModelFormatError if the image encoder's files are not what the manifest says."""
        self._verify(IMAGE_ENCODER)

    def before_tokens(self) -> None:
        """Raise ModelFormatError if the text encoder's files are not what the manifest says."""
        self._verify(TEXT_ENCODER)

    def _verify(self, graph: str) -> None:
        """Compare once; whoever comes meanwhile waits for the outcome."""
        with self._lock:
            if graph not in self._verified:
                verify_files(self._directory, (graph, Path(graph).with_suffix(".bin").name))
                self._verified.add(graph)
