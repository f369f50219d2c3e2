"""Who compares pairs of pictures: each pair once, those that will be asked for by several workers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple, TypeAlias

import numpy as np

from datumaro_clip.curate.groups import IntArray
from datumaro_clip.curate.near import features
from datumaro_clip.curate.near.alignment import align, smoothest_first
from datumaro_clip.curate.near.features import Features
from datumaro_clip.curate.near.judge import UNKNOWN, Difference, judge
from datumaro_clip.curate.near.kept import Kept
from datumaro_clip.curate.near.overlay import Picture, read_picture
from datumaro_clip.curate.near.pixels import NO_MATCH, PixelMatch, compare, exchanged, match
from datumaro_clip.curate.near.rings import WHOLE, Spectrum, orient, spectra
from datumaro_clip.curate.near.rules import is_copy
from datumaro_clip.curate.near.threads import Pool
from datumaro_clip.curate.near.thumbnails import Thumbnails
from datumaro_clip.embedding import ImageRequest
from datumaro_clip.errors import ImageError
from datumaro_clip.images import ImageLike

_log = logging.getLogger(__name__)

# Below this ring correlation, aligning has never ended in a copy; features get a try where vectors propose.
_WORTH_ALIGNING = 0.65
# Highlights that clip leave differences in thumbnails; where full pictures are judged, thumbnails need not.
_LEEWAY = 2.0
# From this on, a pair resembles as wholes, and no view of either can do better by much.
_ALIKE_AS_WHOLES = 0.9
# Tasks that are sent to a worker together.
_CHUNK = 16
# Bytes of spectra and features that are kept: those of some ten thousand pictures; and of full pictures.
_ROOM = 256 << 20
_PICTURE_ROOM = 256 << 20

Pair: TypeAlias = tuple[int, int]
#: What gives the picture that a thumbnail was made of, as :func:`datumaro_clip.images.decode` takes it.
Pictures: TypeAlias = Callable[[int], ImageLike]


class Referee:
    """Knows what comparing pairs showed, each pair compared once.

    Parameters
    ----------
    thumbnails : Thumbnails
        N, read by several threads.
    by_vector : numpy.ndarray
        Codes (``proposals``) of the pairs that vectors proposed, ascending: they are given a try by features.
    pool : Pool
        Who works ahead.
    pictures : callable, optional
        Gives the picture of a number; asked by several threads. Without it thumbnails alone decide.

    Attributes
    ----------
    matches : dict
        What comparing (lower, higher) showed, for the pairs that are copies, be it where a third vouches for them.
    differences : dict
        The largest difference of (lower, higher) at full resolution, for the pairs that thumbnails take for copies.
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
        """How many pairs were."""
        return len(self.matches) + len(self._refused)

    def is_copy(self, one: int, other: int) -> bool:
        """Whether two pictures are copies, whichever is the original."""
        return self._compare.accepts(self._match(one, other)) and not self._is_edit(one, other)

    def confirmed_by_third(self, one: int, other: int) -> bool:
        """Whether two pictures are copies, given that a third is surely a copy of both."""
        found = self._match(one, other)
        return self._compare.accepts(found, confirmed_by_third=True) and not self._is_edit(one, other)

    def prefetch(self, pairs: Iterable[Pair]) -> None:
        """Compare pairs that will be asked for; all of one picture by one worker, which works it out but once."""
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
        """Whether a pair that thumbnails take for copies differs in a place that they are too small to show."""
        if self._pictures is None:
            return False
        pair = _sorted((one, other))
        if pair not in self.differences:
            self.differences[pair] = self._compare.difference(pair, self.matches[pair], self._task([pair]).pictures)
        return self.differences[pair].is_edit

    def _knows(self, pair: Pair) -> bool:
        return pair in self.matches or self._compare.code(pair) in self._refused

    def _take(self, pair: Pair, found: PixelMatch, difference: Difference | None) -> None:
        # A pair that passes alone passes with a third picture to confirm it; of the rest only the refusal is kept.
        if self._compare.accepts(found, confirmed_by_third=True):
            self.matches[pair] = found
        else:
            self._refused.add(self._compare.code(pair))
        if difference is not None:
            self.differences[pair] = difference


class Task(NamedTuple):
    """Pairs to compare, and how to get the pictures of them, by number; none where thumbnails alone decide."""

    pairs: Sequence[Pair]
    pictures: Mapping[int, ImageRequest]


