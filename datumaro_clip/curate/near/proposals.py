"""Which pairs may be near duplicates: proposed by rings that rotation leaves alone, and by vectors.

A pair (one, other), one < other, of N pictures is the code ``one * N + other``: a million pairs take 8 MB, and sets of
them are sorted arrays.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from datumaro_clip.curate.groups import IntArray
from datumaro_clip.curate.near.progress import Progress
from datumaro_clip.curate.near.rings import VIEWS, describe
from datumaro_clip.curate.near.threads import Pool
from datumaro_clip.curate.near.thumbnails import Thumbnails
from datumaro_clip.curate.nearest import Search
from datumaro_clip.system.files import scratch_errors
from datumaro_clip.vectors import FloatArray

# What two views of copies have in common at least, whatever the noise, and how many neighbours are looked at.
_RING_SIMILARITY = 0.9
_RING_NEIGHBOURS = 12
_VIEW_NEIGHBOURS = 4
_VECTOR_NEIGHBOURS = 16
# Neighbours kept beyond those: they move up where some of those no longer stand.
_SPARE = 4
_PICTURES_A_TASK = 32

_Mask = npt.NDArray[np.bool_]


def by_vector(
    vectors: FloatArray | None, rows: Sequence[int] | None, threshold: float, count: int, search: Search
) -> IntArray:
    """Pairs whose vectors are similar, of items that few others resemble: a vector like many tells none of them.

    Parameters
    ----------
    vectors : numpy.ndarray, optional
        Shape (M, D), float32 unit rows.
    rows : sequence of int, optional
        The picture that each vector belongs to; vector i to picture i where omitted.
    threshold : float
        Cosine similarity.
    count : int
        N pictures.
    search : Search
        Who looks for neighbours.

    Returns
    -------
    numpy.ndarray
        Codes, ascending.
    """
    if vectors is None or len(vectors) < 2:
        return np.empty(0, np.int64)
    owners = np.arange(len(vectors)) if rows is None else np.asarray(rows, dtype=np.int64)
    indices, scores = search.top_k(vectors, vectors, _VECTOR_NEIGHBOURS + 2)
    search.estimate("vectors", vectors, vectors, indices, threshold, _VECTOR_NEIGHBOURS)
    similar = scores >= threshold
    telling = similar.sum(axis=1) <= _VECTOR_NEIGHBOURS + 1
    left, place = np.nonzero(similar)
    right = indices[left, place]
    both = telling[left] & telling[right]
    return codes_of(owners[left[both]], owners[right[both]], count)


def codes_of(one: IntArray, other: IntArray, count: int) -> IntArray:
    """Pairs as codes, ascending, each once, none of a picture with itself."""
    apart = one != other
    return np.unique(np.minimum(one, other)[apart] * count + np.maximum(one, other)[apart])


class RingNeighbours:
    """The pictures of which a view of another resembles the whole.

    What describes them, 6 KiB a picture, is kept in an unnamed temporary file.
    """

    def __init__(self, thumbnails: Thumbnails, pool: Pool, search: Search) -> None:
        self._search = search
        self._described = _described(thumbnails, pool)
        self._whole = np.ascontiguousarray(self._described[:, 0])
        self._nearest = [self._similar_to_all(view) for view in range(len(VIEWS))]

    @property
    def _everyone(self) -> IntArray:
        return np.arange(len(self._whole), dtype=np.int64)

    def pairs(self, standing: _Mask) -> IntArray:
        """Codes of the pairs of standing pictures of which a view of the one resembles the whole of the other.

        Parameters
        ----------
        standing : numpy.ndarray
            Shape (N,), bool.
        """
        found = [self._pairs_by(view, standing) for view in range(len(VIEWS))]
        return np.unique(np.concatenate(found))

    def _pairs_by(self, view: int, standing: _Mask) -> IntArray:
        nearest, wanted = self._nearest[view], _neighbours(view)
        there = standing[nearest] & (nearest >= 0) & standing[:, None]
        first = there & (np.cumsum(there, axis=1) <= wanted)
        # A list that is not full holds everything similar; one with enough left needs no more.
        short = standing & (nearest[:, -1] >= 0) & (there.sum(axis=1) < wanted)
        first[short] = False
        again = np.flatnonzero(short)
        fresh = self._similar(view, again, 0, np.flatnonzero(standing))
        return np.union1d(self._codes(self._everyone, nearest, first), self._codes(again, fresh, fresh >= 0))

    def _similar_to_all(self, view: int) -> npt.NDArray[np.int32]:
        """The neighbours of every picture's view, and what share of them those are, where not all."""
        found = self._similar(view, self._everyone, _SPARE)
        self._search.estimate(
            "descriptors", self._described[:, view], self._whole, found, _RING_SIMILARITY, found.shape[1]
        )
        return found

    def _similar(
        self, view: int, queries: IntArray, spare: int, among: IntArray | None = None
    ) -> npt.NDArray[np.int32]:
        """The similar neighbours of some pictures' views (Q, K), nearest first, -1 where there are no more."""
        matrix = self._whole if among is None else self._whole[among]
        wanted = min(_neighbours(view) + spare, len(matrix))
        if not len(queries):
            return np.empty((0, wanted), np.int32)
        indices, scores = self._search.top_k(np.ascontiguousarray(self._described[queries, view]), matrix, wanted)
        indices = indices if among is None else among[indices]
        return np.where(scores >= _RING_SIMILARITY, indices, -1).astype(np.int32)

    def _codes(self, queries: IntArray, nearest: npt.NDArray[np.int32], chosen: _Mask) -> IntArray:
        row, place = np.nonzero(chosen)
        return codes_of(queries[row], nearest[row, place].astype(np.int64), len(self._whole))


def _neighbours(view: int) -> int:
    """How many neighbours are looked at, each picture itself among them."""
    return (_VIEW_NEIGHBOURS if view else _RING_NEIGHBOURS) + 1


def _described(thumbnails: Thumbnails, pool: Pool) -> FloatArray:
    """Descriptions of all views (N, V, D)."""
    first = describe(thumbnails[0])
    with scratch_errors(), tempfile.TemporaryFile() as file:
        # A full disk refuses what is written, but kills who writes to a map of what was not.
        file.writelines(bytes(first.nbytes) for _ in range(len(thumbnails)))
        file.flush()
        rows = np.memmap(file, np.float32, "r+", shape=(len(thumbnails), *first.shape))
    progress = Progress("described")
    starts = range(0, len(thumbnails), _PICTURES_A_TASK)
    for start, found in zip(starts, pool.map(partial(_describe_some, thumbnails), starts), strict=True):
        rows[start : start + len(found)] = found
        progress.tell(start + len(found), len(thumbnails))
    return rows


def _describe_some(thumbnails: Thumbnails, start: int) -> FloatArray:
    """Descriptions of the views of some pictures, (n, V, D)."""
    end = min(start + _PICTURES_A_TASK, len(thumbnails))
    return np.stack([describe(thumbnails[index]) for index in range(start, end)])
