"""Tables of JSON objects: one a line, or all in one list; values keep the types that JSON gives them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from datumaro_clip.errors import TableError
from datumaro_clip.system.files import atomic_path
from datumaro_clip.tables.opening import open_text
from datumaro_clip.tables.rows import Refused, Row, Value, as_json

_SEEN_FOR_COLUMNS = 100
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
        Of the first hundred rows.
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
    """A file that is one list of JSON objects, read one by one.

    Raises
    ------
    TableError
        If it is no list.
    """

    def _rows(self, text: TextIO) -> Iterator[Row | Refused]:
        source = _Elements(text)
        if not source.begin():
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
    if not _is_text(value):
        return Refused(line, "encoding", "it holds bytes or escapes that are no text; name its --encoding")
    return Row(line, value)


def _is_text(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


class _Elements:
    """The elements of a JSON list with the line on which each begins."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._buffer = ""
        self._place = 0
        self.line = 1

    def begin(self) -> bool:
        """Whether the text begins a list; its bracket is passed."""
        return self._next_character() == "[" and self._pass()

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        if self._next_character() == "]":
            return
        while True:
            self._next_character()
            line = self.line
            yield line, self._element()
            match self._next_character():
                case ",":
                    self._pass()
                case "]":
                    return
                case other:
                    raise ValueError(f"wanted a comma or the list's end, got {other!r}")

    def _element(self) -> Any:
        """Read one; where the buffer ends in it, as much more again as there is."""
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
        """The next one that is not blank, not passed yet; nothing at the end."""
        while True:
            while self._place < len(self._buffer):
                if self._buffer[self._place] not in _BLANK:
                    return self._buffer[self._place]
                self._pass()
            if not self._fill(_BLOCK):
                return ""

    def _pass(self) -> bool:
        self._move(self._place + 1)
        return True

    def _move(self, place: int) -> None:
        self.line += self._buffer.count("\n", self._place, place)
        self._place = place

    def _fill(self, count: int) -> bool:
        more = self._text.read(count)
        self._buffer, self._place = self._buffer[self._place :] + more, 0
        return bool(more)


class JsonWriter:
    """Writes rows as JSON objects, one a line; in a list where asked for."""

    def __init__(self, file: TextIO, *, in_list: bool) -> None:
        self._file, self._in_list = file, in_list
        self._is_first = True

    def write(self, values: dict[str, Value]) -> None:
        """Write one row, with the columns that it has."""
        if self._in_list:
            self._file.write("[\n" if self._is_first else ",\n")
        self._is_first = False
        self._file.write(as_json(values) + ("" if self._in_list else "\n"))

    def end(self) -> None:
        """Close the list."""
        if self._in_list:
            self._file.write("[]\n" if self._is_first else "\n]\n")


@contextmanager
def write_json(path: Path, *, in_list: bool) -> Iterator[JsonWriter]:
    """A writer of a file that appears whole when the block ends."""
    with atomic_path(path) as temporary, temporary.open("x", encoding="utf-8", newline="") as file:
        writer = JsonWriter(file, in_list=in_list)
        yield writer
        writer.end()
