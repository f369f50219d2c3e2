"""Labels, marks and scores that the output format cannot hold: every command that writes tells their number."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datumaro.cli.__main__ import main as datum
from datumaro.components.annotation import Bbox, Caption, Label, Mask
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image

from datumaro_clip.cli import main as datum_clip
from datumaro_clip.curate.decisions import Decision, DecisionLog, write_decisions
from datumaro_clip.host.losses import losses_of, telling_losses
from datumaro_clip.vectors import ItemKey

PIXELS = np.full((20, 30, 3), 90, np.uint8)


def dataset() -> Dataset:
    """Two subsets; the second item's kinds are not the first one's."""
    notes = [
        [Label(0, attributes={"clip_confidence": 0.5}), Caption("a cup"), Bbox(2, 3, 8, 9, label=1)],
        [Bbox(2, 3, 8, 9, label=1, attributes={"sure": 0.5}), Bbox(1, 1, 4, 4, label=0, attributes={"sure": 0.1})],
        [],
    ]
    items = [
        DatasetItem(
            name, subset=subset, media=Image.from_numpy(PIXELS), annotations=own, attributes={"tags": ["x"], "id": 7}
        )
        for name, subset, own in zip("abc", ("train", "train", "val"), notes, strict=True)
    ]
    return Dataset.from_iterable(items, categories=["cup", "mug"], media_type=Image)


HELD: list[tuple[str, dict[tuple[str, str], int]]] = [
    ("datumaro", {}),
    ("clip_mmap", {}),
    ("coco", {("item", "tags"): 3, ("label", ""): 1}),
    ("coco_labels", {("item", "tags"): 3, ("caption", ""): 1, ("bbox", ""): 3}),
    ("coco_captions", {("item", "tags"): 3, ("label", ""): 1, ("bbox", ""): 3}),
    ("image_dir", {("item", "tags"): 3, ("label", ""): 1, ("caption", ""): 1, ("bbox", ""): 3}),
    ("voc", {("item", "tags"): 3, ("label", "clip_confidence"): 1, ("caption", ""): 1}),
    ("yolo", {("item", "tags"): 3, ("label", ""): 1, ("caption", ""): 1, ("bbox", "sure"): 2}),
    ("yolo_ultralytics", {("item", "tags"): 3, ("label", ""): 1, ("caption", ""): 1, ("bbox", "sure"): 2}),
]


@pytest.mark.parametrize(("format", "lost"), HELD, ids=[name for name, _ in HELD])
def test_each_kind_is_counted_in_all_items(format: str, lost: dict[tuple[str, str], int]) -> None:
    """By their numbers in the dataset, though only a few items are tried."""
    found = losses_of(dataset(), format, {"save_media": False})
    assert (dict(found.counts), found.problem) == (lost, "")


def test_an_empty_dataset_loses_nothing() -> None:
    found = losses_of(Dataset.from_iterable([], media_type=Image), "image_dir", {})
    assert (found.counts.total(), found.problem, str(found)) == (0, "", "nothing")


def test_a_mask_that_comes_back_as_a_polygon_is_not_lost() -> None:
    shape = np.zeros((20, 30), bool)
    shape[2:9, 3:9] = True
    item = DatasetItem("a", subset="train", media=Image.from_numpy(PIXELS), annotations=[Mask(shape, label=0, group=1)])
    outlined = Dataset.from_iterable([item], categories=["cup"], media_type=Image)
    assert str(losses_of(outlined, "coco_instances", {"segmentation_mode": "polygons"})) == "nothing"
    assert str(losses_of(outlined, "yolo", {})) == "1 annotations and attributes (mask 1)"


def test_a_format_that_cannot_be_read_again_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """It is no loss that is known, and nothing that Datumaro said meanwhile is shown."""
    found = losses_of(dataset(), "mvtec", {})
    assert found.counts.total() == 0
    found.tell()
    [record] = caplog.records
    assert record.getMessage().startswith("Not known what mvtec keeps of this: a few items in it cannot be read again")


def lossless_source(place: Path) -> None:
    dataset().export(str(place / "in"), "datumaro", save_media=True)
    log = DecisionLog("clip_x", {}, None, (Decision(ItemKey("c", "val"), "drop"),))
    write_decisions(str(place / "log.jsonl"), log)


COMMANDS: dict[str, tuple[Callable[[list[str]], int], str]] = {
    "transform": (datum, "transform -t rename -f yolo -o out in:datumaro -- -e |z|y|"),
    "filter": (datum, "filter -e /item -f yolo -o out in:datumaro"),
    "convert": (datum, "convert -i in -if datumaro -f yolo -o out -- --save-media"),
    "export": (datum, "export -i in:datumaro -f yolo -o out"),
    "merge": (datum, "merge --merge-policy exact -f yolo -o out in:datumaro"),
    "decisions apply": (datum_clip, "decisions apply log.jsonl in:datumaro -f yolo -o out"),
    "datum-clip merge": (datum_clip, "merge in:datumaro -f yolo -o out"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_writes_tells_it_last(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    lossless_source(tmp_path)
    run, words = COMMANDS[name]
    assert run(words.split()) == 0
    told = [record for record in caplog.records if "Lost in yolo" in record.getMessage()]
    assert [record.levelno for record in told] == [logging.WARNING]
    text = told[0].getMessage()
    assert all(part in text for part in ("label 1", "caption 1", "sure of bbox 2", "; -f datumaro or -f clip_mmap"))
    assert ("before the dataset" in text) == (name in ("transform", "filter"))
    if run is datum:
        assert caplog.records[-1] is told[0]
    else:
        count = text.partition(": ")[2].partition(" ")[0]
        assert capsys.readouterr().out.splitlines()[-1].endswith(f"; {count} annotations and attributes lost")


def test_a_command_that_fails_tells_no_losses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nor does an export that no command makes."""

    def fail_after(name: str) -> None:
        with telling_losses():
            dataset().export(str(tmp_path / name), "yolo", save_media=True)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after("out")
    dataset().export(str(tmp_path / "more"), "yolo", save_media=True)
    assert "Lost" not in caplog.text


@pytest.mark.parametrize("options", [["-f", "datumaro"], []])
def test_classified_pictures(options: list[str], tmp_path: Path, monkeypatch, caplog) -> None:
    """A folder of pictures lost all labels, with status 0; vectors, which the cache has, are not among the losses."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for item in dataset():
        item.media.save(f"in/{item.id}.png")
    own = ["--model", "tiny", "--cache", "off"]
    words = ["transform", "-t", "clip_classify", *options, "-o", "out", "in:image_dir", "--", "--labels", "red", "blue"]
    assert datum([*words, *own]) == 0
    told = [message for message in caplog.messages if "Lost in" in message]
    assert [each.partition(";")[0] for each in told] == (
        [] if options else ["Lost in image_dir: 3 annotations and attributes (label 3)"]
    )
    assert datum(["transform", "-t", "clip_embed", "-o", "out2", "in:image_dir", "--", *own]) == 0
    assert [message for message in caplog.messages if "Lost in" in message] == told
