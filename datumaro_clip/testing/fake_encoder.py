"""An encoder without a model: deterministic, fast, and right about colours."""

from __future__ import annotations

import hashlib
import threading
import zlib
from concurrent.futures import Future

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors

from datumaro_clip.errors import InferenceError
from datumaro_clip.images import Preprocessing
from datumaro_clip.model.encoder import Encoder, PixelBatch
from datumaro_clip.texts import TextSettings, TokenBatch, Tokenizer
from datumaro_clip.vectors import FloatArray, Provenance, VectorSpace, unit_rows

Colour = tuple[int, int, int]

COLOURS: dict[str, Colour] = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "orange": (255, 128, 0),
}

_SIDE = 32
_THUMBNAIL = 4
_FEATURES = _THUMBNAIL * _THUMBNAIL * 3 + 1
_SETTINGS = TextSettings(context_length=77, padding="longest", pad_id=0)
# The step of a text's vector for each word that is no colour.
_WORD_STRENGTH = 0.2
# Differences of colour values by JPEG compression, within which the failing colour is recognised.
_COLOUR_TOLERANCE = 8


class FakeEncoder(Encoder):
    """An encoder for tests and documentation.

    A picture's vector is a fixed random projection of its 4×4 thumbnail, so similar pictures have similar vectors. A
    text's vector is that of a picture with the mean of the colours it names (:data:`COLOURS`), moved a little by each
    other word.

    Parameters
    ----------
    dimension : int
        Length D of the vectors.
    seed : int
        Each seed is a vector space of its own.
    precision, device : str
        For :attr:`provenance`.
    fail_on : tuple of int, optional
        A colour (R, G, B): a batch that has a picture of only that colour fails with
        :class:`~datumaro_clip.errors.InferenceError`.

    Attributes
    ----------
    pictures_computed, texts_computed : int
        Rows computed so far, which show whether a cache was used.

    Examples
    --------
    >>> import numpy as np
    >>> encoder = FakeEncoder()
    >>> red, blue = encoder.embed_images([np.full((9, 9, 3), c, np.uint8) for c in ((255, 0, 0), (0, 0, 255))])
    >>> query, = encoder.embed_texts(["a red car"])
    >>> bool(query @ red > query @ blue)
    True
    """

    def __init__(
        self,
        dimension: int = 64,
        *,
        seed: int = 0,
        precision: str = "f32",
        device: str = "CPU",
        fail_on: Colour | None = None,
    ) -> None:
        fingerprint = "sha256:" + hashlib.sha256(f"fake encoder {dimension} {seed}".encode()).hexdigest()
        self.provenance = Provenance(VectorSpace(fingerprint, dimension, "fake/colours"), precision, device)
        self.preprocessing = Preprocessing(resize=(_SIDE, _SIDE), crop=None)
        self._bytes = _byte_tokenizer()
        self.tokenizer = Tokenizer(self._bytes, _SETTINGS)
        self.pictures_computed = self.texts_computed = 0
        self._projection = np.random.default_rng(seed).standard_normal((_FEATURES, dimension)).astype(np.float32)
        self._fail_on = fail_on
        self._lock = threading.Lock()

    def submit_pixels(self, pixels: PixelBatch) -> Future[FloatArray]:
        """Encode a batch of pictures at once; the future is done already."""
        self.require_pixels(pixels)
        if self._fail_on is not None and _any_all_of(pixels, self._fail_on):
            failed: Future[FloatArray] = Future()
            failed.set_exception(InferenceError("the batch holds a picture of the colour that this encoder fails on"))
            return failed
        with self._lock:
            self.pictures_computed += len(pixels)
        return self._project(_picture_features(pixels))

    def submit_tokens(self, tokens: TokenBatch) -> Future[FloatArray]:
        """Encode a batch of texts at once; the future is done already."""
        with self._lock:
            self.texts_computed += len(tokens)
        texts = self._bytes.decode_batch(tokens.input_ids.tolist())
        return self._project(np.stack([_text_features(text) for text in texts]))

    def _project(self, features: FloatArray) -> Future[FloatArray]:
        """Project features to unit vectors."""
        future: Future[FloatArray] = Future()
        # Row by row, because a matrix product over the batch would round differently for each batch size.
        future.set_result(unit_rows(np.stack([row @ self._projection for row in features])))
        return future


def _any_all_of(pixels: PixelBatch, colour: Colour) -> bool:
    """Return whether any picture of the batch has only one colour, the given one."""
    away = np.abs(pixels.astype(np.int16) - np.array(colour, np.int16)).max(axis=(1, 2, 3))
    return bool((away <= _COLOUR_TOLERANCE).any())


def _picture_features(pixels: PixelBatch) -> FloatArray:
    """Return features (B, 49): thumbnails in [-1, 1], and a 1, so that no row is all zero."""
    cell = _SIDE // _THUMBNAIL
    cells = pixels.reshape(len(pixels), _THUMBNAIL, cell, _THUMBNAIL, cell, 3)
    thumbnails = cells.mean(axis=(2, 4), dtype=np.float64).reshape(len(pixels), -1) / 127.5 - 1.0
    return np.pad(thumbnails, ((0, 0), (0, 1)), constant_values=1.0).astype(np.float32)


def _text_features(text: str) -> FloatArray:
    """Return features (49,): those of the mean of the colours named, plus a small step for each other word."""
    words = text.lower().split()
    named = [COLOURS[word] for word in words if word in COLOURS] or [COLOURS["grey"]]
    picture = np.broadcast_to(np.mean(named, axis=0).astype(np.uint8), (1, _SIDE, _SIDE, 3))
    steps = (_WORD_STRENGTH * _word_step(word) for word in words if word not in COLOURS)
    return sum(steps, _picture_features(picture)[0])


def _word_step(word: str) -> FloatArray:
    """Return a random step (49,) that depends on the word."""
    generator = np.random.default_rng(zlib.crc32(word.encode("utf-8")))
    return generator.standard_normal(_FEATURES).astype(np.float32)


def _byte_tokenizer() -> tokenizers.Tokenizer:
    """Make a tokenizer with one token for each byte, and one for the end of the text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<pad>", "<end>", *alphabet])}
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.add_special_tokens(["<pad>", "<end>"])
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 1)])
    return backend
