"""Widths and heights that are not the file's, as of pictures turned by their EXIF: boxes would be cut elsewhere.

Detectron2 refuses such pictures as well (SizeMismatchError).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from datumaro.cli.__main__ import main as datum
from datumaro.components.annotation import Bbox
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from PIL import Image as Pillow

from datumaro_clip.store import open_store

MODEL = ["--model", "tiny", "--cache", "off"]


@pytest.fixture
def coco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures of 60x40 pixels, of which the dataset says 60x40, 40x60, 30x20 and nothing; a box in each."""
    monkeypatch.chdir(tmp_path)
    for folder in ("in/annotations", "in/images/train"):
        (tmp_path / folder).mkdir(parents=True)
    exif = Pillow.Exif()
    exif[0x0112] = 6
    pictures = []
    for number, (name, size) in enumerate({"right": (60, 40), "turned": (40, 60), "small": (30, 20)}.items(), 1):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 60, 3), np.uint8)
        Pillow.fromarray(pixels).save(tmp_path / f"in/images/train/{name}.jpg", exif=exif)
        pictures.append({"id": number, "file_name": f"{name}.jpg", "width": size[0], "height": size[1]})
    note = {"category_id": 1, "area": 400, "iscrowd": 0, "segmentation": [], "bbox": [2, 2, 20, 20]}
    notes = [{**note, "id": n, "image_id": n} for n in (1, 2, 3)]
    said = {"images": pictures, "annotations": notes, "categories": [{"id": 1, "name": "cat", "supercategory": ""}]}
    (tmp_path / "in/annotations/instances_train.json").write_text(json.dumps(said))
    return tmp_path


def test_objects_of_such_pictures_get_no_vector(coco: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The pictures have theirs; each failure is told with both sizes, and counted by its reason."""
    words = ["transform", "-t", "clip_embed", "-o", "out", "in:coco", "--", "--objects", "--store", "store", *MODEL]
    assert datum(words) == 0
    with open_store(coco / "store") as reader:
        assert reader.embedding_count == 3
        assert {record.key.id: len(record.objects) for record in reader.records()} == {
            "right": 1,
            "turned": 0,
            "small": 0,
        }
    told = {message.split("'")[1]: message for message in caplog.messages if "Not embedded" in message}
    assert sorted(told) == ["small", "turned"]
    assert "the dataset says 40x60, the file has 60x40 pixels: it is turned, as its EXIF may say" in told["turned"]
    assert "the dataset says 30x20, the file has 60x40 pixels: its boxes are about another" in told["small"]
    assert any("objects: embedded 1" in line and "failed 2 (another_size 2)" in line for line in caplog.messages)


def test_a_run_that_shall_fail_does(coco: Path, caplog: pytest.LogCaptureFixture) -> None:
    words = ["transform", "-t", "clip_embed", "-o", "out", "in:coco", "--", "--objects", "--on-error", "fail", *MODEL]
    assert datum(words) == 1
    assert [message for message in caplog.messages if "the dataset says" in message] == [caplog.messages[-1]]


@pytest.mark.parametrize(
    "options", [["clip_dedup", "--objects"], ["clip_align", "--against", "boxes", "--min-score", "0"]]
)
def test_tools_on_objects_leave_them_alone(options: list[str], coco: Path, caplog: pytest.LogCaptureFixture) -> None:
    name, *own = options
    assert datum(["transform", "-t", name, "-o", "out", "in:coco", "--", *own, *MODEL]) == 0
    assert any("another_size" in message for message in caplog.messages)


def test_a_size_that_nobody_said_is_no_other_one() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    item = DatasetItem("a", media=Image.from_numpy(pixels), annotations=[Bbox(2, 2, 20, 20, label=0)])
    dataset = Dataset.from_iterable([item], categories=["cat"], media_type=Image)
    [embedded] = dataset.transform("clip_embed", objects=True, model="tiny", cache="off")
    assert "clip_embedding" in embedded.annotations[0].attributes
