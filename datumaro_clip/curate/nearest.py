"""Find the most similar rows with a pool of workers; the answer does not depend on the pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from datumaro_clip.curate.groups import IntArray
from datumaro_clip.similarity import approximate_top_k, top_k
from datumaro_clip.similarity.scores import blocks_of
from datumaro_clip.vectors import FloatArray

if TYPE_CHECKING:
    from datumaro_clip.curate.near.threads import Pool

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")

# Queries of a task: among ten million rows of 512 dimensions they take a processor a minute or two.
_QUERIES = 1024
# Cells that a task searches.
_CELLS = 4
#: Rows whose neighbours are searched exactly to estimate the recall of an approximate search.
SAMPLE = 1000


class InTurn:
    """A pool that works in the caller's thread."""

    def map(
        self, work: Callable[[_Task], _Result], tasks: Iterable[_Task], /, *, chunksize: int = 1
    ) -> Iterator[_Result]:
        """Return the results; each is computed when it is taken."""
        return map(work, tasks)


IN_TURN = InTurn()


def nearest_rows(pool: Pool, queries: FloatArray, matrix: FloatArray, k: int) -> tuple[IntArray, FloatArray]:
    """Find the same as :func:`datumaro_clip.similarity.top_k`, with a pool.

    A worker on another machine holds the matrix, and gets some queries at a time.
    """
    if len(queries) <= _QUERIES:
        return top_k(queries, matrix, k)
    blocks = (block for _, block in blocks_of(queries, _QUERIES))
    indices, scores = zip(*pool.map(partial(_nearest_of, matrix, k), blocks), strict=True)
    return np.concatenate(indices), np.concatenate(scores)


def _nearest_of(matrix: FloatArray, k: int, queries: FloatArray) -> tuple[IntArray, FloatArray]:
    return top_k(queries, matrix, k, threads=1)


class Search:
    """Finds the rows most similar to others: exactly, or approximately.

    Parameters
    ----------
    pool : Pool
        Searches.
    approximate : bool
        Search only the rows that share one of their two nearest clusters with the query.
    """

    def __init__(self, pool: Pool, approximate: bool = False) -> None:
        self._pool = pool
        self._approximate = approximate
        self._found: Counter[str] = Counter()
        self._true: Counter[str] = Counter()

    @property
    def recall(self) -> dict[str, tuple[int, int]]:
        """The numbers of found and of true neighbours of a sample, by name; empty for an exact search."""
        return {what: (self._found[what], count) for what, count in self._true.items()}

    def top_k(self, queries: FloatArray, matrix: FloatArray, k: int) -> tuple[IntArray, FloatArray]:
        """Search as :func:`datumaro_clip.similarity.top_k` does; index -1 and score -inf where fewer were found."""
        k = min(k, len(matrix))
        if not self._approximate:
            return nearest_rows(self._pool, queries, matrix, k)
        return approximate_top_k(queries, matrix, k, run=partial(self._pool.map, chunksize=_CELLS))

    def estimate(
        self,
        what: str,
        queries: FloatArray,
        matrix: FloatArray,
        found: npt.NDArray[np.integer[Any]],
        threshold: float,
        crowd: int,
    ) -> None:
        """Estimate the recall of an approximate search on at most :data:`SAMPLE` rows.

        Parameters
        ----------
        what : str
            Their name in :attr:`recall`.
        queries, matrix : numpy.ndarray
            Shape (N, D), float32, unit rows; row i of both is one item's.
        found : numpy.ndarray
            Shape (N, K), integers: the neighbours of each query, -1 where there are fewer.
        threshold : float
            Cosine similarity from which on a neighbour counts.
        crowd : int
            Rows with more such neighbours are ignored.
        """
        if not self._approximate:
            return
        sample = np.random.default_rng(0).permutation(len(queries))[:SAMPLE]
        indices, scores = nearest_rows(self._pool, queries[sample], matrix, found.shape[1])
        similar = (scores >= np.float32(threshold)) & (indices != sample[:, None])
        similar &= similar.sum(axis=1, keepdims=True) <= crowd
        self._true[what] += int(similar.sum())
        met = (indices[:, :, None] == found[sample][:, None, :]).any(axis=2)
        self._found[what] += int((met & similar).sum())
