"""Tables of separated text (CSV, TSV): every cell stays the text that it is.

Python's ``csv`` reads them, not Arrow: after a quotation mark that is never closed Arrow takes the rest of the file,
half a million rows in a test, for one cell, and it does not tell on which line a row begins.
"""

from __future__ import annotations

import csv
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TextIO

from datumaro_clip.errors import TableError
from datumaro_clip.system.files import atomic_path
from datumaro_clip.tables.opening import open_text
from datumaro_clip.tables.rows import Refused, Row, Value, as_text

SEPARATORS = (",", "\t", ";", "|")
_SEEN_FOR_A_GUESS = 50


class DelimitedTable:
    """A CSV or TSV file.

    Parameters
    ----------
    path : Path
    separator : str, optional
        One character; guessed from the first rows where omitted.
    encoding : str, optional

    Attributes
    ----------
    columns : tuple of str
    separator : str

    Raises
    ------
    TableError
        If it is empty, or its header cannot be used.
    """

    def __init__(self, path: Path, separator: str | None = None, encoding: str | None = None) -> None:
        if separator is not None and len(separator) != 1:
            raise TableError(f"--separator must be one character, got {separator!r}")
        self.path, self._encoding = path, encoding
        with open_text(path, encoding) as text:
            head = list(islice(text, _SEEN_FOR_A_GUESS))
        self.separator = separator or _guess_separator(head)
        header = next((record for _, record in _records(iter(head), self.separator)), None)
        if header is None:
            raise TableError(f"{path} is empty; a table begins with the names of its columns")
        if isinstance(header, Refused):
            raise TableError(f"{path}, line 1: {header.message}")
        if repeated := [name for name, count in Counter(header).items() if count > 1]:
            raise TableError(f"{path} has two columns called {repeated[0]!r}; rename one of them")
        self.columns = tuple(header)

    def __iter__(self) -> Iterator[Row | Refused]:
        with open_text(self.path, self._encoding) as text:
            records = _records(text, self.separator, len(self.columns))
            next(records)
            for line, record in records:
                yield record if isinstance(record, Refused) else Row(line, dict(zip(self.columns, record, strict=True)))


def _guess_separator(head: Sequence[str]) -> str:
    """The separator by which most rows have as many cells as the header, at least two; a comma if there is none."""

    def fit(separator: str) -> tuple[float, int]:
        records = [record for _, record in _records(iter(head), separator) if not isinstance(record, Refused)]
        if not records or len(records[0]) < 2:
            return 0.0, 0
        return sum(len(record) == len(records[0]) for record in records) / len(records), len(records[0])

    return max(SEPARATORS, key=fit)


def _records(
    lines: Iterable[str], separator: str, width: int | None = None
) -> Iterator[tuple[int, list[str] | Refused]]:
    """Records with the line on which each begins; of what cannot be one, only the first line is given up.

    ``width`` is the number of cells that every record but the first must have.
    """
    source = _Lines(lines)
    reader = csv.reader(source, delimiter=separator, strict=True)
    expected: int | None = None
    while True:
        line = source.begin_record()
        try:
            record = next(reader)
            problem = _problem(record, expected)
        except StopIteration:
            return
        except csv.Error as exc:
            record, problem = [], ("quotes", _told(exc))
        except (OSError, EOFError, UnicodeError) as exc:
            yield line, Refused(line, "cut_off", f"the file cannot be read from here on: {exc}; get it again")
            return
        if problem is None:
            if record:
                yield line, record
                expected = width
            continue
        source.return_all_but_first()
        reader = csv.reader(source, delimiter=separator, strict=True)
        yield line, Refused(line, *problem)


def _told(error: csv.Error) -> str:
    if "field larger" in str(error):
        return f"a cell is longer than {csv.field_size_limit():,} characters; shorten it, or write the table as Parquet"
    return f"quotation marks do not match ({error}); one inside a quoted text is written twice"


def _problem(record: list[str], expected: int | None) -> tuple[str, str] | None:
    """Why a record is no row: the reason and the message."""
    if expected is not None and record and len(record) != expected:
        return (
            "cells",
            f"{len(record)} cells, where the header has {expected}; text with a separator in it wants quotation marks",
        )
    text = "".join(record)
    if "\0" in text:
        return "not_text", "it holds NUL bytes; the file is damaged, or no text"
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return "encoding", "its bytes are no text in this encoding; name the right one with --encoding, as cp1252"
    return None


class _Lines:
    """Lines that can be given back, counted from 1."""

    def __init__(self, source: Iterable[str]) -> None:
        self._source = iter(source)
        self._returned: deque[str] = deque()
        self._taken: list[str] = []
        self._number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else next(self._source)
        self._taken.append(line)
        self._number += 1
        return line

    def begin_record(self) -> int:
        """Forget what was taken; the number of the next line."""
        self._taken.clear()
        return self._number + 1

    def return_all_but_first(self) -> None:
        """Take back all lines since the record began, but its first."""
        self._returned.extendleft(reversed(self._taken[1:]))
        self._number -= max(len(self._taken) - 1, 0)


class DelimitedWriter:
    """Writes rows to a text file; ``csv.writer`` would leave a carriage return without quotation marks."""

    def __init__(self, file: TextIO, columns: Sequence[str], separator: str) -> None:
        self._file, self._columns, self._separator = file, columns, separator
        blank_line = "|^$" if len(columns) == 1 else ""
        self._special = re.compile(rf'[{re.escape(separator)}"\r\n]{blank_line}')
        self._write_cells(columns)

    def write(self, values: dict[str, Value]) -> None:
        """Write one row; columns that it lacks are empty."""
        self._write_cells([as_text(values.get(column)) for column in self._columns])

    def _write_cells(self, cells: Sequence[str]) -> None:
        quoted = ['"' + cell.replace('"', '""') + '"' if self._special.search(cell) else cell for cell in cells]
        self._file.write(self._separator.join(quoted) + "\n")


@contextmanager
def write_delimited(path: Path, columns: Sequence[str], separator: str) -> Iterator[DelimitedWriter]:
    """A writer of a file that appears whole when the block ends."""
    with atomic_path(path) as temporary, temporary.open("x", encoding="utf-8", newline="") as file:
        yield DelimitedWriter(file, columns, separator)
