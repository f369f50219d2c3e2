"""From a picture to boxes: on drawn pictures whose boxes are known, and on photos with a trained detector."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from drawn_objects import COLOURS, drawn, iou, scene
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from datumaro_clip.errors import DeviceNotFoundError, InferenceError, ModelFormatError, OptionError
from datumaro_clip.objects.adding import add_detector
from datumaro_clip.objects.detections import Detections
from datumaro_clip.objects.detector import DetectionOptions, Detector, tiles_of
from datumaro_clip.objects.heads import HEADS
from datumaro_clip.objects.openvino import OpenVINODetector
from datumaro_clip.objects.placement import PLACEMENTS, InputSettings
from datumaro_clip.vectors import FloatArray


@pytest.mark.parametrize("kind", HEADS)
def test_every_head_finds_every_drawn_object_where_it_is(kind: str, toy_detectors: Path):
    """Colours in the wrong order swap red and blue; a wrong placement or stride moves the boxes."""
    detector = OpenVINODetector(toy_detectors / kind)
    for seed in range(12):
        size, boxes = scene(seed)
        found = detector.find(drawn(size, boxes), DetectionOptions(min_confidence=0.5))
        names = [detector.labels[index] for index in found.classes]
        assert sorted(names) == sorted(COLOURS)
        assert all(iou(box, boxes[name]) > 0.8 for box, name in zip(found.boxes, names, strict=True))


def test_nothing_is_found_where_nothing_is(toy_detectors: Path):
    found = OpenVINODetector(toy_detectors / "yolox").find(drawn((200, 100), {}), DetectionOptions())
    assert found.boxes.shape == (0, 4)


class Scripted(Detector):
    """Gives the same boxes for every input of 100×100 pixels."""

    fingerprint, labels, input = "sha256:" + "d" * 64, ("cat", "Traffic Light"), InputSettings((100, 100), "top_left")

    def __init__(self, *boxes: tuple[float, float, float, float, float, int]) -> None:
        rows = np.array(boxes, np.float32).reshape(-1, 6)
        self._found = Detections(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64))

    def submit(self, pixel_values: FloatArray, least: float) -> Future[Detections]:
        future: Future[Detections] = Future()
        future.set_result(self._found[self._found.scores >= least])
        return future


PICTURE = Image.new("RGB", (200, 200))


def test_boxes_are_cut_at_the_borders_and_those_outside_are_gone():
    found = Scripted((-10, -10, 20, 20, 0.9, 0), (99.9, 0, 150, 50, 0.8, 0)).find(PICTURE, DetectionOptions())
    np.testing.assert_allclose(found.boxes, [[0, 0, 40, 40]])


def test_of_boxes_that_overlap_the_best_of_each_class_is_left():
    boxes = [(0, 0, 50, 50, 0.6, 0), (1, 0, 50, 50, 0.9, 0), (0, 0, 50, 50, 0.7, 1), (60, 60, 90, 90, 0.5, 0)]
    found = Scripted(*boxes).find(PICTURE, DetectionOptions())
    np.testing.assert_allclose(found.scores, [0.9, 0.7, 0.5])
    assert found.classes.tolist() == [0, 1, 0]


def test_limits_of_score_number_and_class_hold():
    detector = Scripted((0, 0, 9, 9, 0.3, 0), (20, 0, 29, 9, 0.8, 1), (40, 0, 49, 9, 0.6, 0), (60, 0, 69, 9, 0.1, 1))
    assert len(detector.find(PICTURE, DetectionOptions())) == 3
    assert len(detector.find(PICTURE, DetectionOptions(max_objects=2))) == 2
    np.testing.assert_allclose(detector.find(PICTURE, DetectionOptions(classes=("cat",))).scores, [0.6, 0.3])
    np.testing.assert_allclose(detector.find(PICTURE, DetectionOptions(classes=("traffic_light",))).scores, [0.8])
    with pytest.raises(OptionError, match="no class 'dog'; it knows: cat, Traffic Light"):
        detector.find(PICTURE, DetectionOptions(classes=("dog",)))


@pytest.mark.parametrize(
    "wrong", [{"min_confidence": -0.1}, {"min_confidence": float("nan")}, {"iou": 2}, {"max_objects": 0}, {"tile": 10}]
)
def test_options_out_of_range_are_refused(wrong: dict[str, float]):
    with pytest.raises(OptionError, match=f"--{next(iter(wrong)).replace('_', '-')}"):
        DetectionOptions(**wrong)


# Tiles


def test_small_objects_of_a_large_picture_are_found_in_tiles(toy_detectors: Path):
    """The whole picture, of which every 23rd pixel is seen, shows nothing of a box of 14."""
    detector = OpenVINODetector(toy_detectors / "yolov8")
    boxes = {"red": (700, 500, 714, 514), "blue": (2967, 2167, 2981, 2181)}
    picture = drawn((3000, 2200), boxes)
    assert len(detector.find(picture, DetectionOptions())) == 0
    found = detector.find(picture, DetectionOptions(tile=256))
    names = [detector.labels[index] for index in found.classes]
    assert sorted(names) == ["blue", "red"]
    assert all(iou(box, boxes[name]) > 0.7 for box, name in zip(found.boxes, names, strict=True))


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(64, 900))
def test_tiles_cover_the_picture_and_share_a_quarter(width: int, height: int, side: int):
    tiles = tiles_of((width, height), side)
    for axis, length in ((0, width), (1, height)):
        spans = sorted({(tile[axis], tile[axis + 2]) for tile in tiles}) or [(0, length)]
        assert spans[0][0] == 0
        assert spans[-1][1] == length
        assert all(end - start <= side or not tiles for start, end in spans)
        assert all(end - start >= side / 4 - 1 for (start, _), (_, end) in zip(spans[1:], spans, strict=False))


# Placement


@given(st.sampled_from(PLACEMENTS), st.integers(1, 700), st.integers(1, 700), st.data())
def test_boxes_find_their_way_back_to_the_picture(placement: str, width: int, height: int, data: st.DataObject):
    settings = InputSettings((96, 160), placement)
    pixel_values, placed = settings.fit(Image.new("RGB", (width, height), (255, 255, 255)))
    assert pixel_values.shape == (3, 96, 160)
    corners = data.draw(st.tuples(*[st.floats(0, 1)] * 4)) * np.array([width, height, width, height])
    across = np.array([placed.across, placed.down] * 2)
    there = corners * across + np.array([placed.left, placed.top] * 2)
    assert (there <= np.array([160, 96, 160, 96]) + 1).all()
    np.testing.assert_allclose(placed.to_picture(there.astype(np.float32)), corners, atol=1e-2)


def test_pixels_are_ordered_scaled_and_normalised_as_the_settings_say():
    picture = Image.new("RGB", (4, 4), (10, 20, 30))
    values = InputSettings((4, 4), colour="bgr", scale=0.1, mean=(1, 0, 0), std=(1, 2, 1)).fit(picture)[0]
    np.testing.assert_allclose(values[:, 0, 0], [2, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(InputSettings((4, 8), scale=1).fit(picture)[0][0, 0], [114, 114, *[10] * 4, 114, 114])


# A detector's files


def test_a_network_that_changed_after_it_was_added_is_refused(toy_detectors: Path, tmp_path: Path):
    shutil.copytree(toy_detectors / "yolov8", tmp_path / "d")
    with (tmp_path / "d" / "detector.onnx").open("r+b") as file:
        file.seek(200)
        file.write(b"\0")
    with pytest.raises(ModelFormatError, match=r"detector\.onnx was changed or damaged.*add the detector again"):
        OpenVINODetector(tmp_path / "d")


def test_labels_of_another_number_in_the_manifest_are_refused(toy_detectors: Path, tmp_path: Path):
    shutil.copytree(toy_detectors / "yolov8", tmp_path / "d")
    manifest = json.loads((tmp_path / "d" / "detector.json").read_text())
    (tmp_path / "d" / "detector.json").write_text(json.dumps({**manifest, "labels": ["a", "b"]}))
    with pytest.raises(ModelFormatError, match="tells 3 classes apart, but there are 2 labels"):
        OpenVINODetector(tmp_path / "d")


def test_a_class_beyond_the_labels_is_an_error_where_shapes_do_not_tell(toy_detectors: Path, tmp_path: Path):
    (tmp_path / "two.txt").write_text("red\ngreen\n")
    directory, _ = add_detector(toy_detectors / "end2end.onnx", tmp_path / "two.txt", directory=tmp_path / "d")
    detector = OpenVINODetector(directory)
    assert len(detector.find(drawn((128, 128), {"red": (5, 5, 50, 50)}), DetectionOptions())) == 1
    with pytest.raises(InferenceError, match="finds class 2, but has 2 labels"):
        detector.find(drawn((128, 128), {"blue": (5, 5, 50, 50)}), DetectionOptions())


def test_a_device_that_is_not_here_is_named(toy_detectors: Path):
    with pytest.raises(DeviceNotFoundError, match="no device 'TPU'"):
        OpenVINODetector(toy_detectors / "yolox", "TPU")


# A trained detector on photos


def average_precision(detector: Detector, coco_mini: Path, split: str) -> float:
    """COCO's AP, as pycocotools computes it."""
    coco_api = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    truth = coco_api.COCO(str(coco_mini / "annotations" / f"instances_{split}.json"))
    ids = {category["name"]: category["id"] for category in truth.dataset["categories"]}
    found = []
    for image in truth.dataset["images"]:
        picture = Image.open(coco_mini / "images" / split / image["file_name"]).convert("RGB")
        boxes = detector.find(picture, DetectionOptions(min_confidence=0.001, max_objects=300))
        for (x1, y1, x2, y2), score, label in zip(
            boxes.boxes.tolist(), boxes.scores.tolist(), boxes.classes, strict=True
        ):
            entry = {"image_id": image["id"], "category_id": ids[detector.labels[label]]}
            found.append({**entry, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score})
    evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return float(evaluation.stats[0])


def test_a_trained_detector_finds_what_it_is_known_to_find(shared: Path, tmp_path: Path):
    """0.302 and 0.323 were measured apart from this code; the wrong order of colours gives 0.276 and 0.291."""
    source = shared / "models" / "yolox_nano"
    given = {"network": source / "yolox_nano.onnx", "labels": source / "coco_names.json", "kind": "yolox"}
    directory, _ = add_detector(**given, directory=tmp_path / "right")
    coco_mini = shared / "data" / "coco_mini"
    detector = OpenVINODetector(directory)
    assert average_precision(detector, coco_mini, "train2017") == pytest.approx(0.302, abs=0.003)
    assert average_precision(detector, coco_mini, "val2017") == pytest.approx(0.323, abs=0.003)
