"""What a new user may type wrongly at ``datum-clip``: one line that names the thing, the problem and the cure."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from datumaro_clip import cli
from datumaro_clip.curate.decisions import Decision, DecisionLog, write_decisions
from datumaro_clip.store import Header, Record, create_store
from datumaro_clip.vectors import ItemKey


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a file, an empty and a full directory, a store, two pictures, and decisions about one."""
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("hello\n")
    Path("empty").mkdir()
    Path("pictures").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(f"pictures/{name}.png")
    write_decisions("right.jsonl", DecisionLog("clip_x", {}, None, (Decision(ItemKey("a", "default"), "drop"),)))
    write_decisions("other.jsonl", DecisionLog("clip_x", {}, None, (Decision(ItemKey("z", "default"), "drop"),)))
    with create_store(Path("store"), "clip_mmap", Header()) as writer:
        writer.add(Record(ItemKey("a", "train")))
    return tmp_path


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("model info nowhere", "nowhere is no model directory, nor the name of .*: datum-clip model list"),
        ("model info empty", "empty is no model directory"),
        ("model verify file", "file is no model directory"),
        ("model export tiny -o pictures", "pictures exists and is not empty; name another directory"),
        ("model export tiny -o out --precision int8 --calibrate nowhere", "nothing at nowhere; check the path"),
        ("cache info --cache nowhere", "nowhere holds no vector cache; check --cache"),
        ("cache info --cache file", "file holds no vector cache"),
        ("catalogue -o file --items 40", "file: Not a directory; name a directory"),
        ("catalogue -o pictures --items 40", "pictures is not empty: name a new directory"),
        ("catalogue -o /proc/out --items 40", "/proc/out: No such file or directory; check the path"),
        ("demo --keep file", "file: Not a directory; name a directory"),
        ("demo --keep pictures", "pictures is not empty; give --keep a new directory"),
        ("decisions apply nowhere pictures -o out", "nowhere: No such file or directory; check the path"),
        ("decisions apply empty pictures -o out", "empty: Is a directory; name a file"),
        ("decisions apply file pictures -o out", "file, line 1 is not JSON.*wanted decisions.jsonl, as --report"),
        ("decisions apply right.jsonl nowhere -o out", "there is nothing at nowhere; check the path"),
        ("decisions apply right.jsonl pictures:nope -o out", "pictures:nope cannot be read as a dataset.*nope"),
        ("decisions apply right.jsonl empty -o out", "empty cannot be read as a dataset.*write it as PATH:FORMAT"),
        ("decisions apply right.jsonl pictures:image_dir -o out -f nope", "written as nope; name another"),
        ("decisions apply right.jsonl pictures:image_dir -o empty/../pictures", "pictures is not empty; name a new"),
        ("decisions apply right.jsonl pictures:image_dir -o out --except nowhere", "nowhere: No such file"),
        ("decisions apply other.jsonl pictures:image_dir -o out", "no item z@default"),
        ("decisions diff right.jsonl nowhere", "nowhere: No such file"),
        ("inspect nowhere", "no embedding store at nowhere, nor anything else; check the path"),
        ("inspect empty", "empty holds no embedding store.*datum export -f clip_hdf5"),
        ("verify file", "file is a file and no embedding store; name the store's directory"),
        ("verify store/clip_mmap.json", "clip_mmap.json is a file and no"),
        ("search store hat", "embed the dataset first"),
        ("search empty hat", "empty holds no embedding store"),
    ],
)
def test_a_mistake_is_one_line_with_the_cure(
    line: str, words: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path for path in place.rglob("*") if path.name != ".clip-store.lock")
    assert cli.main(shlex.split(line)) == cli.FAILURE
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.match(f"datum-clip: .*{words}", last), last
    assert sorted(path for path in place.rglob("*") if path.name != ".clip-store.lock") == before


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("catalogue -o out --items 39", "argument --items: wanted a whole number from 40 on, got '39'"),
        ("catalogue -o out --items many", "argument --items: wanted a whole number from 40 on, got 'many'"),
        ("demo --items 3", "argument --items: wanted a whole number from 40 on"),
        ("inspect store -n -3", "argument -n/--first: wanted a whole number from 0 on, got '-3'"),
        ("model export tiny -o out --samples 0", "argument --samples: wanted a whole number from 1 on"),
        ("search store hat -k 0", "argument -k: wanted a whole number from 1 on, got '0'"),
        ("search store hat --min-score 5", "argument --min-score: wanted a cosine similarity, from -1 to 1, got '5'"),
        ("search store hat --min-score nan", "argument --min-score: wanted a cosine similarity"),
        ("search store ' '", "argument text: it is empty"),
    ],
)
def test_a_value_that_makes_no_sense_is_wrong_usage(
    line: str, words: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(shlex.split(line))
    assert words in capsys.readouterr().err.splitlines()[-1]


def test_doctor_says_what_it_cannot_read_and_goes_on(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATUMARO_CLIP_CACHE", "file")
    monkeypatch.setattr("datumaro_clip.cli.doctor.EXTRAS", {})
    assert cli.main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "caches below file:\n  file: Not a directory; name a directory\nmissing:" in shown


@pytest.fixture(autouse=True)
def _root_logger_as_before():
    import logging

    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
