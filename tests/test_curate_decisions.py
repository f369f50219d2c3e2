"""Decisions survive their file, refuse others, and are the same bytes each time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from datumaro_clip.cli import main
from datumaro_clip.curate import decisions
from datumaro_clip.curate.decisions import (
    Decision,
    DecisionLog,
    except_items,
    read_decisions,
    read_exceptions,
    write_decisions,
)
from datumaro_clip.errors import DecisionError
from datumaro_clip.report import write_report
from datumaro_clip.vectors import ItemKey

KEY = ItemKey("a/b @ c", "träin")
FULL = Decision(
    KEY,
    "move",
    "near_duplicate",
    score=0.5,
    threshold=0.25,
    group=3,
    representative=ItemKey("x", "y"),
    annotation=2,
    text="what it says",
    subset="to",
    label="cat",
    rank=7,
    detail="why\nso",
    attributes={"clip_score": 0.5},
    occurrence=1,
    places=((1, 2, 3, 4), (5, 6, 7, 8)),
    tag="night",
)


def log(*decisions: Decision) -> DecisionLog:
    return DecisionLog("clip_dedup", {"threshold": 0.9}, "sha256:0", decisions, ("a note",))


@pytest.mark.parametrize("decisions", [(), (Decision(KEY, "keep"),), (FULL, Decision(ItemKey("2", ""), "drop", "x"))])
def test_what_is_written_is_read_back_and_is_the_same_bytes_each_time(tmp_path: Path, decisions: tuple[Decision, ...]):
    for name in ("one", "two"):
        write_decisions(tmp_path / name, log(*decisions))
    assert read_decisions(tmp_path / "one") == log(*decisions)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not a decisions file"),
        ("{}", "not a decisions file"),
        ("no json", "line 1 is not JSON"),
        ('{"format": "datumaro-clip decisions", "version": 9, "decisions": 0}', "version 9"),
        ('{"format": "datumaro-clip decisions", "version": 2, "decisions": 0, "notes": 5}', "notes of its header is 5"),
        ('{"format": "datumaro-clip decisions", "version": 2, "decisions": 0, "options": []}', "options of its header"),
        ('{"format": "datumaro-clip decisions", "version": 1, "decisions": 2}', "cut off"),
        ('{"format": "datumaro-clip decisions", "version": 1, "decisions": 1}\n{"id": "a"}', "line 2"),
        (
            '{"format": "datumaro-clip decisions", "version": 1, "decisions": 1}\n'
            '{"id": "a", "subset": "b", "action": "explode"}',
            "explode",
        ),
    ],
)
def test_a_foreign_or_damaged_file_is_refused_with_its_line(tmp_path: Path, content: str, said: str):
    (tmp_path / "file").write_text(content)
    with pytest.raises(DecisionError, match=said):
        read_decisions(tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rank", "x"),
        ("rank", True),
        ("annotation", [0]),
        ("annotation", -1),
        ("label", 5),
        ("move_to", "../out"),
        ("move_to", "a/b"),
        ("move_to", "nul\0"),
        ("move_to", 5),
        ("move_to", ""),
        ("score", "much"),
        ("score", 10**400),
        ("attributes", {"a": [1]}),
        ("attributes", "text"),
        ("tag", 3),
        ("representative", "a@b"),
        ("representative", {"id": "a"}),
    ],
)
def test_a_field_that_cannot_be_is_named_with_its_line(tmp_path: Path, name: str, value: object):
    header = '{"format": "datumaro-clip decisions", "version": 2, "decisions": 1}'
    line = json.dumps({"id": "a", "subset": "b", "action": "keep", name: value})
    (tmp_path / "file").write_text(f"{header}\n{line}\n")
    with pytest.raises(DecisionError, match="line 2 is not a decision"):
        read_decisions(tmp_path / "file")


def test_a_line_without_end_is_refused_before_it_fills_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decisions, "_LONGEST_LINE", 1000)
    (tmp_path / "file").write_bytes(bytes(5000))
    with pytest.raises(DecisionError, match="a line of more than 1,000 characters"):
        read_decisions(tmp_path / "file")


def test_a_file_of_version_1_is_still_read(tmp_path: Path):
    header = '{"format": "datumaro-clip decisions", "version": 1, "transform": "clip_dedup", "decisions": 1}'
    (tmp_path / "file").write_text(header + '\n{"id": "a", "subset": "b", "action": "drop"}\n')
    assert read_decisions(tmp_path / "file").decisions == (Decision(ItemKey("a", "b"), "drop"),)


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(DecisionError, match="none: No such file or directory; check the path"):
        read_decisions(tmp_path / "none")


def test_exceptions_are_lines_or_decisions_and_win_over_drops(tmp_path: Path):
    (tmp_path / "e").write_text('# never these\n\na@b@train\n{"id": "c", "subset": "val"}\n')
    refused = read_exceptions(tmp_path / "e")
    assert refused == {ItemKey("a@b", "train"), ItemKey("c", "val")}
    kept, dropped = except_items([Decision(ItemKey("c", "val"), "drop", "x"), Decision(KEY, "drop", "x")], refused)
    assert (kept.action, kept.reason, dropped.action) == ("keep", "excepted", "drop")


def test_an_exception_without_a_subset_is_named(tmp_path: Path):
    (tmp_path / "e").write_text("lonely\n")
    with pytest.raises(DecisionError, match="line 1: wanted id@subset"):
        read_exceptions(tmp_path / "e")


def test_an_id_of_bytes_that_are_no_text_is_written_and_read_back(tmp_path: Path):
    made = log(Decision(ItemKey("caf\udce9", "train"), "drop", "blank"))
    write_report(tmp_path, made, [])
    assert read_decisions(tmp_path / "decisions.jsonl") == made
    assert r"caf\udce9" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("text", "line"), [("\n\n\nno subset", 4), ('a@b\n\n{"id": "a"}', 3)])
def test_a_wrong_exception_is_named_by_its_line_in_the_file(text: str, line: int, tmp_path: Path):
    (tmp_path / "except.txt").write_text(text)
    with pytest.raises(DecisionError, match=rf"line {line}.*id@subset"):
        read_exceptions(tmp_path / "except.txt")


@pytest.mark.parametrize(
    "other",
    [
        Decision(KEY, "label", "classified", label="dog"),
        Decision(KEY, "label", "classified", label="cat", subset="val"),
        Decision(KEY, "label", "classified", label="cat", representative=ItemKey("b", "train")),
    ],
)
def test_decisions_that_differ_in_what_they_do_are_told(
    other: Decision, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for name, one in (("one", Decision(KEY, "label", "classified", label="cat")), ("other", other)):
        write_decisions(tmp_path / name, log(one))
    assert main(["decisions", "diff", str(tmp_path / "one"), str(tmp_path / "other")]) == 1
    assert "label classified cat -> label classified" in capsys.readouterr().out
    assert main(["decisions", "diff", str(tmp_path / "one"), str(tmp_path / "one")]) == 0


def test_a_notebook_shows_what_does_not_stay_or_all_that_does():
    kept, dropped = (Decision(ItemKey(f"item {action}", "train"), action, "why") for action in ("keep", "drop"))
    both = DecisionLog("it", {}, None, (kept, dropped))._repr_html_()
    assert ("item drop" in both, "item keep" in both) == (True, False)
    assert "item keep" in DecisionLog("it", {}, None, (kept,))._repr_html_()
