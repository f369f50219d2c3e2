"""OpenCLIP's own code, optimum-cli and the library agree on what an OpenCLIP model computes, and on its space."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from datumaro_clip.model.directory import read_manifest, verify_files
from datumaro_clip.model.golden import GOLDEN_TEXTS, golden_pixels
from datumaro_clip.model.making.precision import Calibration, convert_precision
from datumaro_clip.model.openvino import OpenVINOEncoder
from datumaro_clip.model.resolve import resolve

pytestmark = pytest.mark.export

KINDS = ("plain", "timm")
PROGRAM = Path(__file__).with_name("openclip_reference.py")
#: open_clip_torch, timm and torchvision, where no other test finds them; ``make ci-venv`` makes it.
LIBRARIES = Path(sys.prefix) / "openclip"


@pytest.fixture(scope="module")
def made(random_clip_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the program makes; not to be changed."""
    if not LIBRARIES.is_dir():
        pytest.skip("needs OpenCLIP in a directory of the environment: make ci-venv")
    out = tmp_path_factory.mktemp("openclip-itself")
    command = [sys.executable, str(PROGRAM), str(random_clip_checkpoint / "tokenizer.json"), str(out)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(LIBRARIES), os.environ.get("PYTHONPATH", "")]),
        "HF_HUB_OFFLINE": "1",
    }
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return out


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, made: Path) -> Path:
    return made / str(request.param)


@pytest.fixture
def by_cli(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model directory that route 2 makes of optimum-cli's export."""
    monkeypatch.setenv("DATUMARO_CLIP_CACHE", str(tmp_path))
    return resolve(folder / "ir").path


def test_optimum_cli_and_the_library_give_one_space(folder: Path, by_cli: Path) -> None:
    ours, theirs = verify_files(folder / "model"), verify_files(by_cli)
    assert theirs.vector_space.fingerprint == ours.vector_space.fingerprint
    assert theirs.source["kind"] == "optimum"


@pytest.mark.parametrize("route", ["model", "ir"])
def test_vectors_are_those_of_openclip_itself(folder: Path, by_cli: Path, route: str) -> None:
    directory = folder / "model" if route == "model" else by_cli
    truth = np.load(folder / "truth.npz", allow_pickle=False)
    encoder = OpenVINOEncoder(directory, read_manifest(directory), precision="f32")
    images = encoder.submit_pixels(golden_pixels(encoder.preprocessing.size)).result()
    np.testing.assert_allclose(images, truth["images"], atol=2e-6)
    np.testing.assert_allclose(encoder.embed_texts(GOLDEN_TEXTS), truth["texts"], atol=2e-6)


@pytest.mark.parametrize("route", ["model", "ir"])
def test_pictures_are_cropped_where_openclip_crops_them(folder: Path, by_cli: Path, route: str) -> None:
    """One column beside, a picture with an odd margin has another vector."""
    directory = folder / "model" if route == "model" else by_cli
    truth = np.load(folder / "truth.npz", allow_pickle=False)
    encoder = OpenVINOEncoder(directory, read_manifest(directory), precision="f32")
    ours = encoder.embed_images([truth[f"picture-{n}"] for n in range(len(truth["cropped"]))])
    np.testing.assert_allclose(ours, truth["cropped"], atol=2e-6)


def test_int8_is_the_same_space(folder: Path, tmp_path: Path) -> None:
    pictures = list(golden_pixels((64, 64)))
    quantised = convert_precision(folder / "model", tmp_path / "int8", "int8", Calibration(pictures, GOLDEN_TEXTS))
    assert quantised.space == read_manifest(folder / "model").space
    encoder = OpenVINOEncoder(tmp_path / "int8", quantised)
    assert encoder.embed_texts(["a", "a photo of a cat"]).shape == (2, 24)
    assert encoder.embed_images(pictures[:3]).shape == (3, 24)
