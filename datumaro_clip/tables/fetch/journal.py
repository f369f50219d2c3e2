"""What became of each row that was asked for: one line of JSON each, appended, synced, read back after a kill."""

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
        Made where it is not there; what a kill left of a last line is cut off.
    identity : mapping
        What decides over bytes: the table's digest and the options; as JSON values.
    forgets_failed : bool
        Whether rows that failed count as not asked for.

    Raises
    ------
    OptionError
        If the file is another table's, or other options made it.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], *, forgets_failed: bool = False) -> None:
        self._path = path
        self._offsets = array("q")
        self._end = self._load(dict(identity), forgets_failed) if path.exists() else 0
        self._file = path.open("ab", buffering=0)
        self._file.truncate(self._end)
        if not self._end:
            self._write({"format": FORMAT, "version": VERSION, **identity})
            self.sync()

    def __contains__(self, row: int) -> bool:
        return row < len(self._offsets) and self._offsets[row] != _NOWHERE

    def get(self, row: int) -> dict[str, Any]:
        """The outcome of a row; empty where there is none yet."""
        if row not in self:
            return {}
        with self._path.open("rb") as file:
            file.seek(self._offsets[row])
            found: dict[str, Any] = json.loads(file.readline())
        return found

    def append(self, outcomes: Iterable[Mapping[str, Any]]) -> None:
        """Add outcomes, each with its ``row``; they are on the disk afterwards."""
        for outcome in outcomes:
            self._place(int(outcome["row"]), self._end)
            self._write(outcome)
        self.sync()

    def sync(self) -> None:
        """Wait until everything is on the disk."""
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

    def _load(self, identity: dict[str, Any], forgets_failed: bool) -> int:
        """Learn what is there; the length of its whole lines is the result."""
        end = 0
        with self._path.open("rb") as file:
            for number, line in enumerate(file):
                if not line.endswith(b"\n"):
                    break
                record = self._parsed(line, number)
                if number == 0:
                    self._require_same(record, identity)
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

    def _require_same(self, record: dict[str, Any], identity: dict[str, Any]) -> None:
        wanted = {"format": FORMAT, "version": VERSION, **identity}
        if differing := [name for name in wanted if record.get(name) != wanted[name]]:
            raise OptionError(
                f"{self._path} was begun with another {' and '.join(differing).replace('_', ' ')}; "
                "name another directory with -o"
            )
