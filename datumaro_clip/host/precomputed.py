"""Attaches vectors that were computed elsewhere to items, by key."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from datumaro.components.dataset_base import DatasetItem
from numpy.lib.format import MAGIC_PREFIX

from datumaro_clip.curate.summary import level_of_failure
from datumaro_clip.errors import InvalidVectorError, OptionError, TableError, with_cure
from datumaro_clip.host.embedding import ItemEmbedding
from datumaro_clip.host.items import key_of
from datumaro_clip.system.notices import notice
from datumaro_clip.tables.arrow import read_blob
from datumaro_clip.tables.files import open_table
from datumaro_clip.tables.options import TableOptions
from datumaro_clip.tables.rows import Refused
from datumaro_clip.vectors import Embedding, ItemKey, unit_rows

log = logging.getLogger(__name__)

#: The name of an item: its id or path, and its subset, if that is given.
Name = tuple[str, "str | None"]
_OTHER_FILES = {
    b"PK": "it is an archive of arrays (.npz)",
    b"\x80": "it is a pickle, which is never loaded",
}
_ABSOLUTE = re.compile(r"(?:[A-Za-z]:)?/")
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
        If the numbers of vectors and keys differ, or the vectors are no matrix of real numbers.
    """

    def __init__(self, vectors: Path, keys: Path, space: str) -> None:
        if not space:
            raise OptionError("--vectors needs --space NAME: a name for the space these vectors live in")
        matrix = _read_matrix(vectors)
        names = list(_read_keys(keys))
        if len(names) != len(matrix):
            raise InvalidVectorError(f"{vectors} has {len(matrix)} vectors, but {keys} names {len(names)} items")
        self._numbers = {name: number for number, name in enumerate(names)}
        if len(self._numbers) != len(names):
            raise InvalidVectorError(f"{keys} names an item twice; add a column 'subset', or remove the repetition")
        peaks = np.abs(matrix).max(axis=1, initial=0.0)
        sound = np.flatnonzero(np.isfinite(peaks) & (peaks > 0))
        rows = (Embedding(row, f"name:{space}", space, "unknown") for row in unit_rows(matrix[sound]))
        self._rows = dict(zip(sound.tolist(), rows, strict=True))
        self._otherwise = _otherwise(names)
        self._owners: dict[Name, ItemKey] = {}
        self._vectors = vectors

    def __len__(self) -> int:
        return len(self._numbers)

    def get(self, item: DatasetItem) -> Embedding | None:
        """Return the vector of an item: by id and subset, by id, by its file's path or name, in this order.

        Of keys that fit no item so, a number may lack its leading zeros, and a path may be another machine's: it is
        taken from the directory on that all such paths have in common.

        Raises
        ------
        InvalidVectorError
            If the vector has gone to another item already, or has no direction.
        """
        number = self._number(item)
        if number is not None and number not in self._rows:
            raise self._without_direction(item, number)
        return None if number is None else self._rows[number]

    def _number(self, item: DatasetItem) -> int | None:
        """Return which row is the item's."""
        names = list(_names(item))
        name = next((name for name in names if name in self._numbers), None)
        if name is None:
            others = (self._otherwise.get((_without_zeros(text), subset)) for text, subset in names)
            name = next((other for other in others if other is not None), None)
        if name is None:
            return None
        owner = self._owners.setdefault(name, key := key_of(item))
        if owner != key:
            raise InvalidVectorError(f"the key '{name[0]}' fits {owner} and {key}; add a column 'subset' to the keys")
        return self._numbers[name]

    def _without_direction(self, item: DatasetItem, number: int) -> InvalidVectorError:
        return InvalidVectorError(
            f"item '{item.id}' (subset '{item.subset}'): row {number} of {self._vectors} has no direction "
            "(NaN, infinite or all zero)"
        )

    def attached(self, items: Iterable[DatasetItem], on_error: str = "keep") -> Iterator[ItemEmbedding]:
        """Give each item its vector instead of one that it carries; at the end, log the keys that fit no item.

        ``on_error`` says what becomes of an item whose vector has no direction: ``keep``, ``skip`` or ``fail``.
        """
        without = failed = 0
        for item in items:
            number = self._number(item)
            embedding = None if number is None else self._rows.get(number)
            if number is None:
                without += 1
            elif embedding is None:
                problem = self._without_direction(item, number)
                if on_error == "fail":
                    raise problem
                failed += 1
                log.log(level_of_failure(failed), "Not embedded: %s", problem)
                if on_error == "skip":
                    continue
            yield ItemEmbedding(item, embedding)
        if unfit := [name for name in self._numbers if name not in self._owners]:
            some = ", ".join(f"'{text}'" if subset is None else f"'{text}'@{subset}" for text, subset in unfit[:3])
            told = "%d of %d keys fit no item, as %s; a key is an item's id, or its picture's path or the end of it"
            notice(log, told, len(unfit), len(self), some)
        more = f"; {failed} vectors without a direction" if failed else ""
        count = len(self._owners) - failed
        log.info("attached %d of %d vectors; %d items without one%s", count, len(self), without, more)


