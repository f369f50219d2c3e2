"""``datum export``: convert's behaviour under the name that Datumaro dropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import run_forked
from datumaro.components.annotation import Bbox
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image

from datumaro_clip.host.sources import split_spec


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.full((8, 6, 3), 200, np.uint8)
    items = [
        DatasetItem(name, subset="train", media=Image.from_numpy(pixels), annotations=[Bbox(1, 1, 2, 3, label=0)])
        for name in ("a", "b")
    ]
    path = tmp_path_factory.mktemp("source") / "coco"
    Dataset.from_iterable(items, categories=["cat"]).export(str(path), "coco", save_media=True)
    return path


def test_path_alone_has_no_format():
    assert split_spec("some/where") == ("some/where", None)


@pytest.mark.parametrize("text", ["some/where:coco", "C:\\data:coco"])
def test_format_follows_the_last_colon(text: str):
    assert split_spec(text)[1] == "coco"


def test_existing_path_with_a_colon_is_a_path(tmp_path: Path):
    (tmp_path / "odd:coco").mkdir()
    assert split_spec(str(tmp_path / "odd:coco")) == (str(tmp_path / "odd:coco"), None)


def test_exports_in_another_format_with_its_arguments(coco: Path, tmp_path: Path):
    out = tmp_path / "out"
    done = run_forked("datum", "export", "-i", f"{coco}:coco", "-f", "yolo", "-o", out, "--", "--save-media")
    assert done.returncode == 0, done.stdout
    assert len(Dataset.import_from(str(tmp_path / "out"), "yolo")) == 2


def test_input_defaults_to_the_current_directory_and_its_format_is_detected(coco: Path, tmp_path: Path):
    out = tmp_path / "out"
    done = run_forked(
        "datum", "export", "-f", "datumaro", "-o", out, "-e", '/item[id="a"]', "--", "--save-media", cwd=coco
    )
    assert done.returncode == 0, done.stdout
    assert [item.id for item in Dataset.import_from(str(tmp_path / "out"), "datumaro")] == ["a"]


def test_output_that_is_there_is_kept_without_overwrite(coco: Path, tmp_path: Path):
    (tmp_path / "keep.txt").write_text("mine")
    done = run_forked("datum", "export", "-i", f"{coco}:coco", "-f", "datumaro", "-o", tmp_path)
    assert (done.returncode, (tmp_path / "keep.txt").read_text()) == (1, "mine")
    assert "pass --overwrite to overwrite" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-i", "nowhere:coco", "-f", "yolo"], "There is nothing at 'nowhere'"),
        (["-i", ".:coco", "-f", "nonsense"], "'nonsense' is not found"),
        (["-i", ".:nonsense", "-f", "yolo"], "nonsense"),
    ],
)
def test_mistakes_are_answered_with_a_sentence(arguments: list[str], message: str, tmp_path: Path):
    done = run_forked("datum", "export", *arguments, "-o", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stdout
    assert "Traceback" not in done.stdout
