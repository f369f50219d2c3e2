"""Compares pairs of pictures, each pair once; a pool works ahead on the pairs that will be asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter, itemgetter
from threading import Lock
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
from cachetools import LRUCache, cached
from cachetools.keys import hashkey

from datumaro_clip.curate.groups import IntArray
from datumaro_clip.curate.near.alignment import align, smoothest_first
from datumaro_clip.curate.near.features import are_enough, features, locate, mirror
from datumaro_clip.curate.near.judge import UNKNOWN, Difference, judge
from datumaro_clip.curate.near.overlay import Picture, read_picture
from datumaro_clip.curate.near.pixels import NO_MATCH, PixelMatch, compare, exchanged, match
from datumaro_clip.curate.near.rings import WHOLE, Thumbnail, Thumbnails, orient, spectra
from datumaro_clip.curate.near.rules import is_copy
from datumaro_clip.curate.near.threads import Pool
from datumaro_clip.embedding import ImageRequest
from datumaro_clip.errors import ImageError
from datumaro_clip.images import ImageLike

_log = logging.getLogger(__name__)

# Below this ring correlation aligning has never found a copy.
_WORTH_ALIGNING = 0.65
# Clipped highlights leave differences in thumbnails; if full pictures are judged afterwards, thumbnails may pass these.
_LEEWAY = 2.0
# From this ring correlation on, no view of either picture correlates much better than the whole.
_ALIKE_AS_WHOLES = 0.9
# Tasks sent to a worker at once.
_CHUNK = 16
# Bytes of the cache of spectra and features, enough for some ten thousand pictures; and of that of full pictures.
_DESCRIPTION_BYTES = 256 << 20
_PICTURE_BYTES = 256 << 20

_Value = TypeVar("_Value")
Pair: TypeAlias = tuple[int, int]
#: From the number of a thumbnail to its picture, as :func:`datumaro_clip.images.decode` takes it.
Pictures: TypeAlias = Callable[[int], ImageLike]


class Referee:
    """Decides which pairs are copies, and compares each pair once.

    Parameters
    ----------
    thumbnails : Thumbnails
        N, read by several threads.
    by_vector : numpy.ndarray
        Codes (see ``proposals``) of the pairs that vectors proposed, ascending: features are tried on them, too.
    pool : Pool
        Works ahead.
    pictures : callable, optional
        Returns the picture of a number; called by several threads. Without it thumbnails alone decide.

    Attributes
    ----------
    matches : dict
        The match of (lower, higher), for the pairs that are copies, alone or confirmed by a third picture.
    differences : dict
        The largest difference of (lower, higher) at full resolution, for the pairs whose thumbnails pass for copies.
    """

    def __init__(
        self, thumbnails: Thumbnails, by_vector: IntArray, pool: Pool, pictures: Pictures | None = None
    ) -> None:
        self.matches: dict[Pair, PixelMatch] = {}
        self.differences: dict[Pair, Difference] = {}
        self._refused: set[int] = set()
        self._compare = Comparer(thumbnails, by_vector, 1.0 if pictures is None else _LEEWAY)
        self._pool = pool
        self._pictures = pictures

    @property
    def compared(self) -> int:
        """How many pairs were compared."""
        return len(self.matches) + len(self._refused)

    def is_copy(self, one: int, other: int) -> bool:
        """Whether two pictures are copies of one picture, whichever is the original."""
        return self._compare.accepts(self._match(one, other)) and not self._is_edit(one, other)

    def confirmed_by_third(self, one: int, other: int) -> bool:
        """Whether two pictures are copies, given that a third one is a copy of both."""
        found = self._match(one, other)
        return self._compare.accepts(found, confirmed_by_third=True) and not self._is_edit(one, other)

    def prefetch(self, pairs: Iterable[Pair]) -> None:
        """Compare pairs ahead; one worker takes all pairs of a picture, so that it describes that picture once."""
        fresh = sorted({pair for pair in map(_sorted, pairs) if not self._knows(pair)})
        tasks = [self._task(list(shared)) for _, shared in groupby(fresh, itemgetter(0))]
        for task, found in zip(tasks, self._pool.map(self._compare, tasks, chunksize=_CHUNK), strict=True):
            for pair, each in zip(task.pairs, found, strict=True):
                self._take(pair, *each)

    def _task(self, pairs: Sequence[Pair]) -> Task:
        if self._pictures is None:
            return Task(pairs, {})
        return Task(pairs, {n: ImageRequest(partial(self._pictures, n)) for n in {n for pair in pairs for n in pair}})

    def _match(self, one: int, other: int) -> PixelMatch:
        pair = _sorted((one, other))
        if not self._knows(pair):
            [found] = self._compare(self._task([pair]))
            self._take(pair, *found)
        return self.matches.get(pair, NO_MATCH)

    def _is_edit(self, one: int, other: int) -> bool:
        """Whether a pair whose thumbnails pass for copies differs in a place that is too small for thumbnails."""
        if self._pictures is None:
            return False
        pair = _sorted((one, other))
        if pair not in self.differences:
            self.differences[pair] = self._compare.difference(pair, self.matches[pair], self._task([pair]).pictures)
        return self.differences[pair].is_edit

    def _knows(self, pair: Pair) -> bool:
        return pair in self.matches or self._compare.code(pair) in self._refused

    def _take(self, pair: Pair, found: PixelMatch, difference: Difference | None) -> None:
        # Whatever passes alone also passes if a third picture confirms it. Of a refused pair only the code is kept.
        if self._compare.accepts(found, confirmed_by_third=True):
            self.matches[pair] = found
        else:
            self._refused.add(self._compare.code(pair))
        if difference is not None:
            self.differences[pair] = difference


class Task(NamedTuple):
    """Pairs to compare, and how to get their pictures, by number; none where thumbnails alone decide."""

    pairs: Sequence[Pair]
    pictures: Mapping[int, ImageRequest]


class Comparer:
    """Compares pairs; it can be pickled, so that other processes compare, too.

    Parameters
    ----------
    thumbnails, by_vector
        As of :class:`Referee`.
    leeway : float
        As of ``is_copy``.
    """

    def __init__(self, thumbnails: Thumbnails, by_vector: IntArray, leeway: float) -> None:
        self._thumbnails, self._by_vector, self._leeway = thumbnails, by_vector, leeway
        descriptions: LRUCache[Hashable, Any] = LRUCache(_DESCRIPTION_BYTES, attrgetter("nbytes"))
        lock = Lock()

        def kept(kind: str, describe: Callable[[Thumbnail], _Value]) -> Callable[[int], _Value]:
            """Make a function that describes the thumbnail of a number, and keeps the description."""
            return cached(descriptions, partial(hashkey, kind), lock)(lambda index: describe(thumbnails[index]))

        self._whole = kept("whole", partial(spectra, views=(WHOLE,)))
        self._views = kept("views", spectra)
        self._features = kept("features", features)
        self._mirrored_features = kept("mirrored", lambda picture: features(mirror(picture)))
        pictures: LRUCache[int, Picture] = LRUCache(_PICTURE_BYTES, attrgetter("nbytes"))
        self._picture = cached(pictures, lambda index, request: index, Lock())(
            lambda index, request: read_picture(request.fetch())
        )

    def __reduce__(self) -> tuple[type[Comparer], tuple[Thumbnails, IntArray, float]]:
        return type(self), (self._thumbnails, self._by_vector, self._leeway)

    def __call__(self, task: Task) -> list[tuple[PixelMatch, Difference | None]]:
        """Compare the thumbnails of each pair, and the pictures of those whose thumbnails pass for copies."""
        found = []
        for pair in task.pairs:
            match_ = self._compare(pair)
            judged = bool(task.pictures) and self.accepts(match_)
            found.append((match_, self.difference(pair, match_, task.pictures) if judged else None))
        return found

    def accepts(self, found: PixelMatch, *, confirmed_by_third: bool = False) -> bool:
        """Whether the thumbnails of a pair pass for copies."""
        return is_copy(found, confirmed_by_third=confirmed_by_third, leeway=self._leeway)

    def difference(self, pair: Pair, found: PixelMatch, pictures: Mapping[int, ImageRequest]) -> Difference:
        """Judge two pictures at full resolution; one that cannot be read again is a copy of nothing."""
        ordered = self._ordered(pair)
        try:
            one, other = (self._picture(index, pictures[index]) for index in ordered)
            seen = judge(one, other, np.array(found.where).reshape(2, 3))
            return seen if ordered == pair else seen._replace(boxes=seen.boxes[::-1])
        except ImageError as exc:
            _log.warning("near duplicates: a picture is kept, as it could not be read a second time: %s", exc)
            return UNKNOWN

    def code(self, pair: Pair) -> int:
        """Return the code of a pair; see ``proposals``."""
        return pair[0] * len(self._thumbnails) + pair[1]

    def _ordered(self, pair: Pair) -> Pair:
        """Return the order in which a pair is compared, which depends on their pixels and not on their numbers."""
        one, other = sorted(pair, key=lambda index: smoothest_first(self._thumbnails[index]))
        return one, other

    def _compare(self, pair: Pair) -> PixelMatch:
        """Compare two thumbnails: as wholes if they are alike, else one as a crop of the other, then by features."""
        one, other = self._ordered(pair)
        orientation = orient(self._whole(one), self._whole(other))
        if orientation.score >= _ALIKE_AS_WHOLES:
            found = match(self._thumbnails[one], self._thumbnails[other], orientation)
        else:
            found = self._by_views(one, other)
        if self.accepts(found) or not self._is_by_vector(pair):
            return found
        return self._by_features(one, other, found)

    def _is_by_vector(self, pair: Pair) -> bool:
        code = self.code(pair)
        place = int(np.searchsorted(self._by_vector, code))
        return place < len(self._by_vector) and int(self._by_vector[place]) == code

    def _by_views(self, one: int, other: int) -> PixelMatch:
        """Compare the most similar view of either picture with the whole of the other."""
        found = NO_MATCH
        for left, right in ((one, other), (other, one)):
            orientation = orient(self._views(left), self._whole(right))
            if orientation.score < _WORTH_ALIGNING:
                continue
            found = match(self._thumbnails[left], self._thumbnails[right], orientation)
            if left == other:
                found = exchanged(found)
            if self.accepts(found) or orientation.view == WHOLE:
                break
        return found

    def _by_features(self, one: int, other: int, otherwise: PixelMatch) -> PixelMatch:
        """Compare by the map that features find to the other picture, or to its mirror image."""
        here = self._features(one)
        if not are_enough(here):
            return otherwise
        start = locate(here, self._features(other))
        if start is None:
            start = locate(here, self._mirrored_features(other), mirrored=True)
        if start is None:
            return otherwise
        first, second = self._thumbnails[one], self._thumbnails[other]
        return compare(first, second, align(first, second, start))


def _sorted(pair: Pair) -> Pair:
    return (min(pair), max(pair))
