"""Vectors into the cache as their batches are done."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future

from datumaro_clip.cache import VectorCache
from datumaro_clip.pipeline.workers import Workers
from datumaro_clip.vectors import FloatArray

_Batch = tuple[Sequence[bytes | None], Future[FloatArray]]


class Keeper:
    """Puts vectors into a cache the moment they are there, whether or not anybody waits for them.

    So a killed run loses only what was being computed.

    Parameters
    ----------
    cache : VectorCache or None
        Nothing is kept where there is none.
    """

    def __init__(self, cache: VectorCache | None) -> None:
        self._cache = cache
        self._writer: Workers[_Batch, None] = Workers(self._write, threads=0 if cache is None else 1)
        self._writes: deque[Future[None]] = deque()

    def keep(self, keys: Sequence[bytes | None], vectors: Future[FloatArray]) -> None:
        """Keep the rows of a batch under their keys, once it is done; rows whose key is None are not kept."""
        if self._cache is not None:
            vectors.add_done_callback(lambda done: self._writes.append(self._writer.submit((keys, done))))

    def check(self) -> None:
        """Raise the error of a write that failed."""
        while self._writes and self._writes[0].done():
            self._writes.popleft().result()

    def close(self) -> None:
        """Wait for the writes that have begun, and note what was used."""
        self._writer.stop()
        while self._writes:
            self._writes.popleft().result()
        if self._cache is not None:
            self._cache.flush()

    def _write(self, batch: _Batch) -> None:
        keys, done = batch
        if self._cache is None or done.cancelled() or done.exception() is not None:
            return
        rows = [(key, vector) for key, vector in zip(keys, done.result(), strict=True) if key is not None]
        if rows:
            self._cache.put(*zip(*rows, strict=True))
