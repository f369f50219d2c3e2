"""A detector's directory: adding, finding and refusing, in Python and on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from drawn_objects import drawn

from datumaro_clip.cli import main
from datumaro_clip.errors import ModelFormatError, ModelNotFoundError, OptionError
from datumaro_clip.objects.adding import add_detector, read_labels
from datumaro_clip.objects.detector import DetectionOptions
from datumaro_clip.objects.directory import find_detector, read_manifest
from datumaro_clip.objects.openvino import OpenVINODetector


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("DATUMARO_CLIP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def toy(toy_detectors: Path) -> list[str]:
    """Arguments of ``detector add`` that say all but the kind."""
    return ["detector", "add", str(toy_detectors / "yolox.onnx"), "--labels", str(toy_detectors / "yolox.txt")]


def test_a_detector_is_added_listed_and_found_by_name(cache: Path, toy: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(["detector", "list"]) == 0
    assert capsys.readouterr().out.startswith("none; datum-clip detector add")
    assert main([*toy, "--kind", "yolox", "--name", "my toy"]) == 0
    fingerprint = read_manifest(find_detector("my toy")).fingerprint
    assert fingerprint in capsys.readouterr().out
    assert main(["detector", "list"]) == 0
    assert capsys.readouterr().out.split()[:4] == ["my", "toy", "yolox", "3"]
    assert main(["detector", "info", "my toy"]) == 0
    assert "128×128, bgr, top_left" in capsys.readouterr().out
    assert find_detector(fingerprint) == find_detector("my toy")


def test_a_name_is_taken_once_unless_told(cache: Path, toy: list[str], capsys: pytest.CaptureFixture[str]):
    assert main([*toy, "--kind", "yolox"]) == 0
    assert main([*toy, "--kind", "yolox-decoded"]) == 1
    assert "there is a detector 'yolox' already" in capsys.readouterr().err
    assert main([*toy, "--kind", "yolox-decoded", "--overwrite"]) == 0
    assert read_manifest(find_detector("yolox")).kind == "yolox-decoded"


def test_what_is_no_detector_is_not_replaced(toy_detectors: Path, tmp_path: Path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"a")
    given = {"network": toy_detectors / "yolov8.onnx", "labels": toy_detectors / "yolov8.txt"}
    with pytest.raises(ModelFormatError, match="no detector's directory"):
        add_detector(**given, directory=tmp_path / "photos", overwrite=True)
    assert (tmp_path / "photos" / "a.jpg").exists()


def test_a_kind_that_shapes_do_not_tell_has_to_be_said(cache: Path, toy: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(toy) == 1
    assert "say which with --kind" in capsys.readouterr().err
    assert not (cache / "detectors").exists()


@pytest.mark.parametrize("wrong", [["--scale", "0"], ["--std", "1", "0", "1"], ["--size", "0", "9"]], ids=str)
def test_settings_that_no_picture_has_are_refused(
    cache: Path, toy: list[str], wrong: list[str], capsys: pytest.CaptureFixture[str]
):
    """A scale of 0, too, is one that was given."""
    assert main([*toy, "--kind", "yolox", *wrong]) == 1
    assert capsys.readouterr().err.startswith("datum-clip: ")
    assert main(["detector", "list"]) == 0
    assert capsys.readouterr().out.startswith("none")


def test_changed_settings_are_in_the_manifest_and_the_fingerprint(toy_detectors: Path, tmp_path: Path):
    given = {"network": toy_detectors / "yolov8.onnx", "labels": toy_detectors / "yolov8.txt"}
    usual = add_detector(**given, directory=tmp_path / "usual")[1]
    renamed = add_detector(**given, directory=tmp_path / "renamed", name="other")[1]
    swapped = add_detector(**given, directory=tmp_path / "swapped", changes={"colour": "bgr"})[1]
    assert renamed.fingerprint == usual.fingerprint
    assert swapped.fingerprint != usual.fingerprint
    found = OpenVINODetector(tmp_path / "swapped").find(drawn((128, 128), {"red": (9, 9, 60, 60)}), DetectionOptions())
    assert found.classes.tolist() == [2]


def test_an_openvino_ir_is_added_with_its_weights(toy_detectors: Path, tmp_path: Path):
    import openvino

    openvino.save_model(openvino.Core().read_model(toy_detectors / "yolov8.onnx"), tmp_path / "net.xml")
    labels = toy_detectors / "yolov8.txt"
    directory, manifest = add_detector(tmp_path / "net.xml", labels, directory=tmp_path / "d")
    assert set(manifest.files) == {"detector.xml", "detector.bin"}
    picture = drawn((128, 128), {"green": (9, 9, 60, 60)})
    assert OpenVINODetector(directory).find(picture, DetectionOptions()).classes.tolist() == [1]
    (tmp_path / "net.bin").unlink()
    with pytest.raises(ModelFormatError, match=r"net\.bin is not there"):
        add_detector(tmp_path / "net.xml", labels, directory=tmp_path / "e")


# Bad input


def test_damaged_and_foreign_networks_are_refused(toy_detectors: Path, tmp_path: Path):
    labels = toy_detectors / "yolov8.txt"
    whole = (toy_detectors / "yolov8.onnx").read_bytes()
    for name, data in {"cut": whole[: len(whole) // 2], "empty": b"", "text": b"hello"}.items():
        (tmp_path / f"{name}.onnx").write_bytes(data)
        with pytest.raises(ModelFormatError, match=rf"{name}\.onnx"):
            add_detector(tmp_path / f"{name}.onnx", labels, directory=tmp_path / "d")
    (tmp_path / "model.pt").write_bytes(whole)
    with pytest.raises(ModelFormatError, match="export the detector as ONNX or OpenVINO IR first"):
        add_detector(tmp_path / "model.pt", labels, directory=tmp_path / "d")
    with pytest.raises(ModelFormatError, match=r"gone\.onnx is not there"):
        add_detector(tmp_path / "gone.onnx", labels, directory=tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_a_network_of_another_task_is_refused_by_what_it_takes_or_gives(tmp_path: Path):
    import openvino
    from openvino import opset13 as ops

    def save(shape: list[int], name: str) -> Path:
        value = ops.parameter(shape, np.float32, name="input")
        openvino.save_model(openvino.Model([ops.result(ops.relu(value))], [value], name), tmp_path / f"{name}.xml")
        return tmp_path / f"{name}.xml"

    (tmp_path / "labels.txt").write_text("cat\n")
    with pytest.raises(ModelFormatError, match=r"is no detector: its inputs are \[1,77\]"):
        add_detector(save([1, 77], "text"), tmp_path / "labels.txt", directory=tmp_path / "d")
    with pytest.raises(ModelFormatError, match=r"no detector of a known kind .*\(1, 3, 64, 64\)"):
        add_detector(save([1, 3, 64, 64], "filter"), tmp_path / "labels.txt", directory=tmp_path / "d")
    with pytest.raises(ModelFormatError, match="no fixed size; say which it is to have: --size H W"):
        add_detector(save([1, 3, -1, -1], "free"), tmp_path / "labels.txt", directory=tmp_path / "d")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.txt", "", "needs the names"),
        ("l.txt", "cat\ndog\ncat\n", "'cat' is there more than once"),
        ("l.json", "{", "wanted a name a line, or a JSON list"),
        ("l.json", '{"names": 3}', "no list of names"),
        ("l.json", "[1, 2, 3]", "no list of names"),
        ("l.txt", "cat\ndog\n", "tells 3 classes apart, but there are 2 labels"),
    ],
)
def test_labels_that_cannot_be_the_networks_are_refused(
    name: str, text: str, message: str, toy_detectors: Path, tmp_path: Path
):
    (tmp_path / name).write_text(text)
    with pytest.raises(ModelFormatError, match=message):
        add_detector(toy_detectors / "yolov8.onnx", tmp_path / name, directory=tmp_path / "d")


@pytest.mark.parametrize(
    ("name", "text"), [("l.txt", "\ufeffa\n b \n\n"), ("l.json", '["a", "b"]'), ("l.json", '{"1": "b", "0": "a"}')]
)
def test_labels_are_read_in_their_order(name: str, text: str, tmp_path: Path):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_labels(tmp_path / name) == ("a", "b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "not the manifest of a detector"),
        ({"format_version": 2}, "has version 2, this release reads version 1"),
        ({"labels": None}, "cannot be used"),
        ({"kind": "ssd"}, "'ssd' is none of"),
        ({"files": {"../../etc/passwd.onnx": {"size": 1, "sha256": "0"}}}, "may lie outside"),
        ({"files": {"gone.onnx": {"size": 1, "sha256": "0"}}}, "is missing"),
        ({"files": {}}, "names no network"),
        (
            {
                "input": {
                    "size": [0, 4],
                    "placement": "centre",
                    "colour": "rgb",
                    "scale": 1,
                    "mean": [0] * 3,
                    "std": [1] * 3,
                }
            },
            "has pixels",
        ),
    ],
)
def test_manifests_that_cannot_be_trusted_are_refused(
    change: dict[str, object], message: str, toy_detectors: Path, tmp_path: Path
):
    values = json.loads((toy_detectors / "yolox" / "detector.json").read_text())
    (tmp_path / "detector.json").write_text(json.dumps({**values, **change}))
    with pytest.raises(ModelFormatError, match=message):
        read_manifest(tmp_path)


def test_a_detector_that_is_not_there_is_named_with_those_that_are(cache: Path, toy: list[str], toy_detectors: Path):
    with pytest.raises(ModelNotFoundError, match="there are: none"):
        find_detector("yolox")
    main([*toy, "--kind", "yolox"])
    with pytest.raises(ModelNotFoundError, match=r"no detector 'yolo', .* there are: yolox"):
        find_detector("yolo")
    with pytest.raises(ModelNotFoundError, match="does not say which labels"):
        find_detector(str(toy_detectors / "yolox.onnx"))
    with pytest.raises(OptionError):
        add_detector(toy_detectors / "yolox.onnx", toy_detectors / "yolox.txt", kind="yolox", name="yolox")
