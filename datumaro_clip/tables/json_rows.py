"""Tables of JSON objects, one a line or all in one list; values keep their types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, TextIO

from datumaro_clip.errors import TableError
from datumaro_clip.system.files import atomic_path
from datumaro_clip.tables.opening import open_text
from datumaro_clip.tables.rows import Refused, Row, Value, WriteRow, as_json

# Rows whose columns are those of the table.
_SEEN_FOR_COLUMNS = 100
# Characters read at a time, and the most that one row of a list may have.
_BLOCK = 1 << 16
_LONGEST_ROW = 1 << 26
_BLANK = " \t\r\n"


class _JsonTable:
    def __init__(self, path: Path, encoding: str | None = None) -> None:
        self.path, self._encoding = path, encoding
        found: dict[str, None] = {}
        for row in islice(self, _SEEN_FOR_COLUMNS):
            if isinstance(row, Row):
                found.update(dict.fromkeys(row.values))
        self.columns = tuple(found)

    def __iter__(self) -> Iterator[Row | Refused]:
        with open_text(self.path, self._encoding) as text:
            yield from self._rows(text)

    def _rows(self, text: TextIO) -> Iterator[Row | Refused]:
        raise NotImplementedError


class JsonLinesTable(_JsonTable):
    """A file of one JSON object a line.

    Attributes
    ----------
    columns : tuple of str
        The columns of the first hundred rows.
    """

    def _rows(self, text: TextIO) -> Iterator[Row | Refused]:
        number = 0
        try:
            for number, line in enumerate(text, start=1):
                if line.strip():
                    yield _parsed(number, line)
        except (OSError, EOFError, UnicodeError) as exc:
            message = f"the file cannot be read from here on: {exc}; get it again"
            yield Refused(number + 1, "cut_off", message)


class JsonTable(_JsonTable):
    """A file with one list of JSON objects, which are read one by one.

    Raises
    ------
    TableError
        If it is no list.
    """

    def _rows(self, text: TextIO) -> Iterator[Row | Refused]:
        source = _Elements(text)
        if not source.begins_list():
            raise TableError(f"{self.path} is no list of JSON objects; one object a line is called .jsonl")
        try:
            for line, element in source:
                yield _checked(line, element)
        except (OSError, EOFError, ValueError, RecursionError) as exc:
            message = f"the list cannot be read from here on: {exc}; get the file again"
            yield Refused(source.line, "cut_off", message)


def _parsed(line: int, text: str) -> Row | Refused:
    try:
        return _checked(line, json.loads(text))
    except (ValueError, RecursionError) as exc:
        return Refused(line, "not_json", f"it is not JSON: {exc}")


def _checked(line: int, value: Any) -> Row | Refused:
    if not isinstance(value, dict):
        return Refused(line, "not_an_object", f"wanted a JSON object, got {as_json(value)[:40]}")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return Refused(line, "encoding", "it holds bytes or escapes that are no text; name its --encoding")
    return Row(line, value)


class _Elements:
    """Iterates over the elements of a JSON list, each with the line on which it begins."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._buffer = ""
        self._place = 0
        self.line = 1

    def begins_list(self) -> bool:
        """Return whether the text is a list, and move past its bracket."""
        is_list = self._next_character() == "["
        if is_list:
            self._move(self._place + 1)
        return is_list

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        if self._next_character() == "]":
            return
        while True:
            self._next_character()
            line = self.line
            yield line, self._element()
            match self._next_character():
                case ",":
                    self._move(self._place + 1)
                case "]":
                    return
                case other:
                    raise ValueError(f"wanted a comma or the list's end, got {other!r}")

    def _element(self) -> Any:
        """Read an element; if the buffer ends in it, read as much text again as the buffer has."""
        while True:
            try:
                value, end = json.JSONDecoder().raw_decode(self._buffer, self._place)
                if end < len(self._buffer) or not self._fill(_BLOCK):
                    self._move(end)
                    return value
            except ValueError:
                if len(self._buffer) > _LONGEST_ROW or not self._fill(max(len(self._buffer), _BLOCK)):
                    raise

    def _next_character(self) -> str:
        """Move to the next character that is not blank, and return it; nothing at the end."""
        while True:
            while self._place < len(self._buffer):
                if self._buffer[self._place] not in _BLANK:
                    return self._buffer[self._place]
                self._move(self._place + 1)
            if not self._fill(_BLOCK):
                return ""

    def _move(self, place: int) -> None:
        self.line += self._buffer.count("\n", self._place, place)
        self._place = place

    def _fill(self, count: int) -> bool:
        more = self._text.read(count)
        self._buffer, self._place = self._buffer[self._place :] + more, 0
        return bool(more)


@contextmanager
def write_json(path: Path, *, in_list: bool) -> Iterator[WriteRow]:
    """Open a file for a block, and give a function that writes a row; the file appears whole when the block ends.

    Rows are JSON objects, one a line or in a list, with the columns that they have.
    """
    separators = chain(["[\n"], repeat(",\n"))
    with atomic_path(path) as temporary, temporary.open("x", encoding="utf-8", newline="") as file:

        def write(values: dict[str, Value]) -> None:
            file.write(next(separators) + as_json(values) if in_list else as_json(values) + "\n")

        yield write
        if in_list:
            file.write("[]\n" if next(separators) == "[\n" else "\n]\n")
