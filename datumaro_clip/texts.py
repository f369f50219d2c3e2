"""Texts: tokenized and cut by the model's own tokenizer, in batches of equal length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers

from datumaro_clip.errors import ModelFormatError, TextError

# A longer context and more tokens than any model has.
_LARGEST = {"context_length": 1 << 16, "pad_id": 1 << 24}
#: The default prompt for the name of a class.
DEFAULT_PROMPT = "a photo of a {}"


@dataclass(frozen=True)
class TextSettings:
    """How a model wants its texts; the ``text`` entry of the model's manifest.

    Attributes
    ----------
    context_length : int
        Most tokens of a text, marks of start and end included.
    padding : str
        ``longest``: batches are padded to their longest text; ``max_length``: always to the context length.
    pad_id : int
        Token of the padding.
    lowercase : bool
        Whether texts are lower-cased before they are tokenized.
    attention_mask : bool
        Whether the model takes an attention mask.
    """

    context_length: int
    padding: str
    pad_id: int
    lowercase: bool = False
    attention_mask: bool = True

    def __post_init__(self) -> None:
        for name, least in (("context_length", 1), ("pad_id", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _LARGEST[name]:
                wanted = f"a whole number from {least} to {_LARGEST[name]}"
                raise ModelFormatError(f"the text setting {name} {value!r} is not {wanted}")
        if self.padding not in ("longest", "max_length"):
            raise ModelFormatError(f"the text setting padding {self.padding!r} is neither 'longest' nor 'max_length'")
        for name in ("lowercase", "attention_mask"):
            if not isinstance(getattr(self, name), bool):
                raise ModelFormatError(f"the text setting {name} {getattr(self, name)!r} is neither true nor false")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> TextSettings:
        """Read the manifest's entry; raise :class:`ModelFormatError` if keys are missing or unknown."""
        try:
            return cls(**mapping)
        except TypeError as exc:
            raise ModelFormatError(f"the manifest's text settings cannot be used: {exc}") from exc


@dataclass(frozen=True)
class TokenBatch:
    """Texts of one batch, padded to one length.

    Attributes
    ----------
    input_ids : numpy.ndarray
        Shape (B, L), int64.
    attention_mask : numpy.ndarray
        Shape (B, L), int64: 1 on tokens, 0 on padding.
    """

    input_ids: npt.NDArray[np.int64]
    attention_mask: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.input_ids)


@dataclass(frozen=True)
class Tokens:
    """Tokens of several texts, without padding.

    Attributes
    ----------
    ids : list of list of int
        Tokens of each text, in the order given.
    truncated : int
        Number of texts that were cut.
    settings : TextSettings
        Say how to pad.
    """

    ids: list[list[int]]
    truncated: int
    settings: TextSettings

    def batch(self, indices: Sequence[int]) -> TokenBatch:
        """Pad the texts at ``indices`` into one batch."""
        rows = [self.ids[index] for index in indices]
        full = self.settings.padding == "max_length"
        length = self.settings.context_length if full else max(map(len, rows))
        input_ids = np.full((len(rows), length), self.settings.pad_id, np.int64)
        attention_mask = np.zeros((len(rows), length), np.int64)
        for row, ids in enumerate(rows):
            input_ids[row, : len(ids)] = ids
            attention_mask[row, : len(ids)] = 1
        return TokenBatch(input_ids, attention_mask)


class Tokenizer:
    """A model's own tokenizer.

    Parameters
    ----------
    backend : tokenizers.Tokenizer
        Its padding and truncation are replaced by those of ``settings``.
    settings : TextSettings
    """

    def __init__(self, backend: tokenizers.Tokenizer, settings: TextSettings) -> None:
        self.settings = settings
        with _tokenizer_errors("the model's tokenizer cannot be used"):
            backend.no_padding()
            backend.enable_truncation(self.settings.context_length)
        self._backend = backend

    @classmethod
    def from_file(cls, path: Path, settings: TextSettings) -> Tokenizer:
        """Read a ``tokenizer.json``; raise :class:`ModelFormatError` if it cannot be read."""
        with _tokenizer_errors(f"{path} is not a tokenizer"):
            backend = tokenizers.Tokenizer.from_file(str(path))
        return cls(backend, settings)

    def encode(self, texts: Sequence[str]) -> Tokens:
        """Tokenize texts.

        Parameters
        ----------
        texts : sequence of str
            Any Unicode, the empty text included; texts longer than the context are cut.

        Raises
        ------
        TextError
            For the first value that is not a text, or has a lone surrogate.
        """
        require_texts(texts)
        prepared = [text.lower() for text in texts] if self.settings.lowercase else list(texts)
        with _tokenizer_errors("the model's tokenizer fails on these texts"):
            encodings = self._backend.encode_batch_fast(prepared)
        ids = [encoding.ids for encoding in encodings]
        return Tokens(ids, sum(bool(encoding.overflowing) for encoding in encodings), self.settings)


@contextmanager
def _tokenizer_errors(what: str) -> Iterator[None]:
    """Convert errors of the tokenizers library: bare exceptions, and panics, which are only ``BaseException``."""
    try:
        yield
    except BaseException as exc:
        if isinstance(exc, Exception) or type(exc).__name__ == "PanicException":
            raise ModelFormatError(f"{what}: {exc}; copy the model again") from exc
        raise


def length_batches(tokens: Tokens, batch_size: int) -> Iterator[tuple[npt.NDArray[np.int64], TokenBatch]]:
    """Make batches of texts of one length each, the longest first.

    So nothing is computed for padding, and a text's vector does not depend on the others in its batch: with padding,
    the model adds up in another order. Of batches that are computed at a time, the last ones are then short.

    Parameters
    ----------
    tokens : Tokens
    batch_size : int
        Most texts a batch.

    Yields
    ------
    (indices, TokenBatch)
        ``indices`` (B,) int64 says which text each row of the batch is.
    """
    order = np.argsort([-len(ids) for ids in tokens.ids], kind="stable").astype(np.int64)
    for _, equal in groupby(order.tolist(), key=lambda index: len(tokens.ids[index])):
        indices = list(equal)
        for start in range(0, len(indices), batch_size):
            part = indices[start : start + batch_size]
            yield np.array(part, np.int64), tokens.batch(part)


def fill_prompt(template: str, name: str) -> str:
    """Put a class's name in place of the ``{}`` of a prompt; underscores become spaces, as in ``hot_dog``."""
    return template.replace("{}", name.replace("_", " "))


def require_texts(texts: Sequence[object]) -> None:
    """Raise :class:`TextError` for the first value that is not a text, or has a lone surrogate.

    A single text in place of a sequence is refused too.
    """
    if isinstance(texts, str):
        raise TextError(f"wanted a list of texts, got the text {texts[:40]!r}; put it in a list")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TextError(f"text {index} is of type {type(text).__name__}, wanted str")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as exc:
            raise TextError(f"text {index} ({text[:40]!a}) has a lone surrogate: {exc}; repair it first") from exc
