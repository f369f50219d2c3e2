"""A user's mistakes at the command line: one sentence that names the cure, exit status 1, no traceback."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import run_command
from datumaro.components.annotation import Caption
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from embeddings import with_embeddings
from PIL import Image as Pictures

from datumaro_clip.curate.vector_options import EmbeddingOptions
from datumaro_clip.store import Header, Record, create_store
from datumaro_clip.vectors import ItemKey


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures") / "in"
    root.mkdir()
    for index in range(3):
        Pictures.fromarray(np.full((20, 20, 3), 60 * index, np.uint8)).save(root / f"{index}.png")
    return root


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("nowhere:image_dir", [], "nowhere"),
        ("in:no_such_format", [], "no_such_format"),
        ("in:image_dir", ["--model", "no/such/model", "--local-files-only"], "--model tiny"),
        ("in:image_dir", ["--model", "tiny", "--device", "GPU.7"], "CPU"),
        ("in:image_dir", ["--model", "tiny", "--prompt", "no place for the label"], "--prompt"),
        ("in:image_dir", ["--model", "tiny", "--store", "/proc/no/store"], "/proc/no/store"),
    ],
)
def test_mistake_is_answered_with_a_sentence(
    pictures: Path, tmp_path: Path, source: str, options: list[str], message: str
):
    done = run_command(
        *("datum", "transform", "-t", "clip_embed", "-o", tmp_path / "out", source, "--", "--cache", "off", *options),
        cwd=pictures.parent,
        HF_HUB_OFFLINE="1",
    )
    assert done.returncode == 1, done.stdout
    assert message in done.stdout
    assert "Traceback" not in done.stdout


def test_unknown_plugin_option_shows_the_usage(pictures: Path, tmp_path: Path):
    done = run_command(
        "datum", "transform", "-t", "clip_embed", "-o", tmp_path / "o", f"{pictures}:image_dir", "--", "--colour", "red"
    )
    assert done.returncode == 2
    assert "--colour" in done.stdout
    assert "Traceback" not in done.stdout


def test_empty_folder_is_no_dataset(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    done = run_command("datum", "export", "-i", tmp_path / "empty", "-f", "clip_hdf5", "-o", tmp_path / "out")
    assert done.returncode == 1
    assert "Failed to detect dataset format" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize("source", ["store", "store:clip_mmap"])
def test_a_damaged_store_is_answered_with_what_is_wrong_and_the_cure(source: str, tmp_path: Path):
    """Whether its format is named or found out."""
    with create_store(tmp_path / "store", "clip_mmap", Header()) as writer:
        writer.add(Record(ItemKey("a", "train")))
    with (tmp_path / "store/clip_mmap.json").open("a") as file:
        file.write("x")
    path, _, form = source.partition(":")
    named = ["-if", form] if form else []
    done = run_command("datum", "convert", "-i", path, *named, "-f", "coco", "-o", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert "clip_mmap.json contradicts its digest" in done.stdout
    assert "Restore the store from a copy, or export the dataset again" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_file_in_the_way_of_the_output_is_named_with_a_cure(pictures: Path, tmp_path: Path):
    (tmp_path / "out").write_text("mine")
    done = run_command(
        "datum",
        "export",
        "-i",
        f"{pictures}:image_dir",
        "-f",
        "clip_mmap",
        "-o",
        "out",
        "--",
        "--no-embed",
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert "out: File exists; it is in the way; name another place" in done.stdout
    assert (tmp_path / "out").read_text() == "mine"


def test_captions_that_are_cut_are_counted(caplog: pytest.LogCaptureFixture):
    """The model reads the beginning only, which a user should know of texts that end with what matters."""
    captions = [Caption("a red cup on a table"), Caption("a very " + "very " * 300 + "red cup")]
    item = DatasetItem("a", media=Image.from_numpy(np.zeros((9, 9, 3), np.uint8)), annotations=captions)
    list(with_embeddings([item], EmbeddingOptions(model="tiny", texts="captions", cache="off")))
    assert "Texts longer than the model reads, and cut: 1" in caplog.messages
