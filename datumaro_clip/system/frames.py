"""Records as a pandas table, if pandas is installed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from datumaro_clip.errors import MissingDependencyError


def to_frame(records: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> Any:
    """Make a ``pandas.DataFrame`` with one row for each record; keys that a record lacks are missing in its row.

    Parameters
    ----------
    records : iterable of mapping
    columns : iterable of str
        The first columns, there even if no record has them; further keys follow.

    Raises
    ------
    MissingDependencyError
        If pandas is not installed.
    """
    try:
        import pandas
    except ImportError as exc:
        raise MissingDependencyError("pandas", None, "a table of decisions") from exc
    rows = list(records)
    names = dict.fromkeys([*columns, *(name for row in rows for name in row)])
    return pandas.DataFrame(rows, columns=list(names))