class Comparer:
    """Compares pairs; a copy of it does so in another process.

    Parameters
    ----------
    thumbnails : Thumbnails
        N, read by several threads.
    by_vector : numpy.ndarray
        Codes (``proposals``) of the pairs that vectors proposed, ascending: they are given a try by features.
    leeway : float
        As ``is_copy`` takes it.
    """

    def __init__(self, thumbnails: Thumbnails, by_vector: IntArray, leeway: float) -> None:
        self._thumbnails, self._by_vector, self._leeway = thumbnails, by_vector, leeway
        self._kept = Kept(_ROOM)
        self._kept_pictures = Kept(_PICTURE_ROOM)

    def __reduce__(self) -> tuple[type[Comparer], tuple[Thumbnails, IntArray, float]]:
        return type(self), (self._thumbnails, self._by_vector, self._leeway)

    def __call__(self, task: Task) -> list[tuple[PixelMatch, Difference | None]]:
        """What thumbnails show of each pair, and the pictures themselves where those take them for copies."""
        found = []
        for pair in task.pairs:
            match_ = self._compare(pair)
            judged = bool(task.pictures) and self.accepts(match_)
            found.append((match_, self.difference(pair, match_, task.pictures) if judged else None))
        return found

    def accepts(self, found: PixelMatch, *, confirmed_by_third: bool = False) -> bool:
        """Whether thumbnails take a pair for copies."""
        return is_copy(found, confirmed_by_third=confirmed_by_third, leeway=self._leeway)

    def difference(self, pair: Pair, found: PixelMatch, pictures: Mapping[int, ImageRequest]) -> Difference:
        """How two pictures differ at full resolution; one that cannot be read again is no copy of anything."""
        ordered = self._ordered(pair)
        try:
            one, other = (self._picture(index, pictures[index]) for index in ordered)
            seen = judge(one, other, np.array(found.where).reshape(2, 3))
            return seen if ordered == pair else seen._replace(boxes=seen.boxes[::-1])
        except ImageError as exc:
            _log.warning("near duplicates: a picture is kept, as it could not be read a second time: %s", exc)
            return UNKNOWN

    def code(self, pair: Pair) -> int:
        """A pair as a number; see ``proposals``."""
        return pair[0] * len(self._thumbnails) + pair[1]

    def _picture(self, index: int, request: ImageRequest) -> Picture:
        return self._kept_pictures.get(index, lambda: read_picture(request.fetch()))

    def _ordered(self, pair: Pair) -> Pair:
        """The order in which a pair is compared, whatever their numbers."""
        one, other = sorted(pair, key=lambda index: smoothest_first(self._thumbnails[index]))
        return one, other

    def _compare(self, pair: Pair) -> PixelMatch:
        one, other = self._ordered(pair)
        found = self._by_whole(one, other)
        if found is None:
            found = self._by_views(one, other)
        if self.accepts(found) or not self._is_by_vector(pair):
            return found
        return self._by_features(one, other, found)

    def _is_by_vector(self, pair: Pair) -> bool:
        code = self.code(pair)
        place = int(np.searchsorted(self._by_vector, code))
        return place < len(self._by_vector) and int(self._by_vector[place]) == code

    def _by_whole(self, one: int, other: int) -> PixelMatch | None:
        """The comparison of whole with whole; None where they are not alike enough for a crop to be ruled out."""
        orientation = orient(self._whole(one), self._whole(other))
        if orientation.score < _ALIKE_AS_WHOLES:
            return None
        return match(self._thumbnails[one], self._thumbnails[other], orientation)

    def _by_views(self, one: int, other: int) -> PixelMatch:
        """The comparison of the view of either that resembles the whole of the other most."""
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
        first, second = self._thumbnails[one], self._thumbnails[other]
        for start in self._located(one, other):
            if start is not None:
                return compare(first, second, align(first, second, start))
        return otherwise

    def _located(self, one: int, other: int) -> Iterator[features.Map | None]:
        """Where features lay the other picture on the one, as it is and mirrored."""
        here = self._features(one)
        if features.tells(here):
            yield features.locate(here, self._features(other))
            yield features.locate(here, self._mirrored_features(other), mirrored=True)

    def _whole(self, index: int) -> Spectrum:
        return self._kept.get(("whole", index), lambda: spectra(self._thumbnails[index], (WHOLE,)))

    def _views(self, index: int) -> Spectrum:
        return self._kept.get(("views", index), lambda: spectra(self._thumbnails[index]))

    def _features(self, index: int) -> Features:
        return self._kept.get(("features", index), lambda: features.features(self._thumbnails[index]))

    def _mirrored_features(self, index: int) -> Features:
        def make() -> Features:
            return features.features(features.mirror(self._thumbnails[index]))

        return self._kept.get(("mirrored", index), make)


def _sorted(pair: Pair) -> Pair:
    return (min(pair), max(pair))
