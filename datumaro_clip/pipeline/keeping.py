"""Vectors into the cache as their batches are done."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future

from datumaro_clip.cache import VectorCache
from datumaro_clip.pipeline.workers import Workers, awaited
from datumaro_clip.vectors import FloatArray

_Batch = tuple[Sequence[bytes | None], Future[FloatArray]]

# Batches that are computed and not yet in the cache, at most, when another is begun.
_BEHIND = 1


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
        self._lock = threading.Lock()
        self._unkept: dict[Future[FloatArray], Sequence[bytes | None]] = {}
        self._writer: Workers[_Batch, None] = Workers(self._write, threads=0 if cache is None else 1)
        self._writes: deque[Future[None]] = deque()

    def keep(self, keys: Sequence[bytes | None], vectors: Future[FloatArray]) -> None:
        """Keep the rows of a batch under their keys, once it is done; rows whose key is None are not kept.

        Waits while writing lags behind computing, and raises the error of an earlier write that failed.
        """
        if self._cache is None:
            return
        while len(self._writes) > _BEHIND:
            awaited(self._writes.popleft())
        with self._lock:
            self._unkept[vectors] = keys
        vectors.add_done_callback(self._hand_over)

    def close(self) -> None:
        """Keep what is done, give up what is not, wait for the writes, and note what was used."""
        with self._lock:
            done = [vectors for vectors in self._unkept if vectors.done()]
        for vectors in done:
            self._hand_over(vectors)
        with self._lock:
            self._unkept.clear()
            self._writer.stop()
        while self._writes:
            awaited(self._writes.popleft())
        if self._cache is not None:
            self._cache.flush()

    def _hand_over(self, vectors: Future[FloatArray]) -> None:
        """Have a batch written, once: a future wakes those who wait for it before it calls us."""
        with self._lock:
            keys = self._unkept.pop(vectors, None)
            if keys is not None:
                self._writes.append(self._writer.submit((keys, vectors)))

    def _write(self, batch: _Batch) -> None:
        keys, done = batch
        if self._cache is None or done.cancelled() or done.exception() is not None:
            return
        rows = [(key, vector) for key, vector in zip(keys, done.result(), strict=True) if key is not None]
        if rows:
            self._cache.put(*zip(*rows, strict=True))
