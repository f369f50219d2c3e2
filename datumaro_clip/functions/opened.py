"""A store in Python: its vectors, its pictures, and searches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datumaro_clip.errors import ImageError, InvalidVectorError, StoreCorruptError
from datumaro_clip.images import ImageLike
from datumaro_clip.images.gallery import MOST, Tile, gallery
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.search import Hit, SearchIndex, encode_query, item_vector, require_subsets
from datumaro_clip.store import ArchiveMember, StoreReader, media_path
from datumaro_clip.system.frames import to_frame
from datumaro_clip.vectors import FloatArray, ItemKey

_SHOWN = 10


class Hits(list[Hit]):
    """The hits of a query, most similar first: a list that notebooks show with pictures.

    Parameters
    ----------
    hits : iterable of Hit
    picture : callable
        Returns a function that reads an item's picture; None for an item without one.
    """

    def __init__(
        self, hits: Iterable[Hit] = (), picture: Callable[[ItemKey], Callable[[], ImageLike] | None] | None = None
    ) -> None:
        super().__init__(hits)
        self._picture = picture or (lambda key: None)

    def __repr__(self) -> str:
        lines = [f"  {hit.score:.4f}  {str(hit.key)!r}" for hit in self[:_SHOWN]]
        more = [f"  … and {len(self) - _SHOWN} more"] if len(self) > _SHOWN else []
        return "\n".join([f"{len(self)} hits{':' if self else ''}", *lines, *more])

    def _repr_html_(self) -> str:
        tiles = (Tile(hit.key.id, f"{hit.score:.3f} · {hit.key.subset}", self._picture(hit.key)) for hit in self)
        return gallery(f"{len(self)} hits", tiles, len(self))

    def to_pandas(self) -> Any:
        """Return the hits as a ``pandas.DataFrame`` with ``rank``, ``id``, ``subset`` and ``score``.

        Raises
        ------
        MissingDependencyError
            If pandas is not installed.
        """
        return to_frame((hit.to_mapping() for hit in self), ("rank", "id", "subset", "score"))


class Store(StoreReader):
    """An embedding store with its vectors, its pictures and a search."""

    def vectors(self) -> tuple[list[ItemKey], FloatArray]:
        """Return the items that have a vector, and their vectors.

        Returns
        -------
        keys : list of ItemKey
            N items, in the store's order.
        vectors : numpy.ndarray
            Shape (N, D), float32, unit rows.
        """
        return list(self.embedding_keys()), np.asarray(self.matrix(), np.float32)

    def search(
        self,
        query: str | ItemKey | ImageLike | npt.NDArray[Any],
        k: int = 10,
        *,
        subset: str | None = None,
        min_score: float | None = None,
        model: str | os.PathLike[str] | Encoder | None = None,
    ) -> Hits:
        """Find the items most similar to a text, a picture, a vector or one of the items.

        Parameters
        ----------
        query : str, Path, bytes, array, PIL image or ItemKey
            A ``str`` is a text; a picture's path is a :class:`pathlib.Path`; an array (D,) is a vector, other arrays
            are pictures; an item is not among its own hits.
        k : int
            Hits at most.
        subset : str, optional
            Only items of this subset.
        min_score : float, optional
            Only hits of at least this cosine similarity.
        model : path, str or Encoder, optional
            The model of the store's vectors, where the store does not name it; for many texts, load it once.

        Raises
        ------
        OptionError
            If the store holds no vectors, no such item, or no such subset.
        SpaceMismatchError
            If the model's vectors do not fit the store.
        InvalidVectorError
            If a vector is not of the store's dimension, or all zeros.
        """
        require_subsets(self, [] if subset is None else [subset])
        index = SearchIndex.from_store(self)
        own = query if isinstance(query, ItemKey) else None
        where = None
        if own is not None or subset is not None:

            def where(key: ItemKey) -> bool:
                return key != own and subset in (None, key.subset)

        if isinstance(query, ItemKey):
            vector = item_vector(self, query)
        elif isinstance(query, np.ndarray) and query.ndim == 1:
            vector = query
            if len(query) != index.space.dimension:
                raise InvalidVectorError(f"wanted a vector ({index.space.dimension},), got shape {query.shape}")
        else:
            vector = encode_query(query, index.space, model)
        [found] = index.search(vector, k, where=where, min_score=min_score)
        return Hits(found, self.picture)

    def picture(self, key: ItemKey) -> Callable[[], ImageLike] | None:
        """Return a function that reads an item's picture, from the store or from its file; None where there is none."""
        row = self.find(key)
        media = {} if row is None else self.record(row).payload.get("media") or {}
        if media.get("type") != "image" or not {"archive", "file", "path"} & media.keys():
            return None
        return partial(_picture, self.path, media)

    def _repr_html_(self) -> str:
        tiles = (Tile(key.id, key.subset, self.picture(key)) for key in islice(self.keys(), MOST))
        return gallery(repr(self), tiles, len(self))


def _picture(root: Path, media: Mapping[str, Any]) -> ImageLike:
    """Read the picture that a record names; raise :class:`ImageError` where it cannot be read."""
    try:
        if "archive" in media:
            return ArchiveMember.parse(media["archive"])()
        path = media_path(root, media["file"]) if "file" in media else Path(media["path"])
        return np.load(path, allow_pickle=False) if path.suffix == ".npy" else path
    except (StoreCorruptError, KeyError, TypeError, ValueError, OSError) as exc:
        raise ImageError("missing", f"the store's picture cannot be had: {exc}") from exc


def open_store(path: str | os.PathLike[str]) -> Store:
    """Open a store for reading; no vectors are read.

    Raises
    ------
    StoreNotFoundError
        If there is no store at the path.
    StoreFormatError
        If it is foreign, or of a version that this release does not know.
    StoreCorruptError
        If its manifest or files contradict one another.

    Examples
    --------
    ::

        with open_store("path/to/store") as store:
            hits = store.search("a red mug", k=5)
    """
    return Store(Path(path))
