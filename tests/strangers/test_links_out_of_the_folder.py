"""A picture that is a link out of its dataset's folder: its item's failure, never followed, and nobody else's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from datumaro.cli.__main__ import main as datum
from PIL import Image

from datumaro_clip.cli import main as datum_clip
from datumaro_clip.errors import OptionError
from datumaro_clip.host.sources import open_dataset
from datumaro_clip.store import open_store

MODEL = ["--model", "tiny", "--cache", "off"]
LINK = "it leads out of the dataset's folder and is not followed"


@pytest.fixture
def coco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """a.png; b.png, a link out; c/d.png, whose folder is one; e.png, a link to a.png."""
    monkeypatch.chdir(tmp_path)
    images, outside = tmp_path / "in/images/train", tmp_path / "outside"
    for folder in (images, outside, tmp_path / "in/annotations"):
        folder.mkdir(parents=True)
    Image.new("RGB", (8, 8), (200, 10, 10)).save(images / "a.png")
    for name in "bd":
        Image.new("RGB", (8, 8), (10, 200, 10)).save(outside / f"{name}.png")
    (images / "b.png").symlink_to(outside / "b.png")
    (images / "c").symlink_to(outside)
    (images / "e.png").symlink_to("a.png")
    write(tmp_path / "in", ["a.png", "b.png", "c/d.png", "e.png"])
    return tmp_path


def write(root: Path, names: list[str]) -> None:
    pictures = [{"id": n, "file_name": name, "width": 8, "height": 8} for n, name in enumerate(names, 1)]
    said = {"images": pictures, "annotations": [], "categories": [{"id": 1, "name": "cat", "supercategory": ""}]}
    (root / "annotations/instances_train.json").write_text(json.dumps(said))


@pytest.mark.parametrize(("on_error", "left"), [("keep", 4), ("skip", 2)])
def test_the_others_are_embedded(on_error: str, left: int, coco: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The import of all failed. Datumaro reads COCO's items in any order."""
    words = ["export", "-i", "in:coco", "-f", "clip_mmap", "-o", "out", "--", *MODEL, "--on-error", on_error]
    assert datum(words) == 0
    assert sorted(message for message in caplog.messages if LINK in message) == [
        f"Not embedded: item '{name}' (subset 'train'): {coco}/in/images/train/{name}.png: {LINK}; "
        "put the picture itself there"
        for name in ("b", "c/d")
    ]
    assert any("failed 2 (outside 2)" in message for message in caplog.messages)
    with open_store(coco / "out") as reader:
        assert (len(reader), reader.embedding_count) == (left, 2)


def test_a_run_that_shall_fail_names_the_link(coco: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(coco / "in", ["a.png", "b.png"])
    words = ["transform", "-t", "clip_embed", "-o", "out", "in:coco", "--", *MODEL, "--on-error", "fail"]
    assert datum(words) == 1
    assert [message for message in caplog.messages if LINK in message] == [caplog.messages[-1]]
    assert caplog.messages[-1].startswith(f"item 'b' (subset 'train'): {coco}/in/images/train/b.png: {LINK}")


@pytest.mark.parametrize("command", ["embed in:coco -o out", "merge in:coco -f clip_table -o out --save-media"])
def test_datum_clip_reads_it_likewise_and_copies_nothing_from_outside(command: str, coco: Path) -> None:
    more = [*MODEL, "--save-media"] if command.startswith("embed") else []
    assert datum_clip([*command.split(), *more]) == 0
    secret = (coco / "outside/b.png").read_bytes()
    written = [path.read_bytes() for path in (coco / "out").rglob("*") if path.is_file()]
    assert not any(secret in each for each in written)
    assert any((coco / "in/images/train/a.png").read_bytes() in each for each in written)


@pytest.mark.parametrize("name", ["../../../outside/b.png", "/etc/hostname", "c"])
def test_what_leads_out_by_its_name_still_fails_the_dataset(name: str, coco: Path) -> None:
    """A dataset that says so is hostile, or broken; so is one whose picture is a folder outside."""
    write(coco / "in", ["a.png", name])
    with pytest.raises(OptionError, match=r"not allowed|escapes base directory"):
        open_dataset("in:coco")


def test_datumaro_s_own_commands_still_refuse_it(coco: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert datum(["convert", "-i", "in", "-if", "coco", "-f", "voc", "-o", "out"]) == 1
    assert "escapes base directory" in caplog.messages[-1]
