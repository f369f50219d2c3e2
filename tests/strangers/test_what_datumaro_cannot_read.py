"""Files that Datumaro cannot read: each command answers in one line, with item or file, innermost cause and cure."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from commands import run_command
from datumaro.cli.__main__ import main
from PIL import Image

from datumaro_clip import cli


def coco(root: Path, annotation: dict[str, object]) -> str:
    (root / "annotations").mkdir(parents=True)
    (root / "images/train").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(root / "images/train/a.png")
    said = {"images": [{"id": 1, "file_name": "a.png", "width": 8, "height": 8}], "annotations": [annotation]}
    said |= {"categories": [{"id": 1, "name": "cat", "supercategory": ""}]}
    (root / "annotations/instances_train.json").write_text(json.dumps(said))
    return f"{root.name}:coco"


def without_box(root: Path) -> str:
    return coco(root, {"id": 1, "image_id": 1, "category_id": 1, "area": 4, "iscrowd": 0, "segmentation": []})


def undeclared_label(root: Path) -> str:
    return coco(
        root,
        {"id": 1, "image_id": 1, "category_id": 7, "area": 4, "iscrowd": 0, "segmentation": [], "bbox": [1, 1, 2, 2]},
    )


def yolo(root: Path, names: bytes) -> str:
    (root / "obj_train_data").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(root / "obj_train_data/a.png")
    (root / "obj_train_data/a.txt").write_text("0 .5 .5 .2 .2\n")
    (root / "obj.names").write_bytes(names)
    (root / "obj.data").write_text("classes = 1\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
    (root / "train.txt").write_text("data/obj_train_data/a.png\n")
    return f"{root.name}:yolo"


def latin_1(root: Path) -> str:
    return yolo(root, "café\n".encode("latin-1"))


def utf_16(root: Path) -> str:
    return yolo(root, "café\n".encode("utf-16"))


def broken_xml(root: Path) -> str:
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / folder).mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(root / "JPEGImages/a.jpg")
    (root / "ImageSets/Main/train.txt").write_text("a\n")
    (root / "Annotations/a.xml").write_text("<annotation><object>")
    return f"{root.name}:voc"


def truncated_video(root: Path) -> str:
    root.with_suffix(".mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    return f"{root.name}.mp4:video_frames"


CASES = [
    (without_box, [r"item (1, 'train')", "Missing annotation field 'bbox'"]),
    (undeclared_label, [r"item (1, 'train')", "Undeclared label '7'"]),
    (latin_1, ["no UTF-8 text", "obj.names", "save it as UTF-8"]),
    (utf_16, ["no UTF-8 text", "obj.names", "save it as UTF-8"]),
    (broken_xml, ["item ('a', 'train')", "no element found: line 1", "a.xml"]),
    (truncated_video, ["AssertionError of", ".mp4"]),
]


@pytest.mark.parametrize(("make", "words"), CASES, ids=lambda case: getattr(case, "__name__", ""))
@pytest.mark.parametrize("output", ["voc", "clip_mmap"])
def test_datumaro_s_own_command_tells_item_and_cause_once(
    make, words: list[str], output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    """With a plugin of ours and without; a traceback was shown, or nothing but the dataset's name."""
    monkeypatch.chdir(tmp_path)
    source, _, form = make(tmp_path / "in").partition(":")
    options = ["--", "--no-embed", "--save-media"] if output == "clip_mmap" else ["--", "--save-media"]
    assert main(["convert", "-i", source, "-if", form, "-f", output, "-o", "out", *options]) == 1
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert "\n" not in errors[0]
    for word in words:
        assert errors[0].count(word) == 1, errors[0]


@pytest.mark.parametrize(("make", "words"), CASES[:-1], ids=lambda case: getattr(case, "__name__", ""))
def test_datum_clip_tells_the_same(
    make, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    source = make(tmp_path / "in")
    assert cli.main(["embed", source, "-o", "out", "--model", "tiny", "--cache", "off"]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("datum-clip: ")
    for word in words:
        assert last.count(word) == 1, last


def test_installed_command_shows_no_traceback(tmp_path: Path) -> None:
    source = without_box(tmp_path / "in")
    done = run_command("datum", "transform", "-t", "rename", "-o", "out", source, "--", "-e", "|a|b|", cwd=tmp_path)
    assert done.returncode == 1
    assert "Missing annotation field 'bbox'" in done.stdout.splitlines()[-1]
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize("transform", ["clip_clean", "rename"])
def test_overwrite_after_the_dataset_is_explained(
    transform: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog, capsys
) -> None:
    """What follows the dataset is the plugin's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "in/a.png")
    words = ["transform", "-t", transform, "-o", "in", "in:image_dir"]
    with pytest.raises(SystemExit):
        main([*words, "--overwrite"])
    assert "write it before the dataset" in caplog.messages[-1]
    more = ["--", "-e", "|a|b|"] if transform == "rename" else []
    assert main([*words, *more]) == 1
    assert "pass --overwrite to overwrite): write it before the dataset" in caplog.messages[-1]


def captioned(root: Path) -> str:
    note = {"id": 0, "type": "caption", "attributes": {}, "group": 0, "caption": "a cup"}
    (root / "annotations").mkdir(parents=True)
    said = {"infos": {}, "categories": {"label": {"labels": [{"name": "cup", "parent": ""}], "attributes": []}}}
    said["items"] = [{"id": "a", "annotations": [note], "attr": {}}]
    (root / "annotations/train.json").write_text(json.dumps(said))
    return f"{root.name}:datumaro"


def rows(root: Path) -> str:
    root.mkdir()
    (root / "a.csv").write_text("x,y\n1,2\n")
    return f"{root.name}:tabular"


WRITTEN = [
    (captioned, "merge -f coco -o out", "", ["no attribute 'label'", "item a of subset train", "'datum-clip merge'"]),
    (rows, "transform -t rename -f datumaro -o out", "-- -e |a|b|", ["NotImplementedError of", "-f clip_mmap"]),
]


@pytest.mark.parametrize(("make", "command", "more", "words"), WRITTEN, ids=["merge of captions", "tabular"])
def test_what_datumaro_cannot_write_is_told_with_item_and_cure(
    make, command: str, more: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*command.split(), make(tmp_path / "in"), *more.split()]) == 1
    [told] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert all(told.count(word) == 1 for word in words), told


def test_what_a_format_refuses_to_write_is_one_line_of_datum_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A merge whose format wants other subsets was a traceback."""
    monkeypatch.chdir(tmp_path)
    spec = coco(
        tmp_path / "in", {"id": 1, "image_id": 1, "category_id": 1, "area": 4, "iscrowd": 0, "bbox": [1, 1, 2, 2]}
    )
    assert cli.main(["merge", spec, "-f", "yolo_ultralytics", "-o", "out"]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("datum-clip: ")
    assert 'Subset "val" is not in' in last


def test_our_own_errors_are_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    """They tell what they come of; the disk's words stood there twice."""
    monkeypatch.chdir(tmp_path)
    spec = coco(
        tmp_path / "in", {"id": 1, "image_id": 1, "category_id": 1, "area": 4, "iscrowd": 0, "bbox": [1, 1, 2, 2]}
    )

    def full(*given: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x")

    monkeypatch.setattr(os, "fsync", full)
    words = ["export", "-i", spec, "-f", "clip_mmap", "-o", "out", "--", "--no-embed"]
    assert main(words) == 1
    assert caplog.messages[-1].count("No space left on device") == 1
    assert "make room" in caplog.messages[-1]
