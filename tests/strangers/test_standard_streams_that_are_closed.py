"""Daemons and schedulers start programs without a standard stream; embedding ended in a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import BIN, run_python
from PIL import Image

from datumaro_clip.system.terminal import is_terminal, progress


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(3):
        Image.new("RGB", (40, 30), (index * 80, 10, 10)).save(folder / f"{index}.png")
    return folder


def run_without(closed: str, command: str, tmp_path: Path) -> int:
    """The exit status of a command of the shell with some streams closed."""
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "DATUMARO_CLIP_CACHE": str(tmp_path / "cache")}
    return subprocess.run(f"{command} {closed}", shell=True, cwd=tmp_path, env=environment, check=False).returncode


@pytest.mark.parametrize("closed", ["2>&-", "<&- 2>&-", "<&- >/dev/null 2>&-"])
def test_embedding_works_without_standard_error(closed: str, pictures: Path, tmp_path: Path) -> None:
    embed = "datum export -i pictures:image_dir -f clip_hdf5 -o store -- --model tiny"
    assert run_without(closed, embed, tmp_path) == 0
    assert run_without(closed, "datum-clip search store red", tmp_path) == 0
    assert run_without(closed, "datum-clip inspect store", tmp_path) == 0


def test_a_failure_is_still_a_status(tmp_path: Path) -> None:
    assert run_without("2>&-", "datum-clip search nowhere red", tmp_path) == 1


def test_what_is_opened_later_does_not_become_standard_error(tmp_path: Path) -> None:
    """What a library prints on number 2 would be written into whatever file is opened next."""
    program = """
import os
os.close(2)
from datumaro_clip.system.terminal import open_missing_streams
open_missing_streams()
file = open("mine.txt", "w")
os.write(2, b"a warning of some library")
file.close()
print(repr(open("mine.txt").read()))
"""
    assert run_python(program, cwd=tmp_path).strip() == "''"


@pytest.mark.parametrize("stream", [None, "closed"])
def test_progress_without_a_stream_is_silent(
    stream: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In Python nobody opens the streams that are missing."""
    file = None
    if stream is not None:
        file = (tmp_path / "closed").open("w")
        file.close()
    monkeypatch.setattr(sys, "stderr", file)
    assert is_terminal(sys.stderr) is False
    with progress(3) as bar:
        bar.update()
