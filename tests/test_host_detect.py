"""``clip_detect``: boxes of a detector in a dataset, and whose boxes stay."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from datumaro.components.annotation import Bbox, Label
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.environment import DEFAULT_ENVIRONMENT
from datumaro.components.media import Image, PointCloud
from drawn_objects import drawn, iou, scene
from format_samples import EXPORT_OPTIONS, IMPORTERS

from datumaro_clip.curate import objects as objects_module
from datumaro_clip.errors import ImageError, ModelNotFoundError, OptionError
from datumaro_clip.host.detect import DROP_SCORE, ClipDetect
from datumaro_clip.host.items import label_names


def dataset(count: int = 3, labels: tuple[str, ...] = ("thing",)) -> Dataset:
    """Drawn scenes, each with a box of a person's."""
    items = []
    for seed in range(count):
        pixels = np.asarray(drawn(*scene(seed)))[:, :, ::-1]
        own = Bbox(1, 2, 30, 40, label=0, attributes={"by": "me"})
        items.append(DatasetItem(f"s{seed}", subset="train", media=Image.from_numpy(pixels), annotations=[own]))
    return Dataset.from_iterable(items, categories=list(labels))


def found_in(item: DatasetItem) -> list[Bbox]:
    return [note for note in item.annotations if "clip_detector" in note.attributes]


@pytest.fixture
def detector(toy_detectors: Path) -> str:
    return str(toy_detectors / "yolov8")


def test_an_empty_dataset_stays_empty(detector: str):
    assert len(Dataset.from_iterable([]).transform("clip_detect", detector=detector)) == 0


def test_every_object_gets_a_box_with_class_score_and_detector(detector: str):
    source = dataset()
    detected = dataset().transform("clip_detect", detector=detector)
    assert label_names(detected.categories()) == ["thing", "red", "green", "blue"]
    for seed, item in enumerate(detected):
        assert item.annotations[0] == source.get(item.id, item.subset).annotations[0]
        boxes = scene(seed)[1]
        assert len(found_in(item)) == len(item.annotations) - 1 == 3
        for note in found_in(item):
            name = label_names(detected.categories())[note.label]
            assert iou(note.points, boxes[name]) > 0.8
            assert 0.25 <= note.attributes["score"] <= 1
            assert note.attributes["clip_detector"].startswith("sha256:")


def test_labels_that_are_there_are_used_whatever_their_capitals(detector: str):
    detected = dataset(labels=("thing", "Blue", "GREEN")).transform("clip_detect", detector=detector)
    assert label_names(detected.categories()) == ["thing", "Blue", "GREEN", "red"]
    assert sorted(note.label for note in found_in(next(iter(detected)))) == [1, 2, 3]


def test_only_classes_that_were_named_are_found_and_added(detector: str):
    detected = dataset().transform("clip_detect", detector=detector, classes=["Red"])
    assert label_names(detected.categories()) == ["thing", "red"]
    assert [len(found_in(item)) for item in detected] == [1, 1, 1]


def test_of_the_objects_of_a_picture_the_best_are_kept(detector: str):
    every, best = (next(iter(dataset(1).transform("clip_detect", detector=detector, max_objects=n))) for n in (100, 1))
    [found] = found_in(best)
    assert found.attributes["score"] == max(note.attributes["score"] for note in found_in(every))


