"""Rows of tables, and reasons why something in a table is no row."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

#: Text in CSV and TSV; in JSON and Parquet also numbers, booleans, None, lists and mappings.
Value: TypeAlias = Any
#: Writes one row to a table; columns that it lacks are empty.
WriteRow: TypeAlias = Callable[[dict[str, Value]], None]

#: Columns of rows that come from an archive: the key of their members, and the picture's place.
KEY, PICTURE = "__key__", "__picture__"


class Row(NamedTuple):
    """One row.

    Attributes
    ----------
    line : int
        The line that it begins on, from 1; in Parquet the row's number, from 1.
    values : dict
        By column. A row of JSON may lack columns that other rows have.
    """

    line: int
    values: dict[str, Value]


class Refused(NamedTuple):
    """Something in the place of a row that cannot be read as one.

    Attributes
    ----------
    line : int
    reason : str
        Short machine-readable reason, counted in summaries.
    message : str
        The problem and the cure.
    """

    line: int
    reason: str
    message: str


class Table(Protocol):
    """A file of rows; each iteration reads it from the beginning, with a few rows in memory at a time."""

    path: Path
    columns: tuple[str, ...]

    def __iter__(self) -> Iterator[Row | Refused]:
        """Yield every row, and a :class:`Refused` for everything that should be one."""


def as_text(value: Value) -> str:
    """Return a value as a cell of a text table: text as it is, None as nothing, bytes as base64, the rest as JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else as_json(value)


def as_json(value: Value) -> str:
    """Return a value as JSON on one line; bytes in it are base64."""
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.item() if hasattr(value, "item") else str(value)
