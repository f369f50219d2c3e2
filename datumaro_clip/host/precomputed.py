"""Vectors computed elsewhere, matched to items by key."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.errors import InvalidVectorError, OptionError, TableError, with_cure
from datumaro_clip.host.embedding import ItemEmbedding
from datumaro_clip.tables.files import open_table
from datumaro_clip.tables.options import TableOptions
from datumaro_clip.tables.rows import Refused
from datumaro_clip.vectors import Embedding, ItemKey, unit_rows

log = logging.getLogger(__name__)

# Columns that name an item, in the order of preference; clip-retrieval writes image_path.
ID_COLUMNS = ("id", "image_path", "image", "path", "file_name", "key")


class PrecomputedVectors:
    """A matrix of vectors and the items they belong to.

    Parameters
    ----------
    vectors : Path
        ``.npy``, shape (N, D), any real dtype; rows need not be of unit length.
    keys : Path
        A table, as ``.csv`` with a header or ``.parquet``; row i names the item of vector i, in a column ``id`` (with
        ``subset``, where ids repeat across subsets), or in ``image_path``, ``image``, ``path`` or ``file_name``.
    space : str
        A name for the vector space, of the user's choosing; vectors of equally named spaces are comparable.

    Raises
    ------
    OptionError
        If a file cannot be read, or has no usable column.
    InvalidVectorError
        If the numbers of vectors and keys differ, or a vector has no direction.
    """

    def __init__(self, vectors: Path, keys: Path, space: str) -> None:
        if not space:
            raise OptionError("--vectors needs --space NAME: a name for the space these vectors live in")
        matrix = unit_rows(_read_matrix(vectors))
        names = list(_read_keys(keys))
        if len(names) != len(matrix):
            raise InvalidVectorError(f"{vectors} has {len(matrix)} vectors, but {keys} names {len(names)} items")
        embeddings = (Embedding(row, f"name:{space}", space, "unknown") for row in matrix)
        self._rows = dict(zip(names, embeddings, strict=True))
        if len(self._rows) != len(names):
            raise InvalidVectorError(f"{keys} names an item twice; add a column 'subset', or remove the repetition")
        self._owners: dict[tuple[str, str | None], ItemKey] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, item: DatasetItem) -> Embedding | None:
        """The vector of an item: by id and subset, by id, by its file's path or name, in this order.

        Raises
        ------
        InvalidVectorError
            If the vector has gone to another item already.
        """
        name = next((name for name in _names(item) if name in self._rows), None)
        if name is None:
            return None
        owner = self._owners.setdefault(name, key := ItemKey(item.id, item.subset))
        if owner != key:
            raise InvalidVectorError(f"the key '{name[0]}' fits {owner} and {key}; add a column 'subset' to the keys")
        return self._rows[name]

    def attached(self, items: Iterable[DatasetItem]) -> Iterator[ItemEmbedding]:
        """Each item with its vector, in place of one that it carries; the log tells at the end what fits nothing."""
        without = 0
        for item in items:
            embedding = self.get(item)
            without += embedding is None
            yield ItemEmbedding(item, embedding)
        log.info("attached %d of %d vectors; %d items without one", len(self._owners), len(self), without)


def _names(item: DatasetItem) -> Iterator[tuple[str, str | None]]:
    yield item.id, item.subset
    yield item.id, None
    path = PurePosixPath(str(getattr(item.media, "path", "") or "").replace("\\", "/"))
    for count in range(1, len(path.parts) + 1):
        yield str(PurePosixPath(*path.parts[-count:])), None


def _read_matrix(path: Path) -> npt.NDArray[Any]:
    try:
        matrix: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as exc:
        raise OptionError(f"{path} cannot be read as a NumPy matrix (.npy): {exc}") from exc
    return matrix


def _read_keys(path: Path) -> Iterator[tuple[str, str | None]]:
    for row in _read_table(path):
        column = next((name for name in ID_COLUMNS if name in row), None)
        if column is None:
            raise OptionError(f"{path} has no column that names items; wanted one of {', '.join(ID_COLUMNS)}")
        yield str(row[column]).removeprefix("./"), row.get("subset") or None


def _read_table(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a table of keys, every one of which must be sound: a vector each belongs to them in order."""
    try:
        for row in open_table(path, TableOptions()):
            if isinstance(row, Refused):
                raise OptionError(f"{path}, line {row.line}: {row.message}")
            yield row.values
    except (OSError, TableError) as exc:
        raise OptionError(f"{path} cannot be read as a table of keys: {with_cure(exc)}") from exc
