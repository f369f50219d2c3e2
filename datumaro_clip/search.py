"""Searching a store or a matrix: by text, by picture, by item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from datumaro_clip.errors import InvalidVectorError, OptionError
from datumaro_clip.images import ImageLike
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.similarity import top_k
from datumaro_clip.similarity.scores import MatrixLike, SelectedRows
from datumaro_clip.store import StoreReader
from datumaro_clip.vectors import FloatArray, ItemKey, VectorSpace, require_same_space, unit_lengths, unit_rows

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Hit:
    """One item found.

    Attributes
    ----------
    key : ItemKey
        The item.
    score : float
        Cosine similarity with the query, from -1 to 1.
    rank : int
        0 for the most similar.
    """

    key: ItemKey
    score: float
    rank: int


class SearchIndex:
    """Vectors of one space, and the items that they belong to. Search is exact.

    Parameters
    ----------
    matrix : numpy.ndarray
        Shape (N, D), float32 or float16, unit rows; read through once to see that they are. What reads rows when they
        are indexed, as a store's, which checked them when they were written, stays on the disk.
    keys : sequence of ItemKey, or callable
        The item of each row, or a function that gives it for a row.
    space : VectorSpace
        The space of all rows.

    Raises
    ------
    InvalidVectorError
        If the matrix does not fit the keys or the space, or a row is not of unit length.
    """

    def __init__(
        self, matrix: MatrixLike, keys: Sequence[ItemKey] | Callable[[int], ItemKey], space: VectorSpace
    ) -> None:
        if matrix.ndim != 2 or matrix.shape[1] != space.dimension:
            raise InvalidVectorError(f"wanted a matrix (N, {space.dimension}), got shape {matrix.shape}")
        if not callable(keys) and len(keys) != len(matrix):
            raise InvalidVectorError(f"{len(keys)} keys for {len(matrix)} rows")
        if isinstance(matrix, np.ndarray):
            is_unit, lengths = unit_lengths(matrix)
            if not is_unit.all():
                row = int(np.argmin(is_unit))
                raise InvalidVectorError(
                    f"row {row} of the matrix has length {lengths[row]:.6g}, wanted 1; scale it with unit_rows"
                )
        self.matrix, self.space = matrix, space
        self.key: Callable[[int], ItemKey] = keys if callable(keys) else keys.__getitem__

    @classmethod
    def from_store(cls, store: StoreReader) -> SearchIndex:
        """The pictures' vectors of a store, read at each search; keys are read only of what is found.

        Memory stays bounded whatever the store's size. Where many searches of a ``clip_hdf5`` store follow one another,
        ``SearchIndex(store.matrix(), list(store.embedding_keys()), store.header.space)`` reads it once.

        Raises
        ------
        OptionError
            If the store holds no vectors.
        """
        if store.header.space is None:
            raise OptionError(f"{store.path} holds no vectors; embed the dataset first")
        return cls(store.stored_rows(), partial(_store_key, store), store.header.space)

    def __len__(self) -> int:
        return len(self.matrix)

    def search(
        self,
        queries: npt.ArrayLike,
        k: int = 10,
        *,
        where: Callable[[ItemKey], bool] | Mask | None = None,
        min_score: float | None = None,
    ) -> list[list[Hit]]:
        """Find the most similar items for each query vector.

        Parameters
        ----------
        queries : array_like
            Shape (Q, D), of this index's space, any length but zero.
        k : int
            Hits a query, at most.
        where : callable or numpy.ndarray, optional
            Only items for whose key this is true; or a mask (N,) over the rows.
        min_score : float, optional
            Only hits of at least this similarity.

        Returns
        -------
        list of list of Hit
            For each query by descending score, then ascending row.
        """
        rows = self._selected(where)
        matrix = self.matrix if rows is None else SelectedRows(self.matrix, rows)
        indices, scores = top_k(unit_rows(queries), matrix, k)
        indices = indices if rows is None else rows[indices]
        return [self._hits(*found, min_score) for found in zip(indices, scores, strict=True)]

    def search_texts(
        self, texts: Sequence[str], encoder: Encoder, k: int = 10, *, min_score: float | None = None
    ) -> list[list[Hit]]:
        """Find the items most similar to each text.

        Raises
        ------
        SpaceMismatchError
            If the encoder's vectors cannot be compared with the index's.
        """
        require_same_space(self.space, encoder.space)
        return self.search(encoder.embed_texts(texts), k, min_score=min_score)

    def search_images(
        self, images: Sequence[ImageLike], encoder: Encoder, k: int = 10, *, min_score: float | None = None
    ) -> list[list[Hit]]:
        """Find the items most similar to each picture; as :meth:`search_texts`."""
        require_same_space(self.space, encoder.space)
        return self.search(encoder.embed_images(images), k, min_score=min_score)

    def _selected(self, where: Callable[[ItemKey], bool] | Mask | None) -> npt.NDArray[np.int64] | None:
        """The rows that may be found; None for all."""
        if where is None:
            return None
        if callable(where):
            where = np.fromiter((where(self.key(row)) for row in range(len(self))), np.bool_, len(self))
        if where.shape != (len(self),):
            raise InvalidVectorError(f"a mask of shape {where.shape} does not fit {len(self)} rows")
        return np.flatnonzero(where)

    def _hits(self, rows: npt.NDArray[np.int64], scores: FloatArray, min_score: float | None) -> list[Hit]:
        found = zip(rows.tolist(), scores.tolist(), strict=True)
        good = [(row, score) for row, score in found if min_score is None or score >= min_score]
        return [Hit(self.key(row), score, rank) for rank, (row, score) in enumerate(good)]


def item_vector(store: StoreReader, key: ItemKey) -> FloatArray:
    """The vector (D,) of a store's item.

    Raises
    ------
    OptionError
        If the store has no such item, or the item has no vector.
    """
    row = store.find(key)
    if row is None:
        raise OptionError(f"{store.path} holds no item '{key.id}' (subset '{key.subset}')")
    vector = store.record(row).embedding
    if vector is None:
        raise OptionError(f"item '{key.id}' (subset '{key.subset}') has no vector; its picture was not embedded")
    return vector


def _store_key(store: StoreReader, row: int) -> ItemKey:
    """The key of a row of a store's matrix."""
    return store.key(int(store.vector_rows()[row]))
