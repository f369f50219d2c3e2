"""A store at one time, with its index: a search uses one snapshot to its end, while later ones see a newer state."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from functools import cached_property, lru_cache, partial
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from datumaro_clip.errors import InvalidVectorError, OptionError
from datumaro_clip.index.columns import ItemColumns, Mask, Words, object_columns, object_mask
from datumaro_clip.index.filters import Filter
from datumaro_clip.index.rows import Found, VectorRows
from datumaro_clip.similarity import exact_scores
from datumaro_clip.similarity.scores import FloatArray, IndexArray, Matrix, as_float32, require_matrix
from datumaro_clip.store import StoreReader
from datumaro_clip.vectors import ItemKey

#: What can be searched: the store's groups of vectors.
PICTURES, OBJECTS, CAPTIONS = "pictures", "objects", "captions"
TARGETS = (PICTURES, OBJECTS, CAPTIONS)
GROUPS = {PICTURES: "embeddings", OBJECTS: "objects", CAPTIONS: "captions"}

# Reciprocal rank fusion: rows of each ranking for each row wanted, and the constant that is added to a rank.
_FUSED, _FUSION = 5, 60
# Masks kept in memory, one byte a row.
_KEPT_MASKS = 32


class Searcher(Protocol):
    """Finds rows of one target."""

    def search(self, queries: Matrix, k: int, mask: Mask | None, wanted: Filter | None) -> Found:
        """Find the k most similar rows, or all that a mask selects if they are fewer.

        Scores are exact; rows of equal score are in ascending order. There is at least one query, and one row to find.

        Parameters
        ----------
        queries : numpy.ndarray
            (Q, D) float32 or float16, unit rows.
        k : int
            At least 1.
        mask : numpy.ndarray or None
            (N,) bool, rows that may be found; None for all.
        wanted : Filter or None
            The filter that the mask was made from, if it was.
        """


@runtime_checkable
class WordSearcher(Protocol):
    """Finds pictures by the words of their captions."""

    def search_words(self, text: str, count: int, wanted: Filter | None) -> IndexArray:
        """Return about ``count`` rows, the best first. An engine may ignore a part of the filter."""


class Target:
    """The pictures, objects or captions of a snapshot; a row is one vector.

    Attributes
    ----------
    name : str
        ``pictures``, ``objects`` or ``captions``.
    items : numpy.ndarray
        (N,) int64, the store row of each vector's item.
    annotations : numpy.ndarray
        (N,) int64, the object's or caption's index among its item's annotations; -1 for pictures.
    vectors : VectorRows
        (N, D), in the store's dtype.
    searcher : Searcher
    """

    def __init__(self, store: StoreReader, name: str, vectors: VectorRows, searcher: Searcher) -> None:
        self.name, self.vectors, self.searcher = name, vectors, searcher
        self.items: IndexArray = store.vector_rows(GROUPS[name])
        self._store = store

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def annotations(self) -> IndexArray:
        column = {OBJECTS: "object_annotation", CAPTIONS: "caption_annotation"}.get(self.name)
        if column is None:
            return np.full(len(self), -1, np.int64)
        parts = [
            segment.columns[column].all()[segment.is_live[segment.item_rows(GROUPS[self.name])]]
            for segment in self._store.segments
            if column in segment.columns
        ]
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def key(self, row: int) -> ItemKey:
        """Return the key of a row's item."""
        return self._store.key(int(self.items[row]))


