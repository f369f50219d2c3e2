"""Texts: tokens, cut as the model's own tokenizer cuts them, in batches of like length."""

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

# Longer texts than any model reads, and more tokens than any has.
_LARGEST = {"context_length": 1 << 16, "pad_id": 1 << 24}


#: What a class's name stands in where nothing else is asked for.
DEFAULT_PROMPT = "a photo of a {}"


@dataclass(frozen=True)
class TextSettings:
    """How a model wants its texts; the ``text`` entry of the model's manifest.

    Attributes
    ----------
    context_length : int
        Most tokens a text, marks of start and end included.
    padding : str
        ``longest``: batches are padded to their longest text; ``max_length``: always to the context length.
    pad_id : int
        Token that fills.
    lowercase : bool
        Whether texts are lower-cased before the tokenizer sees them.
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
    """Texts as tokens, unpadded.

    Attributes
    ----------
    ids : list of list of int
        Tokens of each text, in the order given.
    truncated : int
        How many texts were cut.
    settings : TextSettings
        How to pad them.
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
        Its padding and truncation are set anew, from ``settings``.
    settings : TextSettings or mapping
        The manifest's ``text`` entry.
    """

    def __init__(self, backend: tokenizers.Tokenizer, settings: TextSettings | Mapping[str, Any]) -> None:
        self.settings = settings if isinstance(settings, TextSettings) else TextSettings.from_mapping(settings)
        with _tokenizer_errors("the model's tokenizer cannot be used"):
            backend.no_padding()
            backend.enable_truncation(self.settings.context_length)
        self._backend = backend

    @classmethod
    def from_file(cls, path: Path, settings: TextSettings | Mapping[str, Any]) -> Tokenizer:
        """Read a ``tokenizer.json``; raise :class:`ModelFormatError` if it cannot be read."""
        with _tokenizer_errors(f"{path} is not a tokenizer"):
            backend = tokenizers.Tokenizer.from_file(str(path))
        return cls(backend, settings)

    def encode(self, texts: Sequence[str]) -> Tokens:
        """Turn texts into tokens.

        Parameters
        ----------
        texts : sequence of str
            Any Unicode, the empty text included; longer ones than the context are cut.

        Raises
        ------
        TextError
            For the first value that is not a text, or has a lone surrogate in it.
        """
        require_texts(texts)
        prepared = [text.lower() for text in texts] if self.settings.lowercase else list(texts)
        with _tokenizer_errors("the model's tokenizer fails on these texts"):
            encodings = self._backend.encode_batch_fast(prepared)
        ids = [encoding.ids for encoding in encodings]
        return Tokens(ids, sum(bool(encoding.overflowing) for encoding in encodings), self.settings)


@contextmanager
def _tokenizer_errors(what: str) -> Iterator[None]:
    """Turn what the tokenizers library raises into an error: bare exceptions, and panics, which are not even those."""
    try:
        yield
    except BaseException as exc:
        if isinstance(exc, Exception) or type(exc).__name__ == "PanicException":
            raise ModelFormatError(f"{what}: {exc}; copy the model again") from exc
        raise


def length_batches(tokens: Tokens, batch_size: int) -> Iterator[tuple[npt.NDArray[np.int64], TokenBatch]]:
    """Batches of texts of one length each, the longest first.

    Nothing is computed for padding, and a text's vector never depends on what it is computed with: a batch padded to
    its longest text adds up in another order. Where several batches are computed at a time, the last ones, which the
    others do not wait for, are short.

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
    """A class's name in place of the ``{}`` of a prompt; its underscores become spaces, as in ``hot_dog``."""
    return template.replace("{}", name.replace("_", " "))


def require_texts(texts: Sequence[object]) -> None:
    """Raise :class:`TextError` for the first value that is not a text, or has a lone surrogate in it.

    A single text, which would be as many as it has letters, is refused, too.
    """
    if isinstance(texts, str):
        raise TextError(f"wanted a list of texts, got the text {texts[:40]!r}; put it in a list")
    for index, text in enumerate(texts):
        _require_text(text, index)


def _require_text(text: object, index: int) -> None:
    """Raise TextError unless the tokenizer can take the value."""
    if not isinstance(text, str):
        raise TextError(f"text {index} is of type {type(text).__name__}, wanted str")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise TextError(f"text {index} ({text[:40]!a}) has a lone surrogate: {exc}; repair it first") from exc
