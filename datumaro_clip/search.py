"""Search a store or a matrix by text, by picture or by item."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from datumaro_clip.embedding import embed, embed_texts
from datumaro_clip.errors import InvalidVectorError, OptionError
from datumaro_clip.images import ImageLike
from datumaro_clip.index import OBJECTS, Filter, Snapshot
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.model.loading import load_model
from datumaro_clip.similarity import top_k
from datumaro_clip.similarity.scores import MatrixLike, SelectedRows
from datumaro_clip.store import ObjectVector, StoreReader
from datumaro_clip.vectors import FloatArray, ItemKey, VectorSpace, require_same_space, unit_lengths, unit_rows

log = logging.getLogger(__name__)

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

    def to_mapping(self) -> dict[str, Any]:
        """Return the hit as JSON values."""
        return {"rank": self.rank, "id": self.key.id, "subset": self.key.subset, "score": round(self.score, 6)}


@dataclass(frozen=True)
class ObjectHit(Hit):
    """One object found.

    Attributes
    ----------
    picture_score : float or None
        Cosine similarity of the query with the whole picture; None where that has no vector.
    found : ObjectVector
        The object: its annotation, box, class and confidence.
    """

    picture_score: float | None
    found: ObjectVector

    def to_mapping(self) -> dict[str, Any]:
        """Return the hit as JSON values; the box in pixels of the stored picture."""
        x1, y1, x2, y2 = (round(value, 2) for value in self.found.bbox)
        picture = None if self.picture_score is None else round(self.picture_score, 6)
        return {
            **super().to_mapping(),
            "picture_score": picture,
            "annotation": self.found.annotation_index,
            "class_name": self.found.class_name,
            "confidence": self.found.confidence,
            "bbox": {"x1": x1, "y1": y1, "x2": x2, "y2": y2},
        }


def encode_query(
    query: str | ImageLike,
    space: VectorSpace,
    model: str | os.PathLike[str] | Encoder | None = None,
    *,
    device: str = "CPU",
    precision: str = "auto",
) -> FloatArray:
    """Embed a text or a picture in a space; return the unit vector (D,).

    Parameters
    ----------
    query : str, path, bytes, array or PIL image
        A ``str`` is a text; a picture's path is a :class:`pathlib.Path`.
    space : VectorSpace
        The space of the vectors that it is compared with.
    model : path, str or Encoder, optional
        The model of that space, where it is not the one that the space names. Of vectors computed elsewhere, only the
        caller can know it.
    device, precision : str
        As :func:`datumaro_clip.load_model` takes them.

    Raises
    ------
    SpaceMismatchError
        If the model's vectors cannot be compared with those of the space.
    ImageError
        If the picture cannot be decoded.
    """
    encoder = load_model(model or space, device=device, precision=precision)
    if model and space.fingerprint.startswith("name:") and space.dimension == encoder.space.dimension:
        log.warning("the vectors of %s were computed elsewhere; taken for those of %s", space, encoder.space)
    else:
        require_same_space(space, encoder.space)
    if isinstance(query, str):
        return np.asarray(embed_texts([query], encoder)[0])
    vectors, errors = embed([query], encoder, cache="off")
    for error in errors.values():
        raise error
    return np.asarray(vectors[0])


class SearchIndex:
    """Vectors of one space, and the items that they belong to. Search is exact.

    Parameters
    ----------
    matrix : numpy.ndarray
        Shape (N, D), float32 or float16, unit rows, which is checked; or rows that are read when they are indexed, as
        those of a store, which stay on the disk and were checked when they were written.
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
        """Search the vectors of a store's pictures, which are read at each search; keys are read only for hits.

        Memory stays bounded for stores of any size. For many searches of a ``clip_hdf5`` store,
        ``SearchIndex(store.matrix(), list(store.embedding_keys()), store.header.space)`` reads it once.

        Raises
        ------
        OptionError
            If the store holds no vectors.
        """
        if store.header.space is None:
            raise OptionError(f"{store.path} holds no vectors; embed the dataset first")
        return cls(store.stored_rows(), lambda row: store.key(int(store.vector_rows()[row])), store.header.space)

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
            Shape (Q, D), or (D,) for one; of this index's space, any length but zero.
        k : int
            Hits a query, at most.
        where : callable or numpy.ndarray, optional
            Only items whose key this accepts; or a mask (N,) over the rows.
        min_score : float, optional
            Only hits of at least this similarity.

        Returns
        -------
        list of list of Hit
            For each query by descending score, then ascending row.
        """
        rows: npt.NDArray[np.int64] | None = None
        if where is not None:
            if callable(where):
                where = np.fromiter((where(self.key(row)) for row in range(len(self))), np.bool_, len(self))
            if where.shape != (len(self),):
                raise InvalidVectorError(f"a mask of shape {where.shape} does not fit {len(self)} rows")
            rows = np.flatnonzero(where)
        matrix = self.matrix if rows is None else SelectedRows(self.matrix, rows)
        indices, scores = top_k(unit_rows(np.atleast_2d(np.asarray(queries))), matrix, k)
        indices = indices if rows is None else rows[indices]
        hits = []
        for found in zip(indices.tolist(), scores.tolist(), strict=True):
            good = [(row, score) for row, score in zip(*found, strict=True) if min_score is None or score >= min_score]
            hits.append([Hit(self.key(row), score, rank) for rank, (row, score) in enumerate(good)])
        return hits


def require_subsets(store: StoreReader, names: Iterable[str]) -> None:
    """Raise :class:`OptionError` if a store lacks one of the subsets; the message lists those that it has."""
    if unknown := sorted(set(names) - set(store.subsets)):
        raise OptionError(f"{store.path} has no subset {', '.join(unknown)}; it has {', '.join(store.subsets)}")


def item_vector(store: StoreReader, key: ItemKey) -> FloatArray:
    """Return the vector (D,) of a store's item.

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


def search_objects(
    snapshot: Snapshot,
    query: FloatArray,
    k: int = 10,
    *,
    wanted: Filter | None = None,
    by_item: bool = True,
    without: ItemKey | None = None,
    min_score: float | None = None,
) -> list[ObjectHit]:
    """Find the objects of a store most similar to a query.

    Parameters
    ----------
    snapshot : Snapshot
        Of the store's index.
    query : numpy.ndarray
        (D,), unit length, of the store's space.
    k : int
        Hits at most.
    wanted : Filter, optional
        Conditions on items and on objects; one object has to meet all conditions on objects.
    by_item : bool
        One hit an item, its best object; else one an object.
    without : ItemKey, optional
        An item whose objects are left out.
    min_score : float, optional
        Only hits of at least this similarity.

    Returns
    -------
    list of ObjectHit
        By descending score.
    """
    store, target = snapshot.store, snapshot.targets[OBJECTS]
    mask = np.array(snapshot.mask(wanted or Filter(), OBJECTS))
    row_without = None if without is None else store.find(without)
    if row_without is not None:
        mask &= target.items != row_without
    rows, scores = snapshot.search(query, k, mask, target=OBJECTS, by_item=by_item)
    hits = []
    for rank, (row, score) in enumerate(zip(rows[0].tolist(), scores[0].tolist(), strict=True)):
        if min_score is not None and score < min_score:
            break
        record = store.record(int(target.items[row]))
        whole = None if record.embedding is None else float(record.embedding @ query)
        [found] = [each for each in record.objects if each.annotation_index == target.annotations[row]]
        hits.append(ObjectHit(record.key, score, rank, whole, found))
    return hits
