"""Embedding pictures, however many there are: in batches through the encoder, and out again in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from math import ceil
from operator import attrgetter

import numpy as np

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
)
from datumaro_clip.embedding.workers import Workers
from datumaro_clip.errors import ImageError, InferenceError, OptionError
from datumaro_clip.images import Region
from datumaro_clip.model.encoder import Encoder, PixelBatch
from datumaro_clip.objects.detections import Detections
from datumaro_clip.system.machine import available_processors
from datumaro_clip.vectors import FloatArray

# At least two threads: one can read while the other decodes. Beyond 16, they keep any one device busy.
_FEWEST_THREADS, _MOST_THREADS = 2, 16
# Pictures prepared ahead of the encoder, in batches: one that is filling, one that waits.
_BATCHES_AHEAD = 2
# Results that may wait for an earlier one, in batches; enough for every stream of a device to have its own.
_BATCHES_WAITING = 8
# Towards the end each batch takes this part of what each stream would have of the rest, so that all end together; but
# not fewer pictures than a device computes about as fast as many.
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
    """Embed pictures, one result a request, in the order of the requests.

    As :func:`embed_parts`, where each request has one part: the whole picture, or its box.
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
    """Embed parts of pictures, one result a request, in the order of the requests; each picture is decoded once.

    Lazy: requests are taken a few batches ahead of the results, and memory grows neither with their number nor with
    that of a picture's parts. What cannot be embedded is a result with an error; the others do not notice. Vectors are
    in the cache as soon as their batch is done. A batch holds parts of several pictures.

    Parameters
    ----------
    requests : iterable of PartsRequest
        Taken in the caller's thread.
    encoder : Encoder
        Not called where the cache holds everything.
    cache : VectorCache, optional
        Where vectors are looked up and kept.
    batch_size : int, optional
        Parts a batch; where omitted, half the encoder's own size, and in longer runs that or twice as much where
        it turns out to be faster.
    threads : int, optional
        Threads that read and decode; one for each CPU that this process may use where omitted, from 2 to 16.
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
    pace = _measured_pace(encoder.batch_size) if batch_size is None else Pace(batch_size)
    return _results(requests, encoder, cache, pace, Preparation(encoder, cache, exact_decode), threads)


def default_threads() -> int:
    """Threads that read and decode: one for each CPU that this process may use, from 2 to 16."""
    return min(max(available_processors(), _FEWEST_THREADS), _MOST_THREADS)


def _results(
    requests: Iterable[PartsRequest],
    encoder: Encoder,
    cache: VectorCache | None,
    pace: Pace,
    preparation: Preparation,
    threads: int,
) -> Generator[PartsResult]:
    """The threads' lifetime around the results."""
    chunks = chain.from_iterable(map(chunks_of, requests))
    ahead = _BATCHES_AHEAD * pace.largest + threads
    with (
        closing(Keeper(cache)) as keeper,
        closing(Workers(preparation, chunks, threads, ahead, attrgetter("weight"))) as prepared,
    ):
        yield from _Batching(encoder, keeper, pace).run(prepared)


