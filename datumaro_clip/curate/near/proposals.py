"""Proposes pairs that may be near duplicates, by descriptors that do not change with rotation, and by vectors.

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
from datumaro_clip.curate.near.rings import VIEWS, Thumbnails, describe
from datumaro_clip.curate.near.threads import Pool, Progress
from datumaro_clip.curate.nearest import Search
from datumaro_clip.system.files import scratch_errors
from datumaro_clip.vectors import FloatArray

# The least similarity of two views of copies, whatever the noise, and how many neighbours are looked at.
_RING_SIMILARITY = 0.9
_RING_NEIGHBOURS = 12
_VIEW_NEIGHBOURS = 4
_VECTOR_NEIGHBOURS = 16
# Neighbours kept beyond those, for when some of those are no representatives any more.
_SPARE = 4
_PICTURES_A_TASK = 32

_Mask = npt.NDArray[np.bool_]


def by_vector(
    vectors: FloatArray | None, rows: Sequence[int] | None, threshold: float, count: int, search: Search
) -> IntArray:
    """Propose pairs with similar vectors; a vector that is similar to many others proposes none.

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
        Finds the neighbours.

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
    """Return the codes of pairs, ascending, each once, without pairs of a picture with itself."""
    apart = one != other
    return np.unique(np.minimum(one, other)[apart] * count + np.maximum(one, other)[apart])


class RingNeighbours:
    """Proposes pairs of which a view of one picture resembles the whole of the other.

    The descriptors, 6 KiB a picture, are kept in an unnamed temporary file.
    """

    def __init__(self, thumbnails: Thumbnails, pool: Pool, search: Search) -> None:
        self._search = search
        self._described = _described(thumbnails, pool)
        self._whole = np.ascontiguousarray(self._described[:, 0])
        self._all = np.arange(len(self._whole), dtype=np.int64)
        self._nearest = [self._similar(view, self._all, _SPARE) for view in range(len(VIEWS))]
        for view, found in enumerate(self._nearest):
            descriptors = self._described[:, view]
            search.estimate("descriptors", descriptors, self._whole, found, _RING_SIMILARITY, found.shape[1])

    def pairs(self, active: _Mask) -> IntArray:
        """Return the codes of the proposed pairs among some pictures.

        Parameters
        ----------
        active : numpy.ndarray
            Shape (N,), bool: the pictures that still represent a group or themselves.
        """
        found = [self._pairs_by(view, active) for view in range(len(VIEWS))]
        return np.unique(np.concatenate(found))

    def _pairs_by(self, view: int, active: _Mask) -> IntArray:
        nearest, wanted = self._nearest[view], _neighbours(view)
        there = active[nearest] & (nearest >= 0) & active[:, None]
        first = there & (np.cumsum(there, axis=1) <= wanted)
        # Search again for the pictures whose lists were full, and have too few neighbours left.
        short = active & (nearest[:, -1] >= 0) & (there.sum(axis=1) < wanted)
        first[short] = False
        again = np.flatnonzero(short)
        fresh = self._similar(view, again, 0, np.flatnonzero(active))
        return np.union1d(self._codes(self._all, nearest, first), self._codes(again, fresh, fresh >= 0))

    def _similar(
        self, view: int, queries: IntArray, spare: int, among: IntArray | None = None
    ) -> npt.NDArray[np.int32]:
        """Find the similar neighbours of some pictures' views: (Q, K), nearest first, -1 where there are no more."""
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
    """Return how many neighbours are looked at, the picture itself included."""
    return (_VIEW_NEIGHBOURS if view else _RING_NEIGHBOURS) + 1


def _described(thumbnails: Thumbnails, pool: Pool) -> FloatArray:
    """Describe all views of all pictures: (N, V, D)."""
    first = describe(thumbnails[0])
    with scratch_errors(), tempfile.TemporaryFile() as file:
        # Writing to a full disk raises an error; writing to a map of a file without blocks on disk kills the process.
        file.writelines(bytes(first.nbytes) for _ in range(len(thumbnails)))
        file.flush()
        rows = np.memmap(file, np.float32, "r+", shape=(len(thumbnails), *first.shape))
    progress = Progress("described")
    starts = range(0, len(thumbnails), _PICTURES_A_TASK)
    for start, found in zip(starts, pool.map(partial(_describe_some, thumbnails), starts), strict=True):
        rows[start : start + len(found)] = found
        progress.log(start + len(found), len(thumbnails))
    return rows


def _describe_some(thumbnails: Thumbnails, start: int) -> FloatArray:
    """Describe the views of the pictures from ``start`` on: (n, V, D)."""
    end = min(start + _PICTURES_A_TASK, len(thumbnails))
    return np.stack([describe(thumbnails[index]) for index in range(start, end)])
