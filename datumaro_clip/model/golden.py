"""Golden inputs, equal to the bit in every release, and the check of an encoder against their known vectors."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from datumaro_clip.errors import ModelFormatError, SelfCheckError
from datumaro_clip.model.directory import GOLDEN, IMAGE_ENCODER, MAX_DIMENSION, TEXT_ENCODER, verify_files
from datumaro_clip.model.encoder import Encoder, PixelBatch
from datumaro_clip.texts import TokenBatch, Tokenizer
from datumaro_clip.vectors import FloatArray, Provenance, VectorSpace, is_unit_rows

#: These must never change: models keep the vectors of exactly these texts.
GOLDEN_TEXTS = (
    "a photo of a cat",
    "two dogs playing in the snow",
    "a red car parked on the street",
    "an aerial photograph of farmland, taken in summer",
    "a hand-drawn diagram",
    "a bowl of fruit on a wooden table next to a window with the curtains half drawn",
    "7 people",
    "naïve café ☕",
)
COUNT = 8
#: Least cosine similarity to the known vector of each golden input. The known vectors of an int8 model were computed in
#: int8, so the loss by quantisation does not count. Measured for a ViT-B/32 on a CPU: f32 1.00000, bf16 0.99994, int8
#: (bf16 between the quantised layers) 0.99978. The bounds leave room for trained models, whose activations spread more.
LEAST_COSINE: Mapping[str, float] = MappingProxyType({"f32": 0.9999, "f16": 0.999, "bf16": 0.99, "int8": 0.99})

log = logging.getLogger(__name__)


def golden_pixels(size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Draw eight patterns in integer arithmetic.

    Parameters
    ----------
    size : tuple of int
        (H, W) of the model's pictures; they are drawn at this size, so resizing in Pillow plays no part.

    Returns
    -------
    numpy.ndarray
        Shape (8, H, W, 3), uint8, RGB.
    """
    return np.stack([np.stack(channels, axis=-1).astype(np.uint8) for channels in _patterns(*size)])


def _patterns(height: int, width: int) -> Iterator[tuple[npt.NDArray[np.int64], ...]]:
    """Yield the three channels of each pattern, one pattern at a time to save memory."""
    y = (np.arange(height, dtype=np.int64) * 256 // height)[:, None]
    x = (np.arange(width, dtype=np.int64) * 256 // width)[None, :]
    radius = (x - 128) ** 2 + (y - 128) ** 2
    yield x + 0 * y, y + 0 * x, 255 - x + 0 * y
    yield (x // 32 + y // 32) % 2 * 255, (x // 64 + y // 64) % 2 * 255, (x + y) // 2
    yield x ^ y, x & y, x | y
    yield radius // 64, radius // 128, 255 - radius // 128
    yield (x * x + 3 * y) // 8, (y * y + 5 * x) // 8, x * y // 256
    yield 0 * x + y // 16 * 16, 0 * y + x // 16 * 16, (x - y) % 256
    yield np.where(radius < 4096, 220, 20), np.where(radius < 9216, 180, 60), 0 * x + 90 + 0 * y
    yield (x * 7919 + y * 104729) // 13, (x * 1299709 + y * 15485863) // 17, (x * y * 31) // 7


def golden_tokens(tokenizer: Tokenizer) -> TokenBatch:
    """Tokenise the eight texts as one batch."""
    return tokenizer.encode(GOLDEN_TEXTS).batch(range(COUNT))


@dataclass(frozen=True)
class GoldenVectors:
    """Vectors of the golden inputs: ``images`` and ``texts``, each (8, D), float32, unit rows."""

    images: FloatArray
    texts: FloatArray

    def save(self, directory: Path) -> None:
        """Write ``golden.npy``: (16, D), pictures first."""
        np.save(directory / GOLDEN, np.concatenate([self.images, self.texts]), allow_pickle=False)

    @classmethod
    def load(cls, directory: Path) -> GoldenVectors:
        """Read ``golden.npy``; raise :class:`ModelFormatError` if it is not 16 unit rows."""
        path = directory / GOLDEN
        try:
            # Mapped: a header with a shape larger than the file is an error, instead of a huge allocation.
            rows = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as exc:
            raise ModelFormatError(f"{path} cannot be read: {exc}") from exc
        wanted = rows.ndim == 2 and len(rows) == 2 * COUNT and rows.shape[1] <= MAX_DIMENSION
        if not wanted or rows.dtype != np.float32 or not is_unit_rows(rows):
            raise ModelFormatError(f"{path} holds {rows.dtype} {rows.shape}, wanted 16 unit rows of float32")
        return cls(np.array(rows[:COUNT]), np.array(rows[COUNT:]))


def check_pictures(encoder: Encoder, golden: GoldenVectors) -> float:
    """Embed the golden pictures, and return their least cosine similarity to the known vectors.

    Raises
    ------
    SelfCheckError
        If it is below :data:`LEAST_COSINE` for the encoder's precision; names the input, device and cure.
    InferenceError
        If the device fails.
    """
    rows = encoder.submit_pixels(golden_pixels(encoder.preprocessing.size)).result()
    return _least_cosine(encoder, rows, golden.images, "picture")


def check_texts(encoder: Encoder, golden: GoldenVectors) -> float:
    """Embed the golden texts; as :func:`check_pictures`."""
    rows = encoder.submit_tokens(golden_tokens(encoder.tokenizer)).result()
    return _least_cosine(encoder, rows, golden.texts, "text")


def _least_cosine(encoder: Encoder, rows: FloatArray, expected: FloatArray, kind: str) -> float:
    where = encoder.provenance
    # NaN, which passes no bound, if the shapes differ.
    same_shape = rows.shape == expected.shape
    cosines = np.einsum("nd,nd->n", rows, expected) if same_shape else np.full(len(expected), np.nan)
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
    """Wraps an encoder, and checks its image side and its text side each before its first batch.

    A flipped bit in the weights gives wrong vectors that look like any others. Reading the 350 MB of a ViT-B/32's image
    encoder to digest them takes a quarter of a second, compiling them three times as long. A run that finds all its
    vectors in a cache does neither.

    Parameters
    ----------
    encoder : Encoder
    directory : Path, optional
        A model directory; its graphs are compared with their digests in the manifest.
    golden : GoldenVectors, optional
        Known vectors of the golden inputs; without them, the encoder's vectors are not checked.
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
        """The encoder's own; asking for it compiles nothing."""
        return self._encoder.space

    def submit_pixels(self, pixels: PixelBatch) -> Future[FloatArray]:
        """Encode a batch of pictures with the encoder, after the check.

        Raises
        ------
        ModelFormatError
            Before the first batch, if the graph's files are not what the manifest says.
        SelfCheckError
            Before the first batch, if the device answers wrongly.
        """
        self._check(IMAGE_ENCODER)
        return self._encoder.submit_pixels(pixels)

    def submit_tokens(self, tokens: TokenBatch) -> Future[FloatArray]:
        """Encode a batch of texts with the encoder, after the check; raises as :meth:`submit_pixels`."""
        self._check(TEXT_ENCODER)
        return self._encoder.submit_tokens(tokens)

    def _check(self, graph: str) -> None:
        """Check one side, once; other threads wait until it is done."""
        with self._lock:
            if graph in self._checked:
                return
            if self._directory is not None:
                verify_files(self._directory, (graph, Path(graph).with_suffix(".bin").name))
            if self._golden is not None:
                (check_pictures if graph == IMAGE_ENCODER else check_texts)(self._encoder, self._golden)
            self._checked.add(graph)