def _measured_pace(usual: int) -> Pace:
    """Half the usual size to begin with: on a CPU as fast, and half is lost by a kill, or waited for at the end."""
    half = max(usual // 2, 1)
    return Pace(half, [size for size in (usual, 2 * usual) if size > half])


class _Batch:
    """Pictures that the encoder was given together.

    Parameters
    ----------
    encoder : Encoder
    keeper : Keeper
    pixels : numpy.ndarray
        Shape (B, H, W, 3), uint8.
    keys : list of (bytes or None)
        Where to keep each vector.
    when_done : callable
        Called once the vectors are there, in any thread.
    """

    def __init__(
        self,
        encoder: Encoder,
        keeper: Keeper,
        pixels: PixelBatch,
        keys: list[bytes | None],
        when_done: Callable[[], None],
    ) -> None:
        self._encoder, self._keeper = encoder, keeper
        self._pixels, self._keys = pixels, keys
        self._results: list[EmbedResult] | None = None
        self._vectors = self._submit(slice(None))
        self._vectors.add_done_callback(lambda _: when_done())

    @property
    def done(self) -> bool:
        """Whether :attr:`results` can be had without waiting for the device."""
        return self._vectors.done()

    @property
    def results(self) -> list[EmbedResult]:
        """What became of each picture; where the batch fails, each is tried alone."""
        # Not functools.cached_property: before Python 3.12 it lets one batch of a process wait at a time.
        if self._results is None:
            try:
                self._results = [EmbedResult(vector, None, "computed") for vector in self._vectors.result()]
            except InferenceError:
                self._results = [self._alone(row) for row in range(len(self._keys))]
        return self._results

    def _submit(self, rows: slice) -> Future[FloatArray]:
        vectors = self._encoder.submit_pixels(self._pixels[rows])
        self._keeper.keep(self._keys[rows], vectors)
        return vectors

    def _alone(self, row: int) -> EmbedResult:
        try:
            return EmbedResult(self._submit(slice(row, row + 1)).result()[0], None, "computed")
        except InferenceError as exc:
            return EmbedResult(None, ImageError("inference", f"the encoder fails on this picture: {exc}"), "failed")


class _Slot:
    """A prepared part's place in the order, and in its batch if it has one."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.batch: _Batch | None = None
        self.row = 0

    @property
    def done(self) -> bool:
        """Whether :attr:`result` can be had without waiting for the device."""
        return self.prepared.pixels is None and (self.batch is None or self.batch.done)

    @property
    def result(self) -> EmbedResult:
        """What became of the part."""
        if self.batch is not None:
            result, origin = self.batch.results[self.row], self.prepared.origin
            return replace(result, origin=origin) if origin else result
        if self.prepared.error is not None:
            return EmbedResult(None, self.prepared.error, "failed")
        return EmbedResult(
            self.prepared.vector, None, "kept" if self.prepared.is_kept else "cache", self.prepared.origin
        )


class _Batching:
    """Fills batches with prepared parts, and gives pictures' results in the order of the requests.

    Parameters
    ----------
    encoder : Encoder
    keeper : Keeper
    pace : Pace
        Says how many parts a batch has; it has fewer where too many results would wait for it to fill, and
        towards the end.
    """

    def __init__(self, encoder: Encoder, keeper: Keeper, pace: Pace) -> None:
        self._encoder, self._keeper, self._pace = encoder, keeper, pace
        self._size = pace.next()
        self._waiting: deque[_Slot] = deque()
        self._filling: list[_Slot] = []
        self._computing: list[_Batch] = []

    def run(self, prepared: Workers[Chunk, Chunk]) -> Iterator[PartsResult]:
        """One result a request, in order; the device is waited for only where too many parts wait, and at the end."""
        gathering = _Gathering()
        for chunk in prepared:
            gathering.expect(chunk)
            for one in chunk.prepared:
                self._add(_Slot(one), prepared.left)
                while self._waiting and (self._waiting[0].done or self._is_full):
                    yield from gathering.add(self._waiting.popleft().result)
            yield from gathering.complete()
        self._dispatch()
        while self._waiting:
            yield from gathering.add(self._waiting.popleft().result)

    def _add(self, slot: _Slot, left: int | None) -> None:
        """Put a part into the batch that is filling, and that to the encoder once it is full."""
        self._waiting.append(slot)
        if slot.prepared.pixels is not None:
            self._filling.append(slot)
        if len(self._filling) >= self._wanted(left) or self._is_full:
            self._dispatch()

    def _wanted(self, left: int | None) -> int:
        """Pictures that the batch which is filling shall have, where so many requests are still to come."""
        if left is None:
            return self._size
        computing = sum(not batch.done for batch in self._computing)
        rest = (left + len(self._filling)) / max(computing, 1)
        return min(self._size, max(ceil(rest * _PART_OF_THE_REST), _LEAST_AT_THE_END))

    @property
    def _is_full(self) -> bool:
        return len(self._waiting) >= _BATCHES_WAITING * self._pace.largest

    def _dispatch(self) -> None:
        """Give the encoder the batch that is filling."""
        slots, self._filling = self._filling, []
        if not slots:
            return
        pixels = np.stack([slot.prepared.pixels for slot in slots if slot.prepared.pixels is not None])
        ended = partial(self._pace.ended, self._size, len(slots))
        batch = _Batch(self._encoder, self._keeper, pixels, [slot.prepared.key for slot in slots], ended)
        self._size = self._pace.next()
        self._computing = [*(other for other in self._computing if not other.done), batch]
        for row, slot in enumerate(slots):
            slot.batch, slot.row, slot.prepared.pixels = batch, row, None


@dataclass
class _Gathered:
    """What is known of a picture's parts: how many come, whether they are all, and those that are done."""

    wanted: int = 0
    is_all: bool = False
    found: Detections | None = None
    results: list[EmbedResult] = field(default_factory=list)


class _Gathering:
    """Parts' results, gathered picture by picture."""

    def __init__(self) -> None:
        self._pictures: deque[_Gathered] = deque()

    def expect(self, chunk: Chunk) -> None:
        """Take note of parts whose results will be added, behind those of earlier chunks."""
        if not self._pictures or self._pictures[-1].is_all:
            self._pictures.append(_Gathered())
        picture = self._pictures[-1]
        picture.wanted += len(chunk.prepared)
        picture.is_all, picture.found = chunk.is_last, chunk.found

    def add(self, result: EmbedResult) -> Iterator[PartsResult]:
        """Add the next part's result; give the pictures that are complete now."""
        self._pictures[0].results.append(result)
        return self.complete()

    def complete(self) -> Iterator[PartsResult]:
        """The pictures, from the first on, of which no part is missing."""
        while (
            self._pictures and self._pictures[0].is_all and len(self._pictures[0].results) == self._pictures[0].wanted
        ):
            done = self._pictures.popleft()
            yield PartsResult(tuple(done.results), done.found)
