"""Tables of separated text (CSV, TSV); no cell is converted.

Python's ``csv`` reads them instead of Arrow, which reads everything after an unclosed quotation mark as one cell (half
a million rows in a test), and does not say on which line a row begins.
"""

from __future__ import annotations

import csv
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from datumaro_clip.errors import TableError
from datumaro_clip.system.files import atomic_path
from datumaro_clip.tables.opening import open_text
from datumaro_clip.tables.rows import Refused, Row, WriteRow, as_text

SEPARATORS = (",", "\t", ";", "|")
# Lines from which the separator is guessed.
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
    """Return the separator with which most rows have as many cells as the header, at least two; else a comma."""

    def fit(separator: str) -> tuple[float, int]:
        records = [record for _, record in _records(iter(head), separator) if not isinstance(record, Refused)]
        if not records or len(records[0]) < 2:
            return 0.0, 0
        return sum(len(record) == len(records[0]) for record in records) / len(records), len(records[0])

    return max(SEPARATORS, key=fit)


def _records(
    lines: Iterable[str], separator: str, width: int | None = None
) -> Iterator[tuple[int, list[str] | Refused]]:
    """Yield records, each with the line on which it begins.

    Of a record that cannot be read, only the first line is refused; reading goes on with the next line. All records but
    the first must have ``width`` cells.
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
            message = f"quotation marks do not match ({exc}); one inside a quoted text is written twice"
            if "field larger" in str(exc):
                limit = f"{csv.field_size_limit():,} characters"
                message = f"a cell is longer than {limit}; shorten it, or write the table as Parquet"
            record, problem = [], ("quotes", message)
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


def _problem(record: list[str], expected: int | None) -> tuple[str, str] | None:
    """Return the reason and the message if a record is no row."""
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
    """Numbered lines that can be put back to be read again."""

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
        """Return the number of the next line, where a record begins."""
        self._taken.clear()
        return self._number + 1

    def return_all_but_first(self) -> None:
        """Put back all lines of the record but its first."""
        self._returned.extendleft(reversed(self._taken[1:]))
        self._number -= max(len(self._taken) - 1, 0)


@contextmanager
def write_delimited(path: Path, columns: Sequence[str], separator: str) -> Iterator[WriteRow]:
    """Open a file for a block, and give a function that writes a row; the file appears whole when the block ends."""
    blank_line = "|^$" if len(columns) == 1 else ""
    # ``csv.writer`` does not quote a carriage return.
    special = re.compile(rf'[{re.escape(separator)}"\r\n]{blank_line}')

    with atomic_path(path) as temporary, temporary.open("x", encoding="utf-8", newline="") as file:

        def write_cells(cells: Iterable[str]) -> None:
            quoted = ('"' + cell.replace('"', '""') + '"' if special.search(cell) else cell for cell in cells)
            file.write(separator.join(quoted) + "\n")

        write_cells(columns)
        yield lambda values: write_cells(as_text(values.get(column)) for column in columns)
