"""A table's rows, each with the line it stands on, and what no row can be made of."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

#: Text everywhere in CSV and TSV; what JSON and Parquet say in those: numbers, truth values, None, lists, mappings.
Value: TypeAlias = Any

#: Columns of rows that come from an archive: the key of their members, and where the picture lies.
KEY, PICTURE = "__key__", "__picture__"


class Row(NamedTuple):
    """One row.

    Attributes
    ----------
    line : int
        The line that it begins on, from 1; in Parquet the number of the row, from 1.
    values : dict
        By column. A row of JSON may lack columns that others have.
    """

    line: int
    values: dict[str, Value]


class Refused(NamedTuple):
    """Something that stands where a row should, and is none.

    Attributes
    ----------
    line : int
    reason : str
        Short machine-readable reason, counted in summaries.
    message : str
        What is wrong and the cure.
    """

    line: int
    reason: str
    message: str


class Table(Protocol):
    """A file of rows, read from the beginning as often as it is iterated, a few rows in memory at a time."""

    path: Path
    columns: tuple[str, ...]

    def __iter__(self) -> Iterator[Row | Refused]:
        """Every row, and everything that should be one."""


def as_text(value: Value) -> str:
    """A value as one cell of a text table says it: JSON, but for text itself; nothing for None, base64 for bytes."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return as_json(value) if not isinstance(value, bytes) else base64.b64encode(value).decode()


def as_json(value: Value) -> str:
    """A value as JSON on one line; bytes in it are base64."""
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.item() if hasattr(value, "item") else str(value)
