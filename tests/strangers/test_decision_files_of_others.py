"""Decision files and tables that somebody else wrote: refused in one line, whatever they hold and however long."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from datumaro_clip import cli
from datumaro_clip.curate.decisions import read_decisions, read_exceptions
from datumaro_clip.errors import DatumaroClipError, DecisionError
from datumaro_clip.system.configuration import _read
from datumaro_clip.tables.files import open_table
from datumaro_clip.tables.options import TableOptions, read_settings

HEADER = {"format": "datumaro-clip decisions", "version": 2, "transform": "clip_x", "options": {}, "decisions": 1}
ITEM = {"id": "a", "subset": "train", "action": "drop"}


def write(path: Path, header: dict[str, Any], *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in (header, *records)))
    return path


@pytest.mark.parametrize(
    ("name", "value"), [("options", 3), ("options", [1]), ("transform", {}), ("space", 7), ("notes", 5), ("notes", "a")]
)
def test_a_header_of_other_types(name: str, value: Any, tmp_path: Path) -> None:
    """The number as options was a TypeError; a text as notes became a note a letter."""
    with pytest.raises(DecisionError, match=f"log: {name} of its header is"):
        read_decisions(write(tmp_path / "log", {**HEADER, name: value}, ITEM))


HOSTILE = [
    {"rank": "x"},
    {"annotation": [0]},
    {"label": 5},
    {"move_to": "../up"},
    {"move_to": "a\0b"},
    {"move_to": 5},
    {"score": "high"},
    {"attributes": {"a": [1]}},
    {"action": "rm"},
]


@pytest.mark.parametrize("said", HOSTILE, ids=str)
def test_values_of_a_decision(said: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By every command that reads it, with the line."""
    log = write(tmp_path / "log", HEADER, {**ITEM, **said})
    for words in (["apply", str(log), str(tmp_path), "-o", str(tmp_path / "out")], ["diff", str(log), str(log)]):
        assert cli.main(["decisions", *words]) == 1
        [told] = capsys.readouterr().err.splitlines()
        assert told.startswith("datum-clip: ")
        assert str(log) in told


def test_lists_in_lists(tmp_path: Path) -> None:
    """They were a RecursionError."""
    deep = "[" * 100_000 + "]" * 100_000
    (tmp_path / "log").write_text(json.dumps(HEADER) + f'\n{{"id":"a","subset":"b","action":"drop","text":{deep}}}\n')
    with pytest.raises(DecisionError, match="line 2 is not JSON"):
        read_decisions(tmp_path / "log")
    (tmp_path / "clip_table.toml").write_text(f"a = {deep}\n")
    for read in (read_settings, lambda folder: _read(folder / "clip_table.toml")):
        with pytest.raises(DatumaroClipError, match=r"clip_table\.toml"):
            read(tmp_path)


@pytest.mark.parametrize("name", ["log", "keep", "keys.csv", "rows.jsonl"])
def test_a_line_without_an_end(name: str, tmp_path: Path) -> None:
    """A file of a terabyte of zeros, none of which is on the disk, took all memory."""
    path = tmp_path / name
    write(path, HEADER, ITEM)
    os.truncate(path, 1 << 40)
    readers = {"log": read_decisions, "keep": read_exceptions}
    read = readers.get(name, lambda path: list(open_table(path, TableOptions())))
    with pytest.raises(DatumaroClipError, match=r"line (is longer|of more) than"):
        read(path)
