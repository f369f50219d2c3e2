"""Embed any number of pictures, or find objects in them: in threads and batches, with results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from math import ceil
from operator import attrgetter

import numpy as np
from PIL import Image

from datumaro_clip.embedding.cache import Keeper, VectorCache
from datumaro_clip.embedding.pace import Pace
from datumaro_clip.embedding.requests import (
    Chunk,
    EmbedResult,
    ImageRequest,
    PartsRequest,
    PartsResult,
    Preparation,
    Prepared,
    chunks_of,
    detect,
)
from datumaro_clip.embedding.workers import Workers
from datumaro_clip.errors import ImageError, InferenceError, OptionError
from datumaro_clip.images import Region
from datumaro_clip.images.decoding import decoded
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.objects.detections import Detections
from datumaro_clip.system.machine import available_processors
from datumaro_clip.vectors import FloatArray

# With two threads, one reads while the other decodes; 16 keep any device busy.
_FEWEST_THREADS, _MOST_THREADS = 2, 16
# Pictures prepared ahead of the encoder, in batches: one batch that is filling, one that waits.
_BATCHES_AHEAD = 2
# Results that may wait for an earlier one, in batches; enough for every stream of a device to have a batch.
_BATCHES_WAITING = 8
# Towards the end, a batch takes this share of the pictures left for each stream, so that all streams end together; but
# at least so many pictures, because a device computes fewer hardly faster.
_PART_OF_THE_REST = 1 / 2
_LEAST_AT_THE_END = 4


def embed_images(
    requests: Iterable[ImageRequest],
    encoder: Encoder,
    *,
    cache: VectorCache | None = None,
    batch_size: int | None = None,
    threads: int | None = None,
    exact_decode: bool = False,
) -> Iterator[EmbedResult]:
    """Embed pictures, or one box of each; one result for each request, in order.

    As :func:`embed_parts`, with one part for each request: the whole picture, or its box.
    """
    single = (PartsRequest(each, (None if each.box is None else Region(each.box),)) for each in requests)
    found = embed_parts(single, encoder, cache=cache, batch_size=batch_size, threads=threads, exact_decode=exact_decode)
    return _first_results(found)


def _first_results(found: Generator[PartsResult]) -> Iterator[EmbedResult]:
    with closing(found):
        for each in found:
            yield each.results[0]


def embed_parts(
    requests: Iterable[PartsRequest],
    encoder: Encoder,
    *,
    cache: VectorCache | None = None,
    batch_size: int | None = None,
    threads: int | None = None,
    exact_decode: bool = False,
) -> Generator[PartsResult]:
    """Embed parts of pictures, decoding each picture once; one result for each request, in order.

    Lazy: requests are taken a few batches ahead of the results, and memory grows neither with their number nor with the
    number of a picture's parts. A part that cannot be embedded gets a result with an error; the others are unaffected.
    Vectors are in the cache as soon as their batch is done. A batch may hold parts of several pictures.

    Parameters
    ----------
    requests : iterable of PartsRequest
        Taken in the caller's thread.
    encoder : Encoder
        Not called if the cache holds everything.
    cache : VectorCache, optional
        Where vectors are looked up and kept.
    batch_size : int, optional
        Parts in a batch. By default half the encoder's batch size; in longer runs the encoder's, or twice that, if
        it proves faster.
    threads : int, optional
        Threads that read and decode; by default one for each CPU of this process, from 2 to 16.
    exact_decode : bool
        Decode large JPEGs whole instead of scaled.

    Returns
    -------
    iterator of PartsResult
        Closing it, or an exception such as Ctrl-C, stops its threads without waiting for their pictures.

    Raises
    ------
    OptionError
        If ``batch_size`` or ``threads`` is below 1.
    CacheError
        If the cache cannot be read or written any more.
    """
    if threads is None:
        threads = default_threads()
    if threads < 1 or (batch_size is not None and batch_size < 1):
        raise OptionError(f"batch size and threads must be at least 1, got {batch_size} and {threads}")
    if batch_size is not None:
        pace = Pace(batch_size)
    else:
        # Half the usual size is as fast on a CPU; a kill then loses less, and the end waits for less.
        usual, half = encoder.batch_size, max(encoder.batch_size // 2, 1)
        pace = Pace(half, [size for size in (usual, 2 * usual) if size > half])
    return _results(requests, encoder, cache, pace, Preparation(encoder, cache, exact_decode), threads)


def find_objects(
    requests: Iterable[ImageRequest], find: Callable[[Image.Image], Detections], threads: int | None = None
) -> Iterator[Detections | ImageError]:
    """Find the objects in each picture, in the order of the requests; lazy, a few pictures ahead.

    Parameters
    ----------
    requests : iterable of ImageRequest
        Taken in the caller's thread; their boxes are ignored.
    find : callable
        Finds the objects in a picture, as :meth:`~datumaro_clip.objects.detector.Detector.find` does; called in worker
        threads.
    threads : int, optional
        Threads that read, decode and call ``find``; by default one for each CPU of this process, from 2 to 16.

    Returns
    -------
    iterator of Detections or ImageError
        Boxes in pixels of the picture; an error for a picture that cannot be decoded, or on which ``find`` fails.
    """
    threads = default_threads() if threads is None else threads

    def look(request: ImageRequest) -> Detections | ImageError:
        try:
            with decoded(request.fetch()) as picture:
                return detect(find, picture)
        except ImageError as error:
            return error

    with closing(Workers(look, requests, threads, 2 * threads)) as found:
        yield from found


def default_threads() -> int:
    """Return the number of threads that read and decode: one for each CPU of this process, from 2 to 16."""
    return min(max(available_processors(), _FEWEST_THREADS), _MOST_THREADS)


def _results(
    requests: Iterable[PartsRequest],
    encoder: Encoder,
    cache: VectorCache | None,
    pace: Pace,
    preparation: Preparation,
    threads: int,
) -> Generator[PartsResult]:
    """Yield the results, and close threads and cache when the caller is done."""
    chunks = chain.from_iterable(map(chunks_of, requests))
    ahead = _BATCHES_AHEAD * pace.largest + threads
    with (
        closing(Keeper(cache)) as keeper,
        closing(Workers(preparation, chunks, threads, ahead, attrgetter("weight"))) as prepared,
    ):
        yield from _Batching(encoder, keeper, pace).run(prepared)


class _Batch:
    """Parts that are encoded together: they are added, then submitted, then their results are collected."""

    def __init__(self, encoder: Encoder, keeper: Keeper) -> None:
        self._encoder, self._keeper = encoder, keeper
        self._prepared: list[Prepared] = []
        self._vectors: Future[FloatArray] | None = None

    def __len__(self) -> int:
        return len(self._prepared)

    def add(self, one: Prepared) -> None:
        """Add a part that has pixels."""
        self._prepared.append(one)

    def submit(self, when_done: Callable[[], None]) -> None:
        """Start encoding, and drop the parts' pixels; ``when_done`` is called in any thread when it has ended."""
        self._pixels = np.stack([one.pixels for one in self._prepared if one.pixels is not None])
        for one in self._prepared:
            one.pixels = None
        self._vectors = self._encode(slice(None))
        self._vectors.add_done_callback(lambda _: when_done())

    @property
    def done(self) -> bool:
        """Whether :meth:`collect` needs no waiting for the device."""
        return self._vectors is not None and self._vectors.done()

    def collect(self) -> None:
        """Wait for the vectors, and set the results of all parts; if the batch fails, try each part alone."""
        assert self._vectors is not None
        try:
            for one, vector in zip(self._prepared, self._vectors.result(), strict=True):
                one.result = EmbedResult(vector, None, "computed", one.origin)
        except InferenceError:
            for row, one in enumerate(self._prepared):
                one.result = self._alone(row, one.origin)

    def _encode(self, rows: slice) -> Future[FloatArray]:
        vectors = self._encoder.submit_pixels(self._pixels[rows])
        self._keeper.keep([one.key for one in self._prepared[rows]], vectors)
        return vectors

    def _alone(self, row: int, origin: str) -> EmbedResult:
        try:
            return EmbedResult(self._encode(slice(row, row + 1)).result()[0], None, "computed", origin)
        except InferenceError as exc:
            error = ImageError("inference", f"the encoder fails on this picture: {exc}")
            return EmbedResult(None, error, "failed", origin)


