"""The outcome of each row that was fetched: JSON lines, appended and synced, from which a killed run goes on."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from datumaro_clip.errors import OptionError

FORMAT = "datumaro-clip fetch"
VERSION = 1
NAME = "fetch.journal"
_NOWHERE = -1


class Journal:
    """An append-only file of outcomes by row.

    Parameters
    ----------
    path : Path
        Made if missing; an incomplete last line is cut off.
    identity : mapping
        What the pictures' bytes depend on, as JSON values: the table's digest and options.
    forgets_failed : bool
        Whether to treat failed rows as not fetched yet.

    Raises
    ------
    OptionError
        If the file belongs to another table, or other options.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], *, forgets_failed: bool = False) -> None:
        self._path = path
        self._offsets = array("q")
        header = {"format": FORMAT, "version": VERSION, **identity}
        self._end = self._load(header, forgets_failed) if path.exists() else 0
        self._file = path.open("ab", buffering=0)
        self._file.truncate(self._end)
        if not self._end:
            self._write(header)
            os.fsync(self._file.fileno())

    def __contains__(self, row: int) -> bool:
        return row < len(self._offsets) and self._offsets[row] != _NOWHERE

    def get(self, row: int) -> dict[str, Any]:
        """Return the outcome of a row; empty if there is none yet."""
        if row not in self:
            return {}
        with self._path.open("rb") as file:
            file.seek(self._offsets[row])
            found: dict[str, Any] = json.loads(file.readline())
        return found

    def append(self, outcomes: Iterable[Mapping[str, Any]]) -> None:
        """Add outcomes, each with its ``row``; they are on the disk when this returns."""
        for outcome in outcomes:
            self._place(int(outcome["row"]), self._end)
            self._write(outcome)
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, record: Mapping[str, Any]) -> None:
        line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
        self._file.write(line)
        self._end += len(line)

    def _place(self, row: int, offset: int) -> None:
        if row >= len(self._offsets):
            self._offsets.extend([_NOWHERE] * (row + 1 - len(self._offsets)))
        self._offsets[row] = offset

    def _load(self, header: dict[str, Any], forgets_failed: bool) -> int:
        """Read the outcomes, and return the length of the complete lines."""
        end = 0
        with self._path.open("rb") as file:
            for number, line in enumerate(file):
                if not line.endswith(b"\n"):
                    break
                record = self._parsed(line, number)
                if number == 0:
                    if differing := [name for name in header if record.get(name) != header[name]]:
                        raise OptionError(
                            f"{self._path} was begun with another {' and '.join(differing).replace('_', ' ')}; "
                            "name another directory with -o"
                        )
                elif not (forgets_failed and record.get("status") != "ok"):
                    self._place(int(record["row"]), end)
                end += len(line)
        return end

    def _parsed(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            record = json.loads(line)
            if number and not isinstance(record["row"], int):
                raise ValueError("its row is no number")
            return dict(record)
        except (ValueError, KeyError, TypeError, RecursionError) as exc:
            raise OptionError(
                f"{self._path}, line {number + 1} is no line of a journal ({exc}); remove the file to begin anew"
            ) from exc
