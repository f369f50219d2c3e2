"""The curation commands as a user types them, on photographs: what they write is whole and agrees with itself."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from commands import run_forked
from datumaro.components.dataset import Dataset

from datumaro_clip.curate.decisions import DecisionLog, read_decisions

ITEMS = 159


@pytest.fixture(scope="module")
def workplace(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the photographs are called coco_mini."""
    root = tmp_path_factory.mktemp("photographs")
    (root / "coco_mini").symlink_to(shared / "data/coco_mini")
    return root


def run(command: str, workplace: Path) -> str:
    program, *arguments = shlex.split(command)
    env = {"DATUMARO_CLIP_MODEL": "tiny", "DATUMARO_CLIP_CACHE": str(workplace / "cache"), "HF_HUB_OFFLINE": "1"}
    done = run_forked(program, *arguments, cwd=workplace, **env)
    assert done.returncode == 0, f"$ {command}\n{done.stdout}"
    return done.stdout


def ids(directory: Path) -> list[str]:
    return sorted(str(each.id) for each in Dataset.import_from(str(directory), "coco"))


def dropped(log: DecisionLog) -> set[str]:
    return {one.key.id for one in log.decisions if one.action == "drop" and one.annotation is None}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip_clean", ""),
        ("clip_align", "--keep-top 0.8"),
        ("clip_align", "--drop-captions"),
        ("clip_dedup", ""),
        ("clip_sample", "--count 20"),
        ("clip_classify", "--labels dog kitchen street"),
        ("clip_outliers", ""),
        ("clip_search", '--query "a red hat" -k 5'),
    ],
)
def test_each_transform_writes_what_it_decided(name: str, options: str, workplace: Path):
    out = f"{name}{options.count('captions')}"
    run(f"datum transform -t {name} -o {out} coco_mini:coco -- {options} --report report-{out}", workplace)
    log = read_decisions(workplace / f"report-{out}" / "decisions.jsonl")
    page = (workplace / f"report-{out}" / "report.html").read_text(encoding="utf-8")
    everything = ids(workplace / "coco_mini")
    assert len(everything) == ITEMS
    assert {one.key.id for one in log.decisions} == set(everything)
    assert ids(workplace / out) == sorted(set(everything) - dropped(log))
    assert page.startswith("<!doctype html>")
    assert len(page) < 4_000_000


def test_decisions_replay_without_a_model_and_compare(workplace: Path):
    kept = "datum transform -t clip_sample -o {} coco_mini:coco -- --strategy random --count {} --report report-{}"
    run(kept.format("few", 7, "few"), workplace)
    run(kept.format("more", 9, "more"), workplace)
    run("datum-clip decisions apply report-few/decisions.jsonl coco_mini:coco -o again", workplace)
    assert ids(workplace / "again") == ids(workplace / "few")
    logs = ["report-few/decisions.jsonl", "report-more/decisions.jsonl"]
    assert run_forked("datum-clip", "decisions", "diff", *logs, cwd=workplace).returncode == 1
    assert run_forked("datum-clip", "decisions", "diff", logs[0], logs[0], cwd=workplace).returncode == 0
    told = run_forked("datum-clip", "decisions", "diff", *logs, "--json", cwd=workplace).stdout.splitlines()
    before, after = (dropped(read_decisions(workplace / log)) for log in logs)
    assert {json.loads(line)["item"].partition("@")[0] for line in told} == before ^ after
    assert {json.loads(line)["before"]["action"] for line in told} == {"drop"}  # the few are among the more


def test_photographs_are_whole(workplace: Path):
    run("datum validate -t clip_integrity coco_mini:coco", workplace)
    report = json.loads((workplace / "validation_report.json").read_text(encoding="utf-8"))
    assert report["statistics"]["items"] == ITEMS
    assert report["summary"] == {"errors": 0, "warnings": 0, "infos": 0}
