"""Help without a dataset, and the nearest name where one is wrong."""

from __future__ import annotations

import logging

import pytest

from datumaro_clip.cli import main
from datumaro_clip.curate.tools import MODULES, tool_named
from datumaro_clip.host.specs import PLUGINS, store_plugins


@pytest.mark.parametrize("name", sorted({spec.name for spec in (*PLUGINS, *store_plugins())}))
def test_each_tool_and_format_has_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", name]) == 0
    printed = capsys.readouterr().out
    assert name in printed.splitlines()[0]
    assert printed.startswith("usage: datum ")


@pytest.mark.parametrize("name", sorted(MODULES))
def test_options_stand_by_group_with_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", name]) == 0
    printed = capsys.readouterr().out
    assert "\ndecisions:\n" in printed
    assert printed.count(f"  datum transform -t {name} ") == len(tool_named(name).examples) > 0


def test_all_tools_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert not any("|" in line for line in lines)
    listed = [line.split()[0] for line in lines]
    assert {*MODULES, "clip_hdf5", "clip_mmap", "clip_integrity"} <= set(listed)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["serch", "x"], "there is no 'serch'; did you mean search?"),
        (["cache", "inf"], "there is no 'inf'; did you mean info?"),
        (["model", "lst"], "there is no 'lst'; did you mean list?"),
        (["search", "s", "red", "--min-scor3", "1"], "did you mean --min-score?"),
        (["search", "s", "red", "--min-scor3=1"], "did you mean --min-score?"),
        (["model", "list", "--jsn"], "did you mean --json?"),
    ],
)
def test_wrong_usage_names_the_nearest(words: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert capsys.readouterr().err.endswith(f"{hint}\n")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["help", "clip_dedupe"], "did you mean clip_dedup?"),
        (["model", "info", "tinny"], "did you mean tiny?"),
    ],
)
def test_wrong_names_are_told_the_nearest(words: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 1
    assert hint in capsys.readouterr().err


def test_far_names_are_told_all_choices(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["cache", "zzz"])
    assert capsys.readouterr().err.endswith("there is no 'zzz'; choose from info, clear, verify\n")


def test_help_begins_with_what_people_want_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert capsys.readouterr().out.splitlines()[2] == "What do you want to do?"


@pytest.mark.parametrize(
    ("words", "level"),
    [
        (["model", "list"], logging.INFO),
        (["-q", "model", "list"], logging.WARNING),
        (["model", "-q", "list"], logging.WARNING),
        (["-v", "model", "list"], logging.DEBUG),
    ],
)
def test_quiet_and_verbose_stand_on_either_side(words: list[str], level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[int] = []
    monkeypatch.setattr(logging, "basicConfig", lambda level, handlers: levels.append(level))
    assert main(words) == 0
    assert levels == [level]
