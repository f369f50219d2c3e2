"""``datum-clip evaluate`` and its page."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from datumaro.components.annotation import AnnotationType, Label, LabelCategories
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.cli import main
from datumaro_clip.curate.decisions import Decision, DecisionLog, write_decisions
from datumaro_clip.vectors import Embedding, ItemKey, unit_rows

NAMES = ("<b>cat</b>", "dog")


def write(folder: Path, keep: Sequence[int] = range(60), form: str = "clip_mmap") -> None:
    """A store of items with vectors; every fifth training item has the wrong label."""
    rng = np.random.default_rng(0)
    right = rng.integers(0, 2, 60)
    rows = unit_rows(np.eye(2, 6)[right] + 0.5 * rng.standard_normal((60, 6)))
    items = []
    for n in keep:
        subset = "val" if n % 3 == 0 else "train"
        label = int(right[n]) if subset == "val" or n % 5 else 1 - int(right[n])
        vector = Embedding(rows[n], "name:drawn", "drawn", "unknown")
        items.append(
            DatasetItem(f"item {n}", subset=subset, annotations=[Label(label)], attributes={"clip_embedding": vector})
        )
    categories = {AnnotationType.label: LabelCategories.from_iterable(NAMES)}
    Dataset.from_iterable(items, categories=categories).export(str(folder), form)


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(Path("raw"))
    dropped = [n for n in range(60) if n % 3 and n % 5 == 0]
    told = [Decision(ItemKey(f"item {n}", "train"), "drop", "wrong_label") for n in dropped]
    write_decisions("decisions.jsonl", DecisionLog("by hand", {}, None, tuple(told)))
    return tmp_path / "raw"


def evaluated(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    status = main(["evaluate", *args])
    told = capsys.readouterr()
    return status, told.out, told.err


def test_decisions_and_the_store_that_they_make_are_judged_alike(raw: Path, capsys: pytest.CaptureFixture[str]):
    write(Path("kept"), [n for n in range(60) if n % 3 == 0 or n % 5])
    common = ["--test", "val", "--sizes", "1", "--seeds", "2", "--json", "--report", "page"]
    status, out, _ = evaluated(capsys, "raw", "decisions.jsonl", "kept:clip_mmap", *common)
    found = json.loads(out)
    by_decisions, by_store = found["curated"]
    assert status == 0
    assert by_decisions["samples"] == by_store["samples"] == 32
    assert by_decisions["curve"] == by_store["curve"]
    assert by_decisions["left_out"] == by_store["left_out"] == {"test item, or copy of one": 20}
    assert [each["samples"] for each in by_store["random"]["curve"]] == [32]
    assert found["raw"]["samples"] == 40
    assert found["test"]["items"] == 20
    assert json.loads(Path("page/evaluation.json").read_text()) == found
    assert Path("page/test.txt").read_text() == "".join(f"item {n}@val\n" for n in range(0, 60, 3))


def test_the_table_has_the_random_part_and_ends_in_a_sentence(raw: Path, capsys: pytest.CaptureFixture[str]):
    status, out, _ = evaluated(capsys, "raw", "decisions.jsonl", "--test", "val", "--sizes", "0.5", "--seeds", "2")
    lines = out.splitlines()
    assert status == 0
    assert lines[0] == "20 test items, 2 classes of --target label"
    assert [line.split()[1] for line in lines if line.startswith("raw ")] == ["20", "40"]
    assert sum(line.startswith("as many as ") for line in lines) == 2
    assert "trained on 32 examples (20% fewer) gets 0." in lines[-2]
    assert lines[-1].startswith("The non-linear probe says ")


def test_the_page_asks_for_nothing_and_shows_names_as_text(raw: Path, capsys: pytest.CaptureFixture[str]):
    evaluated(capsys, "raw", "decisions.jsonl", "--test", "val", "--sizes", "0.2", "0.5", "--report", "page")
    page = Path("page/report.html").read_text()
    assert "default-src 'none'" in page
    assert not re.search(r"""(src|href)=|https?://|<b>cat""", page)
    assert "&lt;b&gt;cat&lt;/b&gt;" in page
    assert len(re.findall("<polyline", page)) == 2
    assert "as many as" in page


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["raw", "nothing"], "there is nothing at nothing; check the path"),
        (["raw", "nothing.jsonl"], "nothing.jsonl: No such file or directory"),
        (["raw", "decisions.jsonl", "--test", "vla"], "a subset (train, val); got 'vla'"),
        (["raw", "decisions.jsonl", "--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["raw", "stranger.jsonl"], "the dataset has no item stranger@train"),
    ],
)
def test_mistakes_are_told_in_one_line(raw: Path, capsys: pytest.CaptureFixture[str], args: list[str], message: str):
    stranger = Decision(ItemKey("stranger", "train"), "drop")
    write_decisions("stranger.jsonl", DecisionLog("by hand", {}, None, (stranger,)))
    status, _, err = evaluated(capsys, *args)
    assert status == 1
    assert message in err.splitlines()[-1]
