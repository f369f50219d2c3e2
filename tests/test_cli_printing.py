"""What reaches a terminal: nothing that commands it, nothing that it cannot show, and nobody has to read it all."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import BIN, run_command
from hypothesis import given
from hypothesis import strategies as st
from stored_datasets import make_dataset, make_items, vector

from datumaro_clip.cli import main
from datumaro_clip.cli.printing import say_json
from datumaro_clip.curate.decisions import Decision, DecisionLog, write_decisions
from datumaro_clip.system.terminal import printable, printable_log
from datumaro_clip.vectors import ItemKey

TITLE = "\x1b]0;mine\x07\r\u202eid\nforged line"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("C:\\a\\b ü 猫", "C:\\a\\b ü 猫"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\r\nb\x9bc", "a\\r\\nb\\x9bc"),
        ("\u202egnp", "\\u202egnp"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_all_that_is_shown_is_printable(text: str) -> None:
    assert printable(text).isprintable()


@given(st.dictionaries(st.text(st.characters()), st.text(st.characters())))
def test_json_is_read_back_and_printable(value: dict[str, str]) -> None:
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as out:
        say_json(value)
    assert json.loads(out.getvalue()) == value
    assert out.getvalue().removesuffix("\n").isprintable()


def test_log_lines_keep_their_own_ends_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """Of what a file says, nothing becomes a line of its own; numbers stay numbers."""
    with printable_log():
        logging.error("two lines:\nof %s and %04d", "\x1b[31m\nforged", np.int64(7))
    assert caplog.messages == ["two lines:\nof \\x1b[31m\\nforged and 0007"]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose ids and subset command the terminal, in which 猫 is an item, too."""
    path = tmp_path_factory.mktemp("hostile") / "store"
    items = [item.wrap(id=f"{TITLE} {i}", subset="\x1b[31m") for i, item in enumerate(make_items(3))]
    items.append(items[0].wrap(id="猫 é", attributes={"clip_embedding": vector(9)}))
    make_dataset(items).export(str(path), "clip_mmap", no_embed=True, save_media=False)
    return path


@pytest.mark.parametrize("words", [["inspect"], ["verify"], ["search", "--item", "猫 é"], ["search", "--item", "\x1b"]])
def test_ids_do_not_command_the_terminal(words: list[str], hostile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main([words[0], str(hostile), *words[1:]])
    printed = capsys.readouterr()
    assert status == (words[-1] == "\x1b")
    assert all(line.isprintable() for line in (printed.out + printed.err).split("\n"))
    assert not any(line.startswith("forged") for line in printed.out.splitlines())


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8:strict", "猫 é"), ("cp1252:strict", "\\u732b é"), ("ascii:strict", "\\u732b \\xe9")]
)
def test_what_the_terminal_cannot_show_does_not_end_the_output(encoding: str, shown: str, hostile: Path) -> None:
    done = subprocess.run(
        [BIN / "datum-clip", "inspect", hostile], env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode(encoding.partition(":")[0]).splitlines()
    assert any(line.startswith(shown) for line in lines)
    assert len(lines) > 10


def closed_pipe() -> int:
    """The end for writing of a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
@pytest.mark.parametrize("words", [["inspect", "{}"], ["search", "{}", "--item", "猫 é"], ["inspect", "--help"]])
def test_who_stops_reading_ends_the_output_in_silence(words: list[str], hostile: Path) -> None:
    done = subprocess.run(
        [BIN / "datum-clip", *(word.format(hostile) for word in words)], stdout=closed_pipe(), stderr=subprocess.PIPE
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_datumaro_s_log_does_not_command_the_terminal(tmp_path: Path) -> None:
    """Its commands log through a formatter of their own."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / f"{TITLE.replace('/', '')}.png").write_bytes(b"no picture")
    words = ["transform", "-t", "clip_embed", "-o", "out", "in:image_dir", "--", "--model", "tiny", "--cache", "off"]
    done = run_command("datum", *words, cwd=tmp_path)
    assert "Not embedded: item '\\x1b]0;mine\\x07\\r\\u202eid\\nforged line'" in done.stdout
    assert all(line.isprintable() for line in done.stdout.split("\n"))


def test_differing_decisions_do_not_command_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither ids and subsets, nor reasons, which are summed up on standard error."""
    for name, reason in (("before", f"blank {TITLE}"), ("after", "blur")):
        told = (Decision(ItemKey(TITLE, "\x1b[31m"), "drop", reason),)
        write_decisions(tmp_path / name, DecisionLog("clip_clean", {}, None, told))
    assert main(["decisions", "diff", str(tmp_path / "before"), str(tmp_path / "after")]) == 1
    printed = capsys.readouterr()
    assert [len(stream.splitlines()) for stream in printed] == [1, 1]
    assert all(line.isprintable() for line in (printed.out + printed.err).split("\n"))
