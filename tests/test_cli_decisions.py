"""``datum-clip decisions make``: what the transform of the tool would decide."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from datumaro.components.dataset import Dataset
from small_datasets import copies

from datumaro_clip.cli import main
from datumaro_clip.curate.decisions import read_decisions
from datumaro_clip.curate.tools import MODULES
from datumaro_clip.embedding import ImageRequest
from datumaro_clip.errors import ImageError


def test_the_decisions_are_those_of_the_transform(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copies().export(str(tmp_path / "coco"), "coco", save_media=True)
    told = tmp_path / "made.jsonl"
    words = ["decisions", "make", "clip_dedup", f"{tmp_path / 'coco'}:coco", "-o", str(told)]
    assert main([*words, "--no-vectors", "--protect", "val", "--action", "mark"]) == 0
    assert "mark near_duplicate " in capsys.readouterr().out
    dataset = Dataset.import_from(str(tmp_path / "coco"), "coco")
    report = tmp_path / "report"
    dataset.transform("clip_dedup", no_vectors=True, protect=["val"], action="mark", report=str(report)).init_cache()
    assert told.read_bytes() == (report / "decisions.jsonl").read_bytes()
    assert read_decisions(told).options["action"] == "mark"


@pytest.mark.parametrize("tool", sorted(MODULES))
def test_every_tool_lists_its_options(tool: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["decisions", "make", tool, "--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "--protect NAME" in printed
    assert "--ray [ADDRESS]" in printed


def test_an_option_of_another_tool_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["decisions", "make", "clip_dedup", "x", "-o", "y", "--levles", "exact"])
    assert ended.value.code == 2
    assert "did you mean --levels?" in capsys.readouterr().err


def test_workers_of_other_processes_take_the_picture_along() -> None:
    """A function that gives a picture may not travel; what it gives does, and so does its failure."""
    pixels = np.zeros((2, 2, 3), np.uint8)
    sent = pickle.loads(pickle.dumps(ImageRequest(lambda: pixels, (0, 0, 1, 1))))
    np.testing.assert_array_equal(sent.fetch(), pixels)
    assert sent.box == (0, 0, 1, 1)

    def gone() -> np.ndarray:
        raise ImageError("missing", "there is no such file")

    with pytest.raises(ImageError, match="there is no such file"):
        pickle.loads(pickle.dumps(ImageRequest(gone))).fetch()
