"""Finding the tables of a directory, and the subset of each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from datumaro_clip.errors import TableError
from datumaro_clip.tables.arrow import ParquetTable
from datumaro_clip.tables.delimited import DelimitedTable
from datumaro_clip.tables.json_rows import JsonLinesTable, JsonTable
from datumaro_clip.tables.opening import require_format, table_format, table_stem
from datumaro_clip.tables.options import TableOptions
from datumaro_clip.tables.records import DEFAULT_SUBSET
from datumaro_clip.tables.rows import Table

_SHARD = re.compile(r"-\d{5,}-of-\d{5,}$")
# Names of tables and folders that name no subset.
_NO_SUBSET = re.compile(r"(?i)(data|metadata|table|default)?([_-]?\d+)?")
_NO_TABLE = re.compile(r"(?i).*(_stats|dataset_infos?)\.json")


def open_table(path: Path, options: TableOptions) -> Table:
    """Open a table of any format.

    Raises
    ------
    TableError
        If its name has the ending of no format, or it cannot be read.
    """
    match require_format(path):
        case "csv":
            return DelimitedTable(path, options.separator, options.encoding)
        case "tsv":
            return DelimitedTable(path, options.separator or "\t", options.encoding)
        case "jsonl":
            return JsonLinesTable(path, options.encoding)
        case "json":
            return JsonTable(path, options.encoding)
        case _:
            return ParquetTable(path)


def find_tables(path: Path) -> list[tuple[Path, str]]:
    """Return the tables of a file or directory, sorted, each with the subset of its rows.

    A file is one table. A directory's tables are the files in it or, if it has none, those in the folders directly
    below it. A file's name names its subset; if it does not, as ``metadata.csv``, its folder's name does.

    Raises
    ------
    TableError
        If there is none, or two files of one folder differ in their ending only.
    """
    if path.is_file():
        require_format(path)
        return [(path, DEFAULT_SUBSET)]
    found = list(_tables_in(path)) or [
        table for folder in sorted(path.glob("*/")) if folder.is_dir() for table in _tables_in(folder)
    ]
    if not found:
        raise TableError(f"{path} holds no table: wanted .csv, .tsv, .jsonl, .json or .parquet; check the path")
    for one, other in pairwise(found):
        if one.parent == other.parent and table_stem(one) == table_stem(other):
            raise TableError(f"{one} and {other.name} may be the same table twice; name one of them, or move it")
    return [(table, _subset_of(table, path)) for table in found]


def _tables_in(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        is_named = table_format(path) is not None and path.suffix != ".txt" and not path.name.startswith(".")
        is_table = is_named and path.is_file() and not _NO_TABLE.fullmatch(path.name)
        if is_table and (path.suffix != ".json" or _begins_a_list(path)):
            yield path


def _begins_a_list(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")


def _subset_of(table: Path, root: Path) -> str:
    subset = subset_of(table_stem(table))
    return subset if subset != DEFAULT_SUBSET or table.parent == root else subset_of(table.parent.name)


def subset_of(name: str) -> str:
    """Return the subset that the name of a table or folder stands for."""
    subset = _SHARD.sub("", name)
    return DEFAULT_SUBSET if _NO_SUBSET.fullmatch(subset) else subset
