"""``--overwrite`` is Datumaro's, about the output directory; the plugins' is ``--recompute``, about vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from datumaro.cli.__main__ import main
from PIL import Image

from datumaro_clip.curate.vector_options import EmbeddingOptions


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    Image.fromarray(np.arange(1200, dtype=np.uint8).reshape(20, 20, 3)).save("in/a.png")
    (tmp_path / "out/mine").touch()
    return tmp_path


def messages(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(caplog.messages)


@pytest.mark.parametrize("separator", [[], ["--"]])
def test_after_the_dataset_it_is_the_plugin_s_and_both_are_told(separator: list[str], place: Path, caplog) -> None:
    """Who follows 'pass --overwrite' and writes it last was refused again with the same words."""
    words = ["transform", "-t", "clip_embed", "-o", "out", "in:image_dir", *separator, "--overwrite"]
    assert main([*words, "--model", "tiny", "--cache", "off"]) == 1
    assert "--overwrite is now called --recompute" in messages(caplog)
    assert "write it before the dataset, as in 'datum transform --overwrite" in caplog.messages[-1]


@pytest.mark.parametrize("option", ["--recompute", "--overwrite"])
def test_both_names_compute_again(option: str, place: Path, caplog) -> None:
    words = ["convert", "--overwrite", "-i", "in", "-if", "image_dir", "-f", "clip_mmap", "-o", "store", "--"]
    assert main([*words, "--model", "tiny", "--cache", "off", option]) == 0
    assert messages(caplog).count("now called --recompute") == (option == "--overwrite")


@pytest.mark.parametrize(("given", "warned"), [({}, 0), ({"recompute": True}, 0), ({"overwrite": True}, 1)])
def test_python_takes_both_names(given: dict[str, bool], warned: int, caplog) -> None:
    assert EmbeddingOptions.among(given).recompute is bool(given)
    assert messages(caplog).count("overwrite is now called recompute") == warned