def _names(item: DatasetItem) -> Iterator[Name]:
    yield _plain(item.id), item.subset
    yield _plain(item.id), None
    path = PurePosixPath(_plain(getattr(item.media, "path", "") or ""))
    for count in range(1, len(path.parts) + 1):
        yield str(PurePosixPath(*path.parts[-count:])), None


def _plain(text: object) -> str:
    """Return a name as names are compared: as text, in Unicode's form NFC, with forward slashes."""
    told = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    return unicodedata.normalize("NFC", told.replace("\\", "/"))


def _without_zeros(text: str) -> str:
    return (text.lstrip("0") or "0") if text.isdecimal() else text


def _otherwise(names: Sequence[Name]) -> dict[Name, Name]:
    """Return names by what else they may stand for; what several of them may stand for is left out."""
    folders = [PurePosixPath(text).parent.parts for text, _ in names if _ABSOLUTE.match(text)]
    # The shared beginning of all is that of the first and the last in order.
    low, high = min(folders, default=()), max(folders, default=())
    shared = next((n for n, (one, other) in enumerate(zip(low, high, strict=False)) if one != other), len(low))
    found: dict[Name, Name | None] = {}
    for name in names:
        text, subset = name
        if _ABSOLUTE.match(text):
            text = str(PurePosixPath(*PurePosixPath(text).parts[shared:]))
        other = (_without_zeros(text), subset)
        found[other] = name if found.get(other, name) == name else None
    return {other: name for other, name in found.items() if name is not None}


def _read_matrix(path: Path) -> npt.NDArray[np.float32]:
    """Read a matrix of shape (N, D) as float32; a header that promises more than the file holds is refused."""
    refusal = f"{path} cannot be read as a NumPy matrix (.npy)"
    try:
        with path.open("rb") as file:
            magic = file.read(len(MAGIC_PREFIX))
        if magic != MAGIC_PREFIX:
            why = next((told for first, told in _OTHER_FILES.items() if magic.startswith(first)), "it is none")
            why = why if magic else "it is empty"
            raise OptionError(f"{refusal}: {why}; save a matrix of numbers with numpy.save")
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as exc:
        raise OptionError(f"{refusal}: {with_cure(exc)}") from exc
    except OptionError:
        raise
    except Exception as exc:  # NumPy parses the header as Python, whose errors are of many kinds.
        told = " ".join(str(exc).split())[:200] or type(exc).__name__
        raise OptionError(f"{refusal}: {told}; save a matrix of numbers with numpy.save") from exc
    if found.dtype.kind not in "fiu":
        raise InvalidVectorError(f"{path} holds {found.dtype}, wanted real numbers")
    if found.ndim != 2:
        raise InvalidVectorError(f"{path}: wanted a matrix of shape (N, D), got shape {found.shape}")
    with np.errstate(over="ignore"):
        return np.asarray(found, dtype=np.float32)


def _read_keys(path: Path) -> Iterator[Name]:
    """Read the name of each vector's item; every row must be sound, since the vectors are in the same order."""
    try:
        for number, row in enumerate(open_table(path, TableOptions())):
            if isinstance(row, Refused):
                raise OptionError(f"{path}, line {row.line}: {row.message}")
            column = next((name for name in ID_COLUMNS if name in row.values), None)
            if column is None:
                raise OptionError(f"{path} has no column that names items; wanted one of {', '.join(ID_COLUMNS)}")
            name, subset = row.values[column], row.values.get("subset")
            if isinstance(name, dict):
                # Parquet's columns of bytes are taken for pictures, and not read with the others.
                name = read_blob(str(path), column, number)
            yield _plain(name).removeprefix("./"), None if subset in (None, "") else _plain(subset)
    except (OSError, TableError) as exc:
        raise OptionError(f"{path} cannot be read as a table of keys: {with_cure(exc)}") from exc