def test_formats_that_drop_the_score_are_told_once(detector: str, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        list(dataset(3).transform("clip_detect", detector=detector))
    assert caplog.text.count("These formats drop the boxes' score") == 1


def test_a_second_run_replaces_its_own_boxes_and_no_others(detector: str, toy_detectors: Path):
    once = dataset().transform("clip_detect", detector=detector)
    twice = dataset().transform("clip_detect", detector=detector).transform("clip_detect", detector=detector)
    assert [item.annotations for item in twice] == [item.annotations for item in once]
    other = str(toy_detectors / "yolox")
    both = dataset().transform("clip_detect", detector=detector).transform("clip_detect", detector=other)
    assert [len(found_in(item)) for item in both] == [6, 6, 6]
    fewer = once.transform("clip_detect", detector=detector, classes="red")
    assert [len(item.annotations) for item in fewer] == [2, 2, 2]


@pytest.mark.parametrize("edit", [{"x": 7.5}, {"w": 3.0}, {"label": 0}])
def test_a_box_that_a_person_changed_is_a_persons(detector: str, edit: dict[str, float]):
    [item] = dataset(1).transform("clip_detect", detector=detector)
    corrected = item.annotations[1].wrap(**edit)
    edited = Dataset.from_iterable(
        [item.wrap(annotations=[item.annotations[0], corrected, *item.annotations[2:]])],
        categories=["thing", "red", "green", "blue"],
    )
    [again] = edited.transform("clip_detect", detector=detector)
    assert again.annotations[:2] == [item.annotations[0], corrected]
    assert len(again.annotations) == 5


def test_boxes_keep_their_makers_through_a_format(detector: str, tmp_path: Path):
    dataset().transform("clip_detect", detector=detector).export(str(tmp_path / "coco"), "coco", save_media=True)
    again = Dataset.import_from(str(tmp_path / "coco"), "coco").transform("clip_detect", detector=detector)
    assert [len(item.annotations) for item in again] == [4, 4, 4]


@pytest.mark.parametrize("on_error", ["keep", "skip", "fail"])
def test_pictures_that_cannot_be_had_are_counted_and_treated_as_asked(
    detector: str, on_error: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
):
    source = dataset(2)
    source.put(DatasetItem("gone", subset="train", media=Image.from_file(str(tmp_path / "gone.jpg"))))
    source.put(DatasetItem("label", subset="train", annotations=[Label(0)]))
    detected = source.transform("clip_detect", detector=detector, on_error=on_error)
    if on_error == "fail":
        with pytest.raises(ImageError, match=r"item 'gone' \(subset 'train'\)"):
            list(detected)
        return
    with caplog.at_level(logging.INFO):
        assert len(list(detected)) == (4 if on_error == "keep" else 3)
    assert "looked at 2 pictures, found 6 objects (" in caplog.text
    assert "failed 1 (missing 1)" in caplog.text


def test_other_media_pass_through(detector: str, tmp_path: Path):
    (tmp_path / "a.pcd").write_bytes(b"")
    item = DatasetItem("a", media=PointCloud.from_file(str(tmp_path / "a.pcd")))
    source = Dataset.from_iterable([item], media_type=PointCloud)
    assert next(iter(source.transform("clip_detect", detector=detector))).annotations == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs --detector"),
        ({"detector": "x", "min_confidence": 2}, "--min-confidence must be from 0 to 1"),
        ({"detector": "x", "tile": 10}, "--tile must be at least 64"),
        ({"detector": "x", "min_score": 0.5}, "no option min_score"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, object], message: str):
    with pytest.raises(OptionError, match=message):
        list(dataset().transform("clip_detect", **options))


def test_detectors_and_classes_that_are_not_there_are_named(
    detector: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("DATUMARO_CLIP_CACHE", str(tmp_path))
    with pytest.raises(ModelNotFoundError, match="no detector 'yolo12'"):
        list(dataset().transform("clip_detect", detector="yolo12"))
    with pytest.raises(OptionError, match="no class 'cat'; it knows: red, green, blue"):
        list(dataset().transform("clip_detect", detector=detector, classes="cat"))


def test_command_line_is_refused_before_anything_is_done():
    with pytest.raises(OptionError, match="--detector"):
        ClipDetect.parse_cmdline([])


def test_the_detector_is_loaded_once_a_run(detector: str, monkeypatch: pytest.MonkeyPatch):
    loaded: list[str] = []
    load = objects_module.OpenVINODetector
    monkeypatch.setattr(objects_module, "OpenVINODetector", lambda *args: loaded.append("x") or load(*args))
    detected = dataset().transform("clip_detect", detector=detector)
    detected.categories()
    detected.init_cache()
    assert len(loaded) == 1


def test_formats_that_drop_the_score_are_those_that_the_warning_names(
    detector: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """Of Datumaro's formats that take a detected box out and in again."""
    [item] = dataset(1).transform("clip_detect", detector=detector, classes="red")
    assert all(name in caplog.text for name in DROP_SCORE)
    box = item.annotations[1]
    twins = [
        item.wrap(id="000001", annotations=[box], subset=subset, attributes={"id": 1, "frame": 1})
        for subset in ("train", "val")
    ]
    dropped = set()
    for name in sorted(DEFAULT_ENVIRONMENT.exporters):
        try:
            kept = Dataset.from_iterable(twins, categories=["thing", "red"], media_type=Image)
            kept.export(str(tmp_path / name), name, save_media=True, **EXPORT_OPTIONS.get(name, {}))
            read = Dataset.import_from(str(tmp_path / name), IMPORTERS.get(name, name))
            boxes = [note for each in read for note in each.annotations]
        except Exception:  # Formats of other media, and those that want other items, have no part in this.
            continue
        if any(isinstance(note, Bbox) and "score" not in note.attributes for note in boxes):
            dropped.add(name)
    assert dropped == set(DROP_SCORE)
