"""Records as a pandas table, where pandas is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from datumaro_clip.errors import MissingDependencyError


def to_frame(records: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> Any:
    """A ``pandas.DataFrame`` with a row a record; what a record does not say is missing in its row.

    Parameters
    ----------
    records : iterable of mapping
    columns : iterable of str
        Those that the table has even where no record has them; others follow.

    Raises
    ------
    MissingDependencyError
        If pandas is not installed.
    """
    try:
        import pandas
    except ImportError as exc:
        raise MissingDependencyError("pandas", None, "a table of decisions") from exc
    told = list(records)
    names = dict.fromkeys([*columns, *(name for record in told for name in record)])
    return pandas.DataFrame(told, columns=list(names))
