"""The demonstration runs from end to end, and judges its own steps honestly."""

from __future__ import annotations

import io
import json
import re
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import forked_programs, run_command

from datumaro_clip.cli import main
from datumaro_clip.curate.decisions import Decision, DecisionLog, write_decisions
from datumaro_clip.demo import tour
from datumaro_clip.demo.planted import PlantedDefects
from datumaro_clip.demo.tour import steps
from datumaro_clip.vectors import ItemKey

DEFECTS = (
    {"kind": "missing_file", "id": "gone", "subset": "train"},
    {"kind": "exact_copy", "id": "copy", "subset": "train", "of": "first", "of_subset": "val"},
)


def judged(tmp_path: Path, kinds: tuple[str, ...], *dropped: str):
    decisions = tuple(Decision(ItemKey(name, "train"), "drop", "some_reason") for name in dropped)
    write_decisions(tmp_path / "decisions.jsonl", DecisionLog("clip_test", {}, None, decisions))
    return PlantedDefects(10, DEFECTS).judge(tmp_path / "decisions.jsonl", kinds)


def test_nothing_planted_and_nothing_dropped_is_perfect(tmp_path: Path):
    judgement = judged(tmp_path, ("outlier",))
    assert (judgement.recall, judgement.precision, judgement.lost) == (1.0, 1.0, 0)


def test_a_copy_is_found_by_its_original_too(tmp_path: Path):
    assert judged(tmp_path, ("exact_copy",), "first").recall == 1.0


def test_a_good_item_that_is_dropped_is_lost_and_lowers_precision(tmp_path: Path):
    judgement = judged(tmp_path, ("missing_file",), "gone", "fine")
    assert (judgement.recall, judgement.precision, judgement.lost, judgement.good) == (1.0, 0.5, 1, 8)


def test_what_was_missed_lowers_recall(tmp_path: Path):
    assert judged(tmp_path, ("missing_file", "exact_copy"), "gone").recall == 0.5


def test_truth_is_read_from_a_catalogue(tmp_path: Path):
    (tmp_path / "truth.json").write_text(json.dumps({"items": 3, "defects": [DEFECTS[0]]}))
    assert PlantedDefects.read(tmp_path) == PlantedDefects(3, (DEFECTS[0],))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("demo")
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setenv("DATUMARO_CLIP_CACHE", str(root / "cache"))
        # Its commands are those beside Python.
        patch.setattr(tour, "sys", SimpleNamespace(executable=str(forked_programs() / "forked-python")))
        status = main(["demo", "--items", "120", "--keep", str(root / "kept")])
    assert status == 0, printed.getvalue()
    return root / "kept", printed.getvalue()


def test_every_command_is_printed_before_it_runs(demo: tuple[Path, str]):
    printed = re.findall(r"^\$ (.*)$", demo[1], re.M)
    assert printed[:-1] == [step.command for step in steps(120, 0)]
    assert printed[-1].startswith("datum-clip search store --image ")


def test_planted_defects_are_found(demo: tuple[Path, str]):
    found = [tuple(map(float, pair)) for pair in re.findall(r"recall ([\d.]+)\).*precision ([\d.]+)\)", demo[1])]
    assert len(found) == sum(bool(step.planted) for step in steps(120, 0))
    cleaning, *_ = found
    assert cleaning == (1.0, 1.0)


def test_searches_give_three_hits_each(demo: tuple[Path, str]):
    searches = re.findall(r"^\$ datum-clip search .*\n((?:    .*\n)+)", demo[1], re.M)
    hits = [re.findall(r"^    -?\d\.\d{4}  \S+  \w+  store/\S+$", printed, re.M) for printed in searches]
    assert [len(found) for found in hits] == [3, 3, 3, 3]


def test_it_ends_with_reports_that_are_there(demo: tuple[Path, str]):
    reports = re.findall(r"^    (/.*report\.html)$", demo[1], re.M)
    assert reports
    assert all(Path(report).is_file() for report in reports)


def test_a_directory_in_use_is_left_alone(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    done = run_command("datum-clip", "demo", "--keep", tmp_path)
    assert done.returncode == 1
    assert "not empty" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
