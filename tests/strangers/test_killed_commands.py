"""A command that was killed, at any moment: the very same command takes it up, and another one is refused."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from commands import run_command, run_forked, run_python
from stored_datasets import make_items, stored

from datumaro_clip.curate.decisions import DecisionLog, write_decisions
from datumaro_clip.host.unfinished import take_up
from datumaro_clip.store import open_store
from datumaro_clip.testing.records import files_of

# Runs a program and kills itself where a function of ours is called for the first time, before or after its work.
KILLED = """
import os, signal, sys
from importlib import import_module
module, name, when, sys.argv = *sys.argv[1:4], sys.argv[4:]
owner = import_module(module)
*path, name = name.split(".")
for part in path:
    owner = getattr(owner, part)
work = getattr(owner, name)

def killing(*args, **options):
    if when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    work(*args, **options)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(owner, name, killing)
main = import_module({"datum": "datumaro.cli.__main__", "datum-clip": "datumaro_clip.cli"}[sys.argv[0]]).main
sys.exit(main())
"""
MOMENTS = [
    ("datumaro_clip.host.storing", "ItemStorer.add", "after"),
    ("datumaro_clip.store.writer", "write_manifest", "before"),
    ("datumaro_clip.store.writer", "write_manifest", "after"),
    ("datumaro_clip.store.lock", "WriterLock.release", "after"),
    ("datumaro_clip.host.datum_main", "run", "after"),
]


def commands(source: Path, target: Path) -> dict[str, list[str]]:
    own = ["--", "--model", "tiny", "--no-self-check", "--cache", str(target.parent / "cache")]
    return {
        "export": ["export", "-i", f"{source}:clip_mmap", "-f", "clip_hdf5", "-o", str(target), *own, "--save-media"],
        "convert": ["convert", "-i", str(source), "-f", "clip_mmap", "-o", str(target), *own, "--save-media"],
        "clip_embed": [
            *("transform", "-t", "clip_embed", "-o", str(target.parent / "out"), f"{source}:clip_mmap"),
            *(*own, "--store", str(target)),
        ],
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A store of pictures without vectors."""
    items = make_items(3)
    for item in items:
        del item.attributes["clip_embedding"]
    return stored(tmp_path / "source", "clip_mmap", items)


def kill(moment: tuple[str, str, str], program: str, *arguments: str, cwd: Path | None = None) -> None:
    done = run_forked("forked-python", "-c", KILLED, *moment, program, *arguments, cwd=cwd)
    assert done.returncode == 128 + signal.SIGKILL, done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="not on this machine: SIGKILL")
@pytest.mark.parametrize("name", ["export", "convert", "clip_embed"])
def test_the_same_command_takes_it_up(name: str, source: Path, tmp_path: Path) -> None:
    """Killed at one moment after the other, it ends in what an undisturbed run writes, byte for byte."""
    for folder in ("killed", "undisturbed"):
        (tmp_path / folder).mkdir()
        arguments = commands(source, tmp_path / folder / "store")[name]
        for moment in MOMENTS if folder == "killed" else ():
            kill(moment, "datum", *arguments)
        done = run_forked("datum", *arguments)
        assert done.returncode == 0, done.stdout
    for part in ("store", "out"):
        assert files_of(tmp_path / "killed" / part) == files_of(tmp_path / "undisturbed" / part)
    assert not list((tmp_path / "killed").glob(".*"))