class Snapshot:
    """A store as it was at one time, and the index of it.

    Attributes
    ----------
    store : StoreReader
    targets : mapping of str to Target
    """

    def __init__(self, store: StoreReader, targets: Mapping[str, Target], columns: ItemColumns) -> None:
        self.store, self.targets, self.columns = store, targets, columns
        # Without this weak reference, only the garbage collector would close the files of a snapshot no longer used.
        self._filtered = lru_cache(maxsize=_KEPT_MASKS)(partial(Snapshot._make_mask, weakref.proxy(self)))

    @property
    def digest(self) -> str:
        """The digest of the store's manifest."""
        return self.store.digest

    def mask(self, wanted: Filter, target: str = PICTURES) -> Mask:
        """Return the mask of a target's rows that meet a filter: (N,) bool, read-only.

        An object must itself meet the conditions on objects (``classes``, ``min_score``). For a picture or a caption,
        one annotation of its item must meet them all.
        """
        return self._filtered(wanted, require_target(target))

    def search(
        self,
        vectors: npt.ArrayLike,
        k: int,
        mask: Mask | Filter | None = None,
        *,
        target: str = PICTURES,
        by_item: bool = False,
    ) -> Found:
        """Find the rows of a target that are most similar to each query.

        Parameters
        ----------
        vectors : array_like
            (Q, D) or (D,), unit rows of the store's space, float32 or float16.
        k : int
            Rows wanted for each query.
        mask : numpy.ndarray or Filter, optional
            (N,) bool, the rows that may be found, or conditions that they must meet.
        target : str
            ``pictures``, ``objects`` or ``captions``.
        by_item : bool
            Find the best row of each of the k best items, instead of several rows of one item.

        Returns
        -------
        Found
            Rows and scores, each (Q, min(k, M)), where M rows (``by_item``: items) may be found; by descending score,
            then ascending row. Scores are exact whatever the engine.

        Raises
        ------
        OptionError
            If there is no such target, or k is below 1.
        InvalidVectorError
            If the vectors or the mask do not fit, or a vector is not finite.
        """
        chosen = self.targets[require_target(target)]
        queries = self._queries(vectors)
        if k < 1:
            raise OptionError(f"k is {k}; wanted at least 1")
        wanted = mask if isinstance(mask, Filter) else None
        rows = self._rows_of(mask, chosen)
        if rows is not None and rows.all():
            wanted = rows = None
        if not len(queries) or not len(chosen) or (rows is not None and not rows.any()):
            return Found.none(len(queries))
        if by_item:
            return _best_items(chosen, queries, k, rows, wanted)
        return chosen.searcher.search(queries, k, rows, wanted)

    def search_words(self, text: str, vector: npt.ArrayLike, k: int, mask: Mask | Filter | None = None) -> Found:
        """Find pictures by the words of their captions and by their vectors, and merge both rankings.

        A picture's merged score is the sum of 1 / (60 + rank) over the two rankings, of five times k pictures each:
        reciprocal rank fusion, from Cormack, Clarke and Büttcher (SIGIR 2009), who also chose 60.

        Parameters
        ----------
        text : str
        vector : array_like
            (D,), as in :meth:`search`.
        k : int
        mask : numpy.ndarray or Filter, optional
            As in :meth:`search`.

        Returns
        -------
        Found
            (1, at most k): by descending merged score; the scores given are cosine similarities.

        Raises
        ------
        OptionError
            If the engine cannot search words.
        """
        target = self.targets[PICTURES]
        if not isinstance(target.searcher, WordSearcher):
            raise OptionError("this engine searches vectors, no words; use OpenSearch")
        wanted = mask if isinstance(mask, Filter) else None
        allowed = self._rows_of(mask, target)
        words = target.searcher.search_words(text, _FUSED * k, wanted)
        words = words if allowed is None else words[allowed[words]]
        near = self.search(vector, _FUSED * k, mask).rows[0]
        merged: dict[int, float] = {}
        for ranking in (near, words):
            for rank, row in enumerate(ranking.tolist(), 1):
                merged[row] = merged.get(row, 0.0) + 1 / (_FUSION + rank)
        rows = np.array(sorted(merged, key=lambda row: (-merged[row], row))[:k], np.int64)
        return Found(rows[None], exact_scores(self._queries(vector)[0], target.vectors[rows])[None])

    def _queries(self, vectors: npt.ArrayLike) -> Matrix:
        queries = np.atleast_2d(np.asarray(vectors))
        require_matrix(queries, "queries")
        space = self.store.header.space
        if space is not None and queries.shape[1] != space.dimension:
            raise InvalidVectorError(f"queries of shape {queries.shape} do not fit vectors of {space}")
        if not np.isfinite(queries).all():
            raise InvalidVectorError("a query is not finite")
        if not queries.any(axis=1).all():
            raise InvalidVectorError("a query is all zeros: it has no direction")
        return queries if queries.dtype == np.float16 else as_float32(queries)

    def _rows_of(self, mask: Mask | Filter | None, target: Target) -> Mask | None:
        if isinstance(mask, Filter):
            return self.mask(mask, target.name)
        if mask is not None and (mask.shape != (len(target),) or mask.dtype != np.bool_):
            raise InvalidVectorError(
                f"a mask of shape {mask.shape} of {mask.dtype} does not fit {len(target)} {target.name}; wanted bool"
            )
        return mask

    def _make_mask(self, wanted: Filter, target: str) -> Mask:
        items = self.columns.mask(wanted)
        of_objects = bool(wanted.classes) or wanted.min_score is not None
        if of_objects and target != OBJECTS:
            items &= self.columns.labelled(wanted)
        mask: Mask = items[self.targets[target].items]
        if of_objects and target == OBJECTS:
            mask &= object_mask(*self._objects, wanted)
        mask.setflags(write=False)
        return mask

    @cached_property
    def _objects(self) -> tuple[Words, FloatArray]:
        return object_columns(self.store)


def require_target(name: str) -> str:
    """Return the name of a target; raise :class:`OptionError` if there is none of this name."""
    if name not in TARGETS:
        raise OptionError(f"there is no target {name!r}; there are {', '.join(TARGETS)}")
    return name


def _best_items(target: Target, queries: Matrix, k: int, mask: Mask | None, wanted: Filter | None) -> Found:
    """Return the best row of each of the k best items; searches for more rows until they belong to k items."""
    among = target.items if mask is None else target.items[mask]
    items = min(k, len(np.unique(among)))
    asked = min(4 * k, len(among))
    while True:
        found = target.searcher.search(queries, asked, mask, wanted)
        firsts = [np.sort(np.unique(target.items[rows], return_index=True)[1]) for rows in found.rows]
        if all(len(first) >= items for first in firsts):
            at = np.stack([first[:items] for first in firsts])
            return Found(np.take_along_axis(found.rows, at, 1), np.take_along_axis(found.scores, at, 1))
        asked = min(4 * asked, len(among))
