"""Comparing a device's answers with known vectors, before anything is built on them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from threading import Lock
from types import MappingProxyType

import numpy as np

from datumaro_clip.errors import SelfCheckError
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.model.golden import GOLDEN_TEXTS, GoldenVectors, golden_pixels, golden_tokens
from datumaro_clip.model.verified import WrappedEncoder
from datumaro_clip.vectors import FloatArray

#: Least cosine similarity to the known vector of each golden input. Those of an int8 model are known in int8, so
#: that what quantisation costs does not count. Found for a ViT-B/32 on a CPU: f32 1.00000, bf16 0.99994, int8 (bf16
#: between the quantised layers) 0.99978. The bounds leave room for trained models, whose activations spread more.
LEAST_COSINE: Mapping[str, float] = MappingProxyType({"f32": 0.9999, "f16": 0.999, "bf16": 0.99, "int8": 0.99})

log = logging.getLogger(__name__)


def check_encoder(encoder: Encoder, golden: GoldenVectors) -> float:
    """Compute the golden inputs and compare.

    Parameters
    ----------
    encoder : Encoder
    golden : GoldenVectors
        The model's own.

    Returns
    -------
    float
        The least cosine similarity found.

    Raises
    ------
    SelfCheckError
        If one is below :data:`LEAST_COSINE` of the encoder's precision; names the input, device and cure.
    InferenceError
        If the device fails.
    """
    images = encoder.submit_pixels(golden_pixels(encoder.preprocessing.size)).result()
    texts = encoder.submit_tokens(golden_tokens(encoder.tokenizer)).result()
    cosines = np.concatenate([_cosines(images, golden.images), _cosines(texts, golden.texts)])
    worst = int(np.argmin(cosines))
    least = LEAST_COSINE.get(encoder.provenance.precision, LEAST_COSINE["bf16"])
    if not cosines[worst] >= least:
        raise SelfCheckError(_complaint(encoder, worst, float(cosines[worst]), least))
    log.info("self-check of %s: least cosine similarity %.5f", encoder.provenance.device, cosines[worst])
    return float(cosines[worst])


def _cosines(rows: FloatArray, expected: FloatArray) -> FloatArray:
    """Row by row; NaN, which no threshold lets through, where shapes differ."""
    if rows.shape != expected.shape:
        return np.full(len(expected), np.nan, np.float32)
    cosines: FloatArray = np.einsum("nd,nd->n", rows, expected)
    return cosines


def _complaint(encoder: Encoder, worst: int, found: float, least: float) -> str:
    """What is wrong, and what to do."""
    where = encoder.provenance
    golden_input = f"picture {worst}" if worst < len(GOLDEN_TEXTS) else f"text {worst - len(GOLDEN_TEXTS)}"
    return (
        f"{where.device} answers wrongly in {where.precision}: golden {golden_input} has cosine similarity "
        f"{found:.4f} to its known vector, at least {least} is wanted; use --precision f32 or --device CPU, "
        "or insist with --no-self-check"
    )


class CheckedEncoder(WrappedEncoder):
    """An encoder that is checked before it is first asked for anything."""

    def __init__(self, encoder: Encoder, golden: GoldenVectors) -> None:
        super().__init__(encoder)
        self._golden: GoldenVectors | None = golden
        self._lock = Lock()

    def before_pixels(self) -> None:
        """Raise SelfCheckError if the device answers wrongly."""
        self._check()

    def before_tokens(self) -> None:
        """Raise SelfCheckError if the device answers wrongly."""
        self._check()

    def _check(self) -> None:
        """Check once; whoever comes meanwhile waits for the outcome."""
        with self._lock:
            if self._golden is not None:
                check_encoder(self._encoder, self._golden)
                self._golden = None
