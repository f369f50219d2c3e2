"""The commands about models, as users type them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datumaro_clip.cli import main
from datumaro_clip.model.directory import read_manifest

pytestmark = pytest.mark.export


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATUMARO_CLIP_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Pictures in folders named after their class, one of them damaged."""
    folder = tmp_path_factory.mktemp("squares")
    rng = np.random.default_rng(0)
    for label in ("red", "blue"):
        (folder / label).mkdir()
        for index in range(8):
            picture = rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)
            Image.fromarray(picture).save(folder / label / f"{index}.png")
    (folder / "red" / "0.png").write_bytes(b"nonsense")
    return f"{folder}:imagenet"


def test_export_info_verify(
    random_clip: Path, dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    assert main(["model", "export", str(random_clip), "-o", out, "--precision", "bf16", "--calibrate", dataset]) == 0
    assert main(["model", "info", out]) == 0
    shown = capsys.readouterr().out
    assert "precision  bf16" in shown
    assert "mean_cosine" in shown
    assert main(["model", "verify", out]) == 0
    assert "7 files are what the manifest says" in capsys.readouterr().out
    with (tmp_path / "out" / "text_encoder.bin").open("r+b") as file:
        file.write(b"\xff\xff")
    assert main(["model", "verify", out]) == 1
    assert "text_encoder.bin was changed or damaged" in capsys.readouterr().err


def test_a_model_at_hand_is_known_by_its_name_and_by_its_space(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "info", "tiny"]) == 0
    shown = capsys.readouterr().out
    space = next(line.split()[1] for line in shown.splitlines() if line.startswith("space"))
    assert main(["model", "info", space]) == 0
    assert capsys.readouterr().out == shown
    assert main(["model", "verify", "tiny"]) == 0
    assert "files are what the manifest says" in capsys.readouterr().out


def test_an_export_is_refused_with_the_next_precision_unless_its_loss_is_accepted(
    random_clip: Path, dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --require the default applies; here it is one that nothing meets."""
    monkeypatch.setattr("datumaro_clip.cli.model.DEFAULT_REQUIREMENT", "mean_cosine>=0.99,mean_cosine>1.5")
    out = tmp_path / "out"
    command = ["model", "export", str(random_clip), "-o", str(out), "--calibrate", dataset, "--precision"]
    assert main([*command, "int8"]) == 1
    error = capsys.readouterr().err
    assert re.search(
        r"int8 on CPU, misses .*mean_cosine>1\.5 \(is 0\.9\d+\): export it as bf16, .*--accept-loss", error
    )
    assert not out.exists()
    assert main([*command, "bf16", "--require", "mean_cosine>=0.9"]) == 0
    shutil.rmtree(out)
    assert main([*command, "bf16", "--accept-loss"]) == 0
    assert (out / "certificate.json").exists()


def test_certify_exits_non_zero_when_the_requirement_is_missed(
    random_clip: Path, dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(shutil.copytree(random_clip, tmp_path / "model"))
    command = ["model", "certify", model, "--reference", str(random_clip), "--data", dataset, "--precision", "bf16"]
    assert main([*command, "--require", "mean_cosine>=0.99"]) == 0
    assert main([*command, "--require", "mean_cosine>1.5"]) == 1
    assert "misses mean_cosine>1.5" in capsys.readouterr().err
    certificate = json.loads((tmp_path / "model" / "certificate.json").read_text())
    assert (certificate["data"]["pictures"], certificate["data"]["classes"]) == (15, 2)


def test_list_shows_exports_made_before(random_clip_combined: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from datumaro_clip.model.resolve import resolve

    found = resolve(random_clip_combined)
    assert main(["model", "list"]) == 0
    assert str(found.path) in capsys.readouterr().out


def test_doctor_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for part in ("openvino ", "CPU (", "f32", "models at hand:", "caches below", "missing:"):
        assert part in shown


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["export", "MODEL", "-o", "OUT", "--precision", "int8"], "needs pictures and texts to calibrate on"),
        (["export", "/no/such", "-o", "OUT"], "there is no directory /no/such"),
        (["export", "MODEL", "-o", "MODEL"], "name another directory"),
        (["export", "MODEL", "-o", "OUT", "--require", "good"], "is no requirement"),
        (["export", "MODEL", "-o", "OUT", "--require", "goodness>=1"], "no metric is called goodness"),
        (["export", "MODEL", "-o", "OUT", "--require", "mean_cosine>=1"], "--require needs pictures to judge on"),
        (
            ["info", "/no/such"],
            "/no/such is no model directory, nor the name of a model at hand: datum-clip model list",
        ),
        (["certify", "MODEL", "--reference", "MODEL", "--data", "/no/such:coco"], "nothing at /no/such; check"),
    ],
)
def test_each_refusal_is_one_line(
    random_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    names = {"MODEL": str(random_clip), "OUT": str(tmp_path / "out")}
    assert main(["model", *(names.get(argument, argument) for argument in arguments)]) == 1
    error = capsys.readouterr().err
    assert re.search(complaint, error)
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()
    assert read_manifest(random_clip)