@pytest.mark.skipif(sys.platform == "win32", reason="not on this machine: SIGKILL")
@pytest.mark.parametrize(
    ("command", "moment"),
    [
        ("decisions apply log {}:clip_mmap -f datumaro -o {} --save-media", ("host.apply", "write", "after")),
        ("merge {}:clip_mmap -f datumaro -o {} --save-media", ("host.losses", "write", "after")),
        ("catalogue --items 40 --seed 3 -o {1}", ("cli.catalogue", "write_catalogue", "after")),
    ],
)
def test_datum_clip_takes_up_what_it_was_killed_at(
    command: str, moment: tuple[str, str, str], source: Path, tmp_path: Path
) -> None:
    """It said that the directory is not empty; to another command, and to the same when it has ended, it still does."""
    write_decisions(tmp_path / "log", DecisionLog("clip_x", {}, None, ()))
    module, name, when = moment
    words = command.format(source, "out").split()
    for where in ((f"datumaro_clip.{module}", name, when), ("datumaro_clip.cli", "main", "after")):
        kill(where, "datum-clip", *words, cwd=tmp_path)
    assert run_forked("datum-clip", "-q", *words, cwd=tmp_path).returncode == 1
    assert run_forked("datum-clip", *words, cwd=tmp_path).returncode == 0
    assert run_forked("datum-clip", *command.format(source, "whole").split(), cwd=tmp_path).returncode == 0
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
    refused = run_forked("datum-clip", *words, cwd=tmp_path)
    assert refused.returncode == 1
    assert "is not empty" in refused.stdout
    assert not list(tmp_path.glob(".*"))


def test_a_program_that_calls_a_command_goes_on_behind_it(source: Path, tmp_path: Path) -> None:
    """The process of a command ends with it, and no other does."""
    words = commands(source, tmp_path / "store")["convert"]
    printed = run_python(
        f"""
import atexit, sys
from datumaro.cli.__main__ import main
atexit.register(print, "at the end")
sys.argv[1:] = {words}
print("status", main())
""",
        cwd=tmp_path,
    )
    assert printed.splitlines()[-2:] == ["status 0", "at the end"]
    assert not list(tmp_path.glob(".*"))


def test_what_holds_something_else_is_refused(source: Path, tmp_path: Path) -> None:
    """Saying what overwriting would delete, and how to add."""
    stored(tmp_path / "store", "clip_hdf5", make_items(7))
    before = files_of(tmp_path / "store")
    for name in ("export", "clip_embed"):
        arguments = [
            "clip_hdf5" if word == "clip_mmap" else word for word in commands(source, tmp_path / "store")[name]
        ]
        refused = run_command("datum", *arguments)
        assert refused.returncode == 1
        assert "a clip_hdf5 store of 7 items already, which overwriting would delete" in refused.stdout
        assert "datum-clip add" in refused.stdout
        assert files_of(tmp_path / "store") == before


def test_what_is_the_same_in_number_only_is_refused_and_stays(source: Path, tmp_path: Path) -> None:
    stored(tmp_path / "store", "clip_hdf5", make_items(3))
    before = files_of(tmp_path / "store")
    refused = run_command("datum", *commands(source, tmp_path / "store")["export"])
    assert (refused.returncode, files_of(tmp_path / "store")) == (1, before)
    assert "3 items already" in refused.stdout
    assert len(open_store(tmp_path / "store")) == 3


@pytest.mark.parametrize("option", [["-o", "OUT"], ["--output-dir", "OUT"], ["--output-dir=OUT"]])
def test_a_directory_is_taken_up_by_the_same_command_alone(option: list[str], tmp_path: Path) -> None:
    """After a kill or a failure; where it ended well, or is another's, --overwrite is for the user to say."""
    out, seen = tmp_path / "out", []

    def run(status: int, *more: str) -> int:
        def command(arguments: list[str]) -> int:
            seen.append("--overwrite" in arguments)
            out.mkdir(exist_ok=True)
            (out / "file").touch()
            return status

        return take_up(["transform", *(word.replace("OUT", str(out)) for word in option), *more], command)

    assert [run(1), run(1, "other"), run(1), run(0), run(0)] == [1, 1, 1, 0, 0]
    assert seen == [False, False, True, True, False]
    assert os.listdir(tmp_path) == ["out"]


def test_a_command_that_wrote_nothing_leaves_nothing(tmp_path: Path) -> None:
    def fail(arguments: list[str]) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        take_up(["transform", "-o", str(tmp_path / "out")], fail)
    assert os.listdir(tmp_path) == []
