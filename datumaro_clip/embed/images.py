"""Embedding pictures, however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing

from datumaro_clip.embed.batches import Batching
from datumaro_clip.embed.cache import VectorCache
from datumaro_clip.embed.keeping import Keeper
from datumaro_clip.embed.pace import Pace
from datumaro_clip.embed.prepare import Preparation, Prepared
from datumaro_clip.embed.requests import EmbedResult, ImageRequest
from datumaro_clip.embed.workers import Workers
from datumaro_clip.errors import OptionError
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.system.processors import available_processors

# Beyond this, reading and decoding keep any one device busy.
_MOST_THREADS = 16
# Pictures prepared ahead of the encoder, in batches: one that is filling, one that waits.
_BATCHES_AHEAD = 2


def embed_images(
    requests: Iterable[ImageRequest],
    encoder: Encoder,
    *,
    cache: VectorCache | None = None,
    batch_size: int | None = None,
    threads: int | None = None,
    exact_decode: bool = False,
) -> Iterator[EmbedResult]:
    """Embed pictures, one result a request, in the order of the requests.

    Lazy: requests are taken a few batches ahead of the results, and memory does not grow with their number. A
    picture that cannot be embedded is a result with an error; the others do not notice. Vectors are in the cache
    as soon as their batch is done.

    Parameters
    ----------
    requests : iterable of ImageRequest
        Taken in the caller's thread.
    encoder : Encoder
        Not called where the cache holds everything.
    cache : VectorCache, optional
        Where vectors are looked up and kept.
    batch_size : int, optional
        Pictures a batch; where omitted, half the encoder's own size, and in longer runs that or twice as much where
        it turns out to be faster.
    threads : int, optional
        Threads that read and decode; one for each CPU that this process may use where omitted, from 2 to 16.
    exact_decode : bool
        Decode large JPEGs whole instead of scaled.

    Returns
    -------
    iterator of EmbedResult
        Closing it, or an exception such as Ctrl-C, stops its threads without waiting for their pictures.

    Raises
    ------
    OptionError
        If ``batch_size`` or ``threads`` is below 1.
    CacheError
        If the cache cannot be read or written any more.
    """
    threads = _default_threads() if threads is None else threads
    if threads < 1 or (batch_size is not None and batch_size < 1):
        raise OptionError(f"batch size and threads must be at least 1, got {batch_size} and {threads}")
    pace = _measured_pace(encoder.batch_size) if batch_size is None else Pace(batch_size)
    return _embed(requests, encoder, cache, pace, Preparation(encoder, cache, exact_decode), threads)


def _embed(
    requests: Iterable[ImageRequest],
    encoder: Encoder,
    cache: VectorCache | None,
    pace: Pace,
    preparation: Preparation,
    threads: int,
) -> Iterator[EmbedResult]:
    """The threads' lifetime around the results."""
    workers: Workers[ImageRequest, Prepared] = Workers(preparation, threads)
    keeper = Keeper(cache)
    try:
        with closing(workers.map(requests, _BATCHES_AHEAD * pace.largest + threads)) as prepared:
            yield from Batching(encoder, keeper, pace).run(prepared)
    finally:
        workers.stop()
        keeper.close()


def _measured_pace(usual: int) -> Pace:
    """Half the usual size to begin with: on a CPU as fast, and half is lost by a kill, or waited for at the end."""
    half = max(usual // 2, 1)
    return Pace(half, [size for size in (usual, 2 * usual) if size > half])


def _default_threads() -> int:
    """One thread for each CPU that this process may use, but two at least: one can read while one decodes."""
    return min(max(available_processors(), 2), _MOST_THREADS)
