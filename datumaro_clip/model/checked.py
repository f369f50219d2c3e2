"""An encoder that is checked before it is first used: its files by their digests, its answers by known vectors."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from threading import Lock
from types import MappingProxyType

import numpy as np

from datumaro_clip.errors import SelfCheckError
from datumaro_clip.model.directory import IMAGE_ENCODER, TEXT_ENCODER, verify_files
from datumaro_clip.model.encoder import Encoder, PixelBatch
from datumaro_clip.model.golden import GoldenVectors, golden_pixels, golden_tokens
from datumaro_clip.texts import TokenBatch
from datumaro_clip.vectors import FloatArray, Provenance, VectorSpace

#: Least cosine similarity to the known vector of each golden input. Those of an int8 model are known in int8, so
#: that what quantisation costs does not count. Found for a ViT-B/32 on a CPU: f32 1.00000, bf16 0.99994, int8 (bf16
#: between the quantised layers) 0.99978. The bounds leave room for trained models, whose activations spread more.
LEAST_COSINE: Mapping[str, float] = MappingProxyType({"f32": 0.9999, "f16": 0.999, "bf16": 0.99, "int8": 0.99})

log = logging.getLogger(__name__)


def check_pictures(encoder: Encoder, golden: GoldenVectors) -> float:
    """Compute the golden pictures, compare, and return the least cosine similarity found.

    Raises
    ------
    SelfCheckError
        If it is below :data:`LEAST_COSINE` of the encoder's precision; names the input, device and cure.
    InferenceError
        If the device fails.
    """
    rows = encoder.submit_pixels(golden_pixels(encoder.preprocessing.size)).result()
    return _least_cosine(encoder, rows, golden.images, "picture")


def check_texts(encoder: Encoder, golden: GoldenVectors) -> float:
    """The same of the golden texts."""
    return _least_cosine(
        encoder, encoder.submit_tokens(golden_tokens(encoder.tokenizer)).result(), golden.texts, "text"
    )


def _least_cosine(encoder: Encoder, rows: FloatArray, expected: FloatArray, kind: str) -> float:
    where = encoder.provenance
    # NaN, which no bound lets through, where shapes differ.
    alike = rows.shape == expected.shape
    cosines = np.einsum("nd,nd->n", rows, expected) if alike else np.full(len(expected), np.nan)
    worst = int(np.argmin(cosines))
    found, least = float(cosines[worst]), LEAST_COSINE.get(where.precision, LEAST_COSINE["bf16"])
    if not found >= least:
        raise SelfCheckError(
            f"{where.device} answers wrongly in {where.precision}: golden {kind} {worst} has cosine similarity "
            f"{found:.4f} to its known vector, at least {least} is wanted; use --precision f32 or --device CPU, "
            "or insist with --no-self-check"
        )
    log.debug("self-check of %s, %ss: least cosine similarity %.5f", where.device, kind, found)
    return found


class CheckedEncoder(Encoder):
    """Another encoder, of which each side, pictures and texts, is checked before it is first used.

    A flipped bit in weights gives vectors that look like any others. Reading the 350 MB of a ViT-B/32's image encoder
    takes a quarter of a second, compiling them three times as long. A run that finds all its vectors in a cache pays
    nothing.

    Parameters
    ----------
    encoder : Encoder
    directory : Path, optional
        The model directory whose graphs are compared with their digests in the manifest.
    golden : GoldenVectors, optional
        What the encoder must make of the golden inputs; they are not tried where it is omitted.
    """

    def __init__(self, encoder: Encoder, directory: Path | None = None, golden: GoldenVectors | None = None) -> None:
        self.preprocessing, self.tokenizer = encoder.preprocessing, encoder.tokenizer
        self._encoder, self._directory, self._golden = encoder, directory, golden
        self._checked: set[str] = set()
        self._lock = Lock()

    @property
    def provenance(self) -> Provenance:  # type: ignore[override]  # AUTO knows its device only when compiled
        """The encoder's own."""
        return self._encoder.provenance

    @property
    def space(self) -> VectorSpace:
        """The encoder's own, for which nothing needs to be compiled."""
        return self._encoder.space

    def submit_pixels(self, pixels: PixelBatch) -> Future[FloatArray]:
        """As the encoder's.

        Raises
        ------
        ModelFormatError
            Before the first batch, if the graph's files are not what the manifest says.
        SelfCheckError
            Likewise, if the device answers wrongly.
        """
        self._check(IMAGE_ENCODER)
        return self._encoder.submit_pixels(pixels)

    def submit_tokens(self, tokens: TokenBatch) -> Future[FloatArray]:
        """As the encoder's; raises as :meth:`submit_pixels`."""
        self._check(TEXT_ENCODER)
        return self._encoder.submit_tokens(tokens)

    def _check(self, graph: str) -> None:
        """Check a side once; whoever comes meanwhile waits for the outcome."""
        with self._lock:
            if graph in self._checked:
                return
            if self._directory is not None:
                verify_files(self._directory, (graph, Path(graph).with_suffix(".bin").name))
            if self._golden is not None:
                (check_pictures if graph == IMAGE_ENCODER else check_texts)(self._encoder, self._golden)
            self._checked.add(graph)
