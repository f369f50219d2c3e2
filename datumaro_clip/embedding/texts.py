"""Embedding texts: equal ones once, those of like length together."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing

import numpy as np
import numpy.typing as npt

from datumaro_clip.embedding.cache import Keeper, VectorCache
from datumaro_clip.embedding.keys import text_digest, vector_key
from datumaro_clip.errors import OptionError
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.model.loading import load_model
from datumaro_clip.texts import TokenBatch, length_batches, require_texts
from datumaro_clip.vectors import FloatArray

IndexArray = npt.NDArray[np.int64]

# Batches submitted and not yet collected; the encoder's own queue is shorter.
_BATCHES_WAITING = 8


def embed_texts(
    texts: Sequence[str],
    model: str | os.PathLike[str] | Encoder | None = None,
    *,
    cache: VectorCache | None = None,
    batch_size: int | None = None,
    on_cut: Callable[[int], None] | None = None,
) -> FloatArray:
    """Embed texts.

    Parameters
    ----------
    texts : sequence of str
        Longer ones are cut as the model's own tokenizer cuts them.
    model : path, str or Encoder, optional
        As :func:`datumaro_clip.load_model` takes it. Nothing is computed where the cache holds everything.
    cache : VectorCache, optional
        Where vectors are looked up and kept.
    batch_size : int, optional
        Texts a batch; the encoder's own where omitted.
    on_cut : callable, optional
        Told how many of the texts that had to be computed were longer than the model reads.

    Returns
    -------
    numpy.ndarray
        Shape (N, D), float32, unit rows, in the order given; (0, D) for no texts.

    Raises
    ------
    OptionError
        If ``batch_size`` is below 1.
    TextError
        For the first value that is not a text.
    InferenceError
        If the device fails.
    CacheError
        If the cache cannot be read or written.
    ModelError
        If the model cannot be had.
    """
    encoder = load_model(model)
    batch_size = encoder.batch_size if batch_size is None else batch_size
    if batch_size < 1:
        raise OptionError(f"the batch size must be at least 1, got {batch_size}")
    require_texts(texts)
    place = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    unique = list(place)
    rows = np.empty((len(unique), encoder.space.dimension), np.float32)
    with closing(_TextRun(encoder, cache, unique, rows)) as run:
        cut = run.compute(run.look_up(), batch_size)
    if on_cut is not None:
        on_cut(cut)
    return rows[[place[text] for text in texts]]


class _TextRun:
    """Distinct texts, the matrix that their vectors go into, and where they are kept."""

    def __init__(self, encoder: Encoder, cache: VectorCache | None, texts: list[str], rows: FloatArray) -> None:
        self.encoder, self.cache, self.texts, self.rows = encoder, cache, texts, rows
        self.keeper = Keeper(cache)
        keep = cache is not None
        self.keys = [vector_key(text_digest(text), encoder.provenance) if keep else None for text in texts]

    def look_up(self) -> IndexArray:
        """Fill in what the cache holds; the rows of the others."""
        keys = [key for key in self.keys if key is not None]
        found = self.cache.get(keys) if self.cache is not None else [None] * len(self.texts)
        for row, vector in enumerate(found):
            if vector is not None:
                self.rows[row] = vector
        return np.array([row for row, vector in enumerate(found) if vector is None], np.int64)

    def compute(self, missing: IndexArray, batch_size: int) -> int:
        """Compute the rows ``missing``, a few batches at a time; how many of the texts were cut."""
        waiting: deque[tuple[IndexArray, Future[FloatArray]]] = deque()
        tokens = self.encoder.tokenizer.encode([self.texts[row] for row in missing])
        for indices, batch in length_batches(tokens, batch_size):
            waiting.append((missing[indices], self._submit(missing[indices], batch)))
            if len(waiting) > _BATCHES_WAITING:
                self._collect(*waiting.popleft())
        while waiting:
            self._collect(*waiting.popleft())
        return tokens.truncated

    def close(self) -> None:
        """Wait until what was computed is in the cache."""
        self.keeper.close()

    def _submit(self, rows: IndexArray, batch: TokenBatch) -> Future[FloatArray]:
        vectors = self.encoder.submit_tokens(batch)
        self.keeper.keep([self.keys[row] for row in rows], vectors)
        return vectors

    def _collect(self, rows: IndexArray, vectors: Future[FloatArray]) -> None:
        self.rows[rows] = vectors.result()
