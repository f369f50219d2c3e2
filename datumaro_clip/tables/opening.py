"""The formats of table files by their names, and opening them as text, compressed or not."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from datumaro_clip.errors import TableError
from datumaro_clip.tables.arrow import decompressed

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
#: Formats by the endings of file names.
FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
}
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SHEETS = (".xlsx", ".xls", ".ods", ".numbers")
_LONGEST_LINE = 1 << 25


def table_format(path: Path) -> str | None:
    """Return the format by the ending of a file's name, compressed or not; None if there is none."""
    name = _uncompressed(path)
    found = FORMATS.get(name.suffix.lower())
    return None if found == "parquet" and name is not path else found


def table_stem(path: Path) -> str:
    """Return a file's name without the endings for format and compression."""
    return _uncompressed(path).stem


def _uncompressed(path: Path) -> Path:
    return path.with_suffix("") if path.suffix.lower() in COMPRESSIONS else path


def require_format(path: Path) -> str:
    """Return the format by the ending of a file's name.

    Raises
    ------
    TableError
        If it is none that can be read.
    """
    if path.suffix.lower() in _SHEETS:
        raise TableError(f"{path} is a spreadsheet; save it as CSV (UTF-8) and name that file")
    found = table_format(path)
    if found is None:
        raise TableError(
            f"{path} is no table that can be read: wanted .csv, .tsv, .jsonl, .json (each also .gz or .zst) or .parquet"
        )
    return found


@contextmanager
def open_text(path: Path, encoding: str | None = None) -> Iterator[TextIO]:
    """Open a table as text, with its line ends untouched; bytes that cannot be decoded become lone surrogates.

    Parameters
    ----------
    path : Path
    encoding : str, optional
        UTF-8 where omitted, with or without a byte order mark, or UTF-16 with one.

    Raises
    ------
    TableError
        If there is no such encoding.
    OSError
        If the file cannot be read; reading raises it too, where the compressed file is cut off.
    """
    try:
        codecs.lookup(encoding or "utf-8")
    except LookupError as exc:
        raise TableError(f"--encoding: there is none called {encoding!r}; try utf-8, cp1252 or utf-16") from exc
    compression = COMPRESSIONS.get(path.suffix.lower())
    with path.open("rb") if compression is None else io.BufferedReader(decompressed(path, compression)) as raw:
        chosen = encoding or ("utf-16" if raw.peek(2)[:2] in _UTF16 else "utf-8-sig")
        yield _Text(raw, encoding=chosen, errors="surrogateescape", newline="")


class _Text(io.TextIOWrapper):
    """A text with a limit to the length of a line: a file of nothing but zeros would be one line of any length."""

    def __next__(self) -> str:  # type: ignore[override]  # of io.IOBase, whose lines are bytes
        line = self.readline(_LONGEST_LINE)
        if not line:
            raise StopIteration
        if len(line) == _LONGEST_LINE and line[-1] not in "\r\n":
            raise TableError(f"a line is longer than {_LONGEST_LINE:,} characters: it is damaged, or no table")
        return line
