"""Vectors into the cache as their batches are done."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future

from datumaro_clip.embed.cache import VectorCache
from datumaro_clip.vectors import FloatArray


class Keeper:
    """Puts the vectors of a batch into a cache in the thread that computed them, before it computes others.

    So a killed run loses only what was being computed, however slow the disk is.

    Parameters
    ----------
    cache : VectorCache or None
        Nothing is kept where there is none.
    """

    def __init__(self, cache: VectorCache | None) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._unkept: dict[Future[FloatArray], Sequence[bytes | None]] = {}
        self._error: Exception | None = None

    def keep(self, keys: Sequence[bytes | None], vectors: Future[FloatArray]) -> None:
        """Keep the rows of a batch under their keys, once it is done; rows whose key is None are not kept.

        Raises the error of an earlier batch that could not be kept.
        """
        if self._cache is None:
            return
        self._raise()
        with self._lock:
            self._unkept[vectors] = keys
        vectors.add_done_callback(self._write)

    def close(self) -> None:
        """Keep what is done, give up what is not, and note what was used."""
        with self._lock:
            done = [vectors for vectors in self._unkept if vectors.done()]
        for vectors in done:
            self._write(vectors)
        with self._lock:
            self._unkept.clear()
        self._raise()
        if self._cache is not None:
            self._cache.flush()

    def _write(self, vectors: Future[FloatArray]) -> None:
        """Put a batch into the cache, once: a future wakes those who wait for it before it calls us."""
        with self._lock:
            keys = self._unkept.pop(vectors, ())
            if self._cache is None or not keys or vectors.cancelled() or vectors.exception() is not None:
                return
            rows = [(key, vector) for key, vector in zip(keys, vectors.result(), strict=True) if key is not None]
            try:
                self._cache.put([key for key, _ in rows], [vector for _, vector in rows])
            except Exception as exc:  # A future logs what its callbacks raise, and goes on.
                self._error = exc

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
