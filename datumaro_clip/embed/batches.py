"""Prepared pictures to results: in batches through the encoder, and out again in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from math import ceil
from typing import Any

import numpy as np

from datumaro_clip.embed.keeping import Keeper
from datumaro_clip.embed.pace import Pace
from datumaro_clip.embed.prepare import Prepared
from datumaro_clip.embed.requests import EmbedResult
from datumaro_clip.embed.workers import Ordered
from datumaro_clip.errors import ImageError, InferenceError
from datumaro_clip.model.encoder import Encoder, PixelBatch
from datumaro_clip.vectors import FloatArray

# Results that may wait for an earlier one, in batches; enough for every stream of a device to have its own.
_BATCHES_WAITING = 8
# Towards the end each batch takes this part of what each stream would have of the rest, so that all end together; but
# not fewer pictures than a device computes about as fast as many.
_PART_OF_THE_REST = 1 / 2
_LEAST_AT_THE_END = 4


class Batch:
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
            self._results = self._finish()
        return self._results

    def _finish(self) -> list[EmbedResult]:
        try:
            return [EmbedResult(vector, None, "computed") for vector in self._vectors.result()]
        except InferenceError:
            return [self._alone(row) for row in range(len(self._keys))]

    def _submit(self, rows: slice) -> Future[FloatArray]:
        vectors = self._encoder.submit_pixels(self._pixels[rows])
        self._keeper.keep(self._keys[rows], vectors)
        return vectors

    def _alone(self, row: int) -> EmbedResult:
        try:
            return EmbedResult(self._submit(slice(row, row + 1)).result()[0], None, "computed")
        except InferenceError as exc:
            return EmbedResult(None, ImageError("inference", f"the encoder fails on this picture: {exc}"), "failed")


class Slot:
    """A prepared request's place in the order, and in its batch if it has one."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.batch: Batch | None = None
        self.row = 0

    @property
    def done(self) -> bool:
        """Whether :attr:`result` can be had without waiting for the device."""
        return self.prepared.pixels is None and (self.batch is None or self.batch.done)

    @property
    def result(self) -> EmbedResult:
        """What became of the request."""
        if self.batch is not None:
            return self.batch.results[self.row]
        if self.prepared.error is not None:
            return EmbedResult(None, self.prepared.error, "failed")
        return EmbedResult(self.prepared.vector, None, "cache")


class Batching:
    """Fills batches with prepared pictures, and gives results in the order of the requests.

    Parameters
    ----------
    encoder : Encoder
    keeper : Keeper
    pace : Pace
        Says how many pictures a batch has; it has fewer where too many results would wait for it to fill, and
        towards the end.
    """

    def __init__(self, encoder: Encoder, keeper: Keeper, pace: Pace) -> None:
        self._encoder, self._keeper, self._pace = encoder, keeper, pace
        self._size = pace.next()
        self._waiting: deque[Slot] = deque()
        self._filling: list[Slot] = []
        self._computing: list[Batch] = []

    def run(self, prepared: Ordered[Any, Prepared]) -> Iterator[EmbedResult]:
        """One result a request, in order."""
        for one in prepared:
            self._add(Slot(one), prepared.left)
            yield from self._ready()
        self._dispatch()
        while self._waiting:
            yield self._waiting.popleft().result

    def _add(self, slot: Slot, left: int | None) -> None:
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

    def _ready(self) -> Iterator[EmbedResult]:
        """The results whose turn has come; the device is waited for only where too many wait."""
        while self._waiting and (self._waiting[0].done or self._is_full):
            yield self._waiting.popleft().result

    def _dispatch(self) -> None:
        """Give the encoder the batch that is filling."""
        slots, self._filling = self._filling, []
        if not slots:
            return
        pixels = np.stack([slot.prepared.pixels for slot in slots if slot.prepared.pixels is not None])
        ended = partial(self._pace.ended, self._size, len(slots))
        batch = Batch(self._encoder, self._keeper, pixels, [slot.prepared.key for slot in slots], ended)
        self._size = self._pace.next()
        self._computing = [*(other for other in self._computing if not other.done), batch]
        for row, slot in enumerate(slots):
            slot.batch, slot.row, slot.prepared.pixels = batch, row, None
