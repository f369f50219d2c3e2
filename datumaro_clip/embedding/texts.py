"""Embed texts: equal texts once, and texts of similar length in one batch."""

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
from datumaro_clip.texts import length_batches, require_texts
from datumaro_clip.vectors import FloatArray

# Batches submitted and not yet collected; longer than the encoder's own queue.
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
        As :func:`datumaro_clip.load_model` takes it. Nothing is computed if the cache holds everything.
    cache : VectorCache, optional
        Where vectors are looked up and kept.
    batch_size : int, optional
        Texts in a batch; by default the encoder's batch size.
    on_cut : callable, optional
        Called with the number of computed texts that were longer than the model reads.

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
        If there is no such model, or it cannot be loaded.
    """
    encoder = load_model(model)
    batch_size = encoder.batch_size if batch_size is None else batch_size
    if batch_size < 1:
        raise OptionError(f"the batch size must be at least 1, got {batch_size}")
    require_texts(texts)
    place = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    unique = list(place)
    keys = [vector_key(text_digest(text), encoder.provenance) for text in unique] if cache is not None else []
    known = cache.get(keys) if cache is not None else [None] * len(unique)
    rows = np.empty((len(unique), encoder.space.dimension), np.float32)
    for row, vector in enumerate(known):
        if vector is not None:
            rows[row] = vector
    missing = np.array([row for row, vector in enumerate(known) if vector is None], np.int64)
    tokens = encoder.tokenizer.encode([unique[row] for row in missing])
    waiting: deque[tuple[npt.NDArray[np.int64], Future[FloatArray]]] = deque()

    def collect_beyond(most: int) -> None:
        while len(waiting) > most:
            places, vectors = waiting.popleft()
            rows[places] = vectors.result()

    # Closing the keeper puts what was computed into the cache, even after an error.
    with closing(Keeper(cache)) as keeper:
        for indices, batch in length_batches(tokens, batch_size):
            places = missing[indices]
            vectors = encoder.submit_tokens(batch)
            keeper.keep([keys[row] for row in places] if keys else [], vectors)
            waiting.append((places, vectors))
            collect_beyond(_BATCHES_WAITING)
        collect_beyond(0)
    if on_cut is not None:
        on_cut(tokens.truncated)
    return rows[[place[text] for text in texts]]
