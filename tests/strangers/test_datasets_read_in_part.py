"""Pictures in folders that an importer does not look into, and tables that it takes for numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from datumaro.cli.__main__ import main as datum
from datumaro.components.dataset import Dataset
from PIL import Image

from datumaro_clip.cli import main as datum_clip
from datumaro_clip.curate.decisions import DecisionLog, write_decisions

MODEL = ["--model", "tiny", "--cache", "off"]
EMBED = ["transform", "-t", "clip_embed", "-f", "clip_table", "-o", "out"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def draw(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (200, 10, 10)).save(folder / name)


def test_pictures_in_folders_below(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The last line says how many there are, where, and what reads them."""
    draw(place / "in", "a.png", "cat/c.png", "cat/d.png", "cat/old/f.png", "dog/h.png", "pig/j.png")
    assert datum([*EMBED, "in:image_dir", "--", *MODEL]) == 0
    assert caplog.messages[-1] == (
        "5 pictures in folders below in are not read (cat, cat/old, dog and 1 more); "
        "in:imagenet reads them, with each folder as a label"
    )
    assert datum(["transform", "-t", "clip_embed", "-f", "clip_table", "-o", "all", "in:imagenet", "--", *MODEL]) == 0
    assert any(message.startswith("embedded 6,") for message in caplog.messages)
    assert "not read" not in caplog.messages[-1]


def test_pictures_above(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    draw(place / "in", "a.png", "train/cat/c.png")
    assert datum([*EMBED, "in:imagenet_with_subset_dirs", "--", *MODEL]) == 0
    assert caplog.messages[-1].startswith("1 pictures in folders below in are not read (.)")


@pytest.mark.parametrize(
    "command",
    ["embed in:image_dir -o out", "merge in:image_dir -f coco -o out", "decisions apply log in:image_dir -o out"],
)
def test_datum_clip_tells_it_too(command: str, place: Path, caplog: pytest.LogCaptureFixture) -> None:
    draw(place / "in", "a.png", "b/c.png")
    write_decisions(place / "log", DecisionLog("clip_x", {}, None, ()))
    assert datum_clip([*command.format("in:image_dir").split(), *(MODEL if command.startswith("embed") else [])]) == 0
    told = [message for message in caplog.messages if "are not read" in message]
    assert told == [
        "1 pictures in folders below in are not read (b); in:imagenet reads them, with each folder as a label"
    ]


@pytest.mark.parametrize("form", ["", ":tabular"])
def test_a_table_taken_for_numbers(form: str, place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As Datumaro detects it where the pictures are elsewhere."""
    (place / "in").mkdir()
    (place / "in/a.csv").write_text("image,caption\nx.png,a cup\ny.png,a mug\n")
    assert datum([*EMBED, f"in{form}", "--", *MODEL]) == 0
    assert "in is read as a table without pictures; in:clip_table has those that its columns name" in caplog.messages
    assert datum_clip(["embed", f"in{form}", "-o", "store", *MODEL]) == 0
    assert sum("is read as a table without pictures" in message for message in caplog.messages) == 2


def test_a_table_alone_is_not_detected_and_the_cure_says_how(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "a.csv").write_text("image\nx.png\n")
    assert datum_clip(["embed", "a.csv", "-o", "store"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].endswith("write it as PATH:FORMAT, a table as PATH:clip_table")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--count", "500"], ["clip_sample: --count asks for 500 items, and 3 are there"]),
        (["--count", "3"], []),
        (["--ratio", "1"], []),
        (["--count", "2", "--per-subset"], ["clip_sample: --count asks for 2 items, and 1 are there in b"]),
        (["--count", "9", "--strategy", "random"], ["clip_sample: --count asks for 9 items, and 3 are there"]),
    ],
)
def test_a_sample_of_more_than_there_are(options: list[str], told: list[str], place: Path, caplog) -> None:
    draw(place / "in", "a/cat/1.png", "a/cat/2.png", "b/cat/3.png")
    words = ["transform", "-t", "clip_sample", "-o", "out", "in:imagenet_with_subset_dirs", "--", *options, *MODEL]
    assert datum(words) == 0
    assert [message for message in caplog.messages if "--count asks" in message] == told


@pytest.mark.parametrize(
    "command", ["datum-clip embed in -o out", "datum transform -t clip_embed -f datumaro -o out in --"]
)
def test_a_folder_of_pictures_alone_needs_no_format(command: str, place: Path) -> None:
    """Two formats fit it, and Datumaro chooses none."""
    draw(place / "in", "a.png", "b.JPG")
    program, *args = [*command.split(), *MODEL]
    assert {"datum": datum, "datum-clip": datum_clip}[program](args) == 0
    assert len(Dataset.import_from("out")) == 2
