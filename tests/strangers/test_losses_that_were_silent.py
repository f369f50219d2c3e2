"""What is lost, or was never there, is a warning with its number."""

from __future__ import annotations

from pathlib import Path

import pytest
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from PIL import Image as Pictures

from datumaro_clip import cli
from datumaro_clip.curate.decisions import Decision, DecisionLog, write_decisions
from datumaro_clip.vectors import ItemKey


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for name, colour in (("a", (200, 30, 30)), ("b", (30, 30, 200))):
        Pictures.new("RGB", (40, 40), colour).save(f"in/{name}.png")
    (tmp_path / "keep").write_text("a@default\na@train\nx@default\ny@default\nz@default\n")
    return tmp_path


NAMES = "--except: 4 lines name no item, as a@train, x@default, y@default; a line is id@subset"


def test_exceptions_that_name_no_item_are_told_by_a_tool(place: Path, caplog) -> None:
    dataset = Dataset.import_from("in", "image_dir").transform("clip_clean", except_file="keep")
    assert [item.id for item in dataset] == ["a"]
    assert NAMES in caplog.messages


def test_and_by_a_replay(place: Path, caplog) -> None:
    told = tuple(Decision(ItemKey(name, "default"), "drop") for name in "ab")
    write_decisions("log.jsonl", DecisionLog("clip_x", {}, None, told))
    assert cli.main(["decisions", "apply", "log.jsonl", "in:image_dir", "-o", "out", "--except", "keep"]) == 0
    assert NAMES in caplog.messages


def test_no_warning_where_all_is_there(place: Path, caplog) -> None:
    (place / "keep").write_text("a@default\n")
    options = {"except_file": "keep", "model": "tiny", "cache": "off"}
    dataset = Dataset.import_from("in", "image_dir").transform("clip_search", query="a red square", **options)
    assert len(list(dataset)) == 2
    dataset.export("store", "clip_mmap", model="tiny", cache="off")
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == []


def test_a_search_without_hits(place: Path, caplog) -> None:
    options = {"min_score": 0.999, "model": "tiny", "cache": "off"}
    dataset = Dataset.import_from("in", "image_dir").transform("clip_search", query="a red square", **options)
    assert list(dataset) == []
    assert "clip_search: 0 of 2 items are left; ask for less" in caplog.messages


def test_a_dataset_without_items(place: Path, caplog) -> None:
    dataset = Dataset.from_iterable([], media_type=Image)
    dataset.export("store", "clip_mmap", model="tiny", cache="off")
    assert any(message.startswith("0 items read: check the dataset's path") for message in caplog.messages)
    assert list(dataset.transform("clip_clean")) == []
    assert "clip_clean: 0 items read: check the dataset's path and format" in caplog.messages


def test_a_store_without_vectors(place: Path, caplog) -> None:
    """All pictures had failed, and nothing but their list told it."""
    dataset = Dataset.from_iterable([DatasetItem(name, media=Image.from_file(f"{name}.png")) for name in "ab"])
    dataset.export("store", "clip_mmap", model="tiny", cache="off")
    assert "0 of 2 items have a vector; nothing can be searched for among them" in caplog.messages
