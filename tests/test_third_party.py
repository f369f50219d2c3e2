"""Somebody else's package, built as a wheel and installed: what it offers is used, with nothing of ours changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from commands import run_command
from PIL import Image

from datumaro_clip.errors import PluginError
from datumaro_clip.model import loading
from datumaro_clip.system import entry_points
from datumaro_clip.testing import FakeEncoder

PACKAGE = Path(__file__).parent / "third_party"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the package installed from its wheel."""
    wheels, site = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    subprocess.run([*pip, "wheel", *offline, "--no-build-isolation", "-w", wheels, PACKAGE], check=True)
    subprocess.run([*pip, "install", *offline, "--target", site, *wheels.glob("*.whl")], check=True)
    return site


@pytest.fixture
def environment(site: Path, tmp_path: Path) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))
    return {"PYTHONPATH": path, "DATUMARO_CLIP_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, colour in (("rose", (250, 10, 10)), ("leaf", (10, 250, 10)), ("sea", (10, 10, 250))):
        Image.new("RGB", (40, 30), colour).save(folder / f"{name}.png")
    return folder


def test_its_encoder_embeds_and_searches(environment: dict[str, str], pictures: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    done = run_command(
        "datum", "transform", "-t", "clip_embed", "-o", tmp_path / "out", f"{pictures}:image_dir",
        "--", "--model", "toy", "--store", store, **environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "embedded 3" in done.stdout
    assert "model toy/colours" in done.stdout
    found = run_command("datum-clip", "search", store, "a blue thing", "--model", "toy", "-k", "1", **environment)
    assert found.returncode == 0, found.stdout
    assert found.stdout.split()[1] == "sea"


def test_a_store_of_its_vectors_asks_for_its_name(environment: dict[str, str], pictures: Path, tmp_path: Path) -> None:
    """What a store says of its model is data: no encoder is loaded because a file names it."""
    store = tmp_path / "store"
    arguments = ["-f", "clip_hdf5", "-o", store, "--", "--model", "toy:4"]
    done = run_command("datum", "export", "-i", f"{pictures}:image_dir", *arguments, **environment)
    assert done.returncode == 0, done.stdout
    found = run_command("datum-clip", "search", store, "blue", **environment)
    assert found.returncode == 1
    assert "--model" in found.stdout
    other = run_command("datum-clip", "search", store, "blue", "--model", "toy", **environment)
    assert other.returncode == 1
    assert "cannot be compared" in other.stdout


def test_its_contract_tests_pass(environment: dict[str, str]) -> None:
    done = run_command(
        "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", PACKAGE / "contracts.py", **environment
    )
    assert done.returncode == 0, done.stdout


def test_model_list_shows_it(environment: dict[str, str]) -> None:
    listed = run_command("datum-clip", "model", "list", **environment)
    assert listed.returncode == 0, listed.stdout
    assert "toy" in [line.split()[0] for line in listed.stdout.splitlines()]


def test_an_encoder_of_the_callers_own_is_taken_as_an_object(pictures: Path, tmp_path: Path) -> None:
    from datumaro.components.dataset import Dataset

    encoder = FakeEncoder(dimension=32)
    dataset = Dataset.import_from(str(pictures), "image_dir")
    dataset.transform("clip_embed", model=encoder, cache=str(tmp_path / "cache"))
    assert [len(item.attributes["clip_embedding"]) for item in dataset] == [32, 32, 32]
    assert encoder.pictures_computed == 3
    assert loading.load_model(encoder) is encoder


def offer(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    """Let packages offer objects as encoders, all of one name."""
    offered = [EntryPoint("mine", value, loading.GROUP) for value in values]
    monkeypatch.setattr(entry_points, "entry_points", lambda group: offered)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["no_such_package:load"], "ModuleNotFoundError"),
        (["datumaro_clip.testing:nothing"], "AttributeError"),
        (["builtins:list"], "TypeError: list expected"),
        (["json:loads", "json:dumps"], "both json:loads and json:dumps offer 'mine'"),
    ],
)
def test_what_cannot_be_used_is_named(values: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, *values)
    with pytest.raises(PluginError, match=message):
        loading.load_model("mine")


def test_what_is_no_encoder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "give", lambda name, options: {"name": name}, raising=False)
    offer(monkeypatch, "json:give")
    with pytest.raises(PluginError, match=r"of type dict, wanted a datumaro_clip\.Encoder"):
        loading.load_model("mine:one")


def test_a_directory_of_that_name_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user's own directory is not hidden by a package that was installed later."""
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    offer(monkeypatch, "json:loads")
    with pytest.raises(PluginError, match="not installed as a package"):
        loading.load_model("mine")


def test_its_store_is_exported_converted_and_searched(
    environment: dict[str, str], pictures: Path, tmp_path: Path
) -> None:
    """A kind of store that nothing of ours knows, with vectors of an encoder that nothing of ours knows."""
    store = tmp_path / "store"
    arguments = ["-f", "toy_store", "-o", store, "--", "--model", "toy", "--save-media"]
    done = run_command("datum", "export", "-i", f"{pictures}:image_dir", *arguments, **environment)
    assert done.returncode == 0, done.stdout
    assert len(list(store.rglob("embeddings.raw"))) == 1
    assert "toy_store" in run_command("datum", "detect", store, **environment).stdout
    assert run_command("datum-clip", "verify", store, **environment).returncode == 0
    found = run_command("datum-clip", "search", store, "a green thing", "--model", "toy", "-k", "1", **environment)
    assert found.stdout.split()[1] == "leaf"
    arguments = ["-f", "clip_mmap", "-o", tmp_path / "again", "--", "--model", "toy", "--save-media"]
    done = run_command("datum", "convert", "-i", store, *arguments, **environment)
    assert done.returncode == 0, done.stdout
    again = run_command("datum-clip", "search", tmp_path / "again", "green", "--model", "toy", "-k", "1", **environment)
    assert again.stdout.split()[1] == "leaf"
