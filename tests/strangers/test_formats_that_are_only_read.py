"""Transforms of datasets in a format that nothing writes, as a video: said before any work, and ``-f`` chooses one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from datumaro.cli.__main__ import main
from datumaro.components.dataset import Dataset
from PIL import Image


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A video of three frames, and a folder with a picture."""
    monkeypatch.chdir(tmp_path)
    video = cv2.VideoWriter("a.avi", cv2.VideoWriter.fourcc(*"MJPG"), 5, (32, 32))
    for level in (0, 100, 200):
        video.write(np.random.default_rng(level).integers(0, 255, (32, 32, 3), np.uint8))
    video.release()
    (tmp_path / "in").mkdir()
    Image.new("RGB", (40, 40), (1, 2, 3)).save(tmp_path / "in/a.png")
    return tmp_path


COMMANDS = [
    ["transform", "-t", "clip_clean", "-o", "out"],
    ["transform", "-t", "random_split", "-o", "out"],
    ["filter", "-e", "/item", "-o", "out"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0] + words[2])
def test_a_format_without_an_exporter_is_named_before_any_work(command: list[str], place: Path, caplog) -> None:
    """It was a KeyError when all was done."""
    assert main([*command, "a.avi:video_frames"]) == 1
    told = caplog.messages[-1]
    assert "reads the format 'video_frames' but does not write it: choose another with -f" in told
    assert "datumaro, coco, voc, yolo, image_dir, clip_hdf5, clip_mmap" in told
    assert not any("Transforming" in message or "Filtering" in message for message in caplog.messages)
    assert not Path("out").exists()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0] + words[2])
@pytest.mark.parametrize("form", ["datumaro", "image_dir"])
def test_the_option_chooses_the_format(command: list[str], form: str, place: Path) -> None:
    more = ["--", "--skip", "blank"] if "clip_clean" in command else []
    assert main([*command, "-f", form, "a.avi:video_frames", *more]) == 0
    assert len(Dataset.import_from("out", form)) == 3


def test_without_the_option_the_source_s_format_is_written(place: Path) -> None:
    assert main(["transform", "-t", "clip_clean", "-o", "out", "in:image_dir", "--", "--skip", "blank"]) == 0
    assert [path.name for path in Path("out").iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-f", "nope", "-o", "out"], "There is no output format 'nope'"),
        (["-f", "datumaro"], "'in' is of the format 'image_dir'; name another directory for -f with -o"),
        (["-f", "datumaro", "-o", "in", "--overwrite"], "name another directory for -f with -o"),
    ],
)
def test_what_cannot_be_written_is_refused(options: list[str], words: str, place: Path, caplog) -> None:
    assert main(["transform", "-t", "clip_clean", *options, "in:image_dir"]) == 1
    assert words in caplog.messages[-1]
    assert [path.name for path in Path("in").iterdir()] == ["a.png"]