class _Batching:
    """Fills batches with prepared parts, and yields the results of pictures in the order of the requests.

    Parameters
    ----------
    encoder : Encoder
    keeper : Keeper
    pace : Pace
        Gives the size of each batch. A batch has fewer parts towards the end, and if too many results would wait for
        it to fill.
    """

    def __init__(self, encoder: Encoder, keeper: Keeper, pace: Pace) -> None:
        self._encoder, self._keeper, self._pace = encoder, keeper, pace
        self._size = pace.next()
        self._waiting: deque[tuple[Prepared, _Batch]] = deque()
        self._filling = _Batch(encoder, keeper)
        self._computing: list[_Batch] = []

    def run(self, prepared: Workers[Chunk, Chunk]) -> Iterator[PartsResult]:
        """Yield a result for each request, in order; wait for the device only at the end, or if too many parts wait."""
        gathering = _Gathering()
        for chunk in prepared:
            gathering.expect(chunk)
            for one in chunk.prepared:
                self._add(one, prepared.left)
                while self._waiting and (self._first_is_done or self._is_full):
                    yield from gathering.add(self._take_first())
            yield from gathering.complete()
        self._dispatch()
        while self._waiting:
            yield from gathering.add(self._take_first())

    @property
    def _first_is_done(self) -> bool:
        one, batch = self._waiting[0]
        return one.result is not None or batch.done

    def _take_first(self) -> EmbedResult:
        one, batch = self._waiting.popleft()
        if one.result is None:
            batch.collect()
        assert one.result is not None
        return one.result

    def _add(self, one: Prepared, left: int | None) -> None:
        """Add a part that has no result to the filling batch, and submit the batch if it is full."""
        self._waiting.append((one, self._filling))
        if one.result is None:
            self._filling.add(one)
        if len(self._filling) >= self._wanted(left) or self._is_full:
            self._dispatch()

    def _wanted(self, left: int | None) -> int:
        """Return the size for the filling batch, given how many parts are still to come."""
        if left is None:
            return self._size
        computing = sum(not batch.done for batch in self._computing)
        rest = (left + len(self._filling)) / max(computing, 1)
        return min(self._size, max(ceil(rest * _PART_OF_THE_REST), _LEAST_AT_THE_END))

    @property
    def _is_full(self) -> bool:
        return len(self._waiting) >= _BATCHES_WAITING * self._pace.largest

    def _dispatch(self) -> None:
        """Submit the filling batch to the encoder."""
        batch = self._filling
        if len(batch):
            self._filling = _Batch(self._encoder, self._keeper)
            batch.submit(partial(self._pace.ended, self._size, len(batch)))
            self._size = self._pace.next()
            self._computing = [*(other for other in self._computing if not other.done), batch]


@dataclass
class _Gathered:
    """A picture's results so far: how many parts are expected, whether more chunks follow, and the results."""

    wanted: int = 0
    is_all: bool = False
    found: Detections | None = None
    results: list[EmbedResult] = field(default_factory=list)


class _Gathering:
    """Gathers the results of parts, picture by picture."""

    def __init__(self) -> None:
        self._pictures: deque[_Gathered] = deque()

    def expect(self, chunk: Chunk) -> None:
        """Announce the parts of a chunk, whose results will be added after those of earlier chunks."""
        if not self._pictures or self._pictures[-1].is_all:
            self._pictures.append(_Gathered())
        picture = self._pictures[-1]
        picture.wanted += len(chunk.prepared)
        picture.is_all, picture.found = chunk.is_last, chunk.found

    def add(self, result: EmbedResult) -> Iterator[PartsResult]:
        """Add the next part's result; yield the pictures that are complete now."""
        self._pictures[0].results.append(result)
        return self.complete()

    def complete(self) -> Iterator[PartsResult]:
        """Yield pictures from the first on, until one lacks a result."""
        while self._pictures and (first := self._pictures[0]).is_all and len(first.results) == first.wanted:
            self._pictures.popleft()
            yield PartsResult(tuple(first.results), first.found)
