"""What the commands tell programs: JSON alone on standard output, with the same facts as for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from datumaro.components.dataset_base import DatasetItem
from stored_datasets import SPACE, make_items, stored

from datumaro_clip.cli import main


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command that succeeds, and reads each line of its output as JSON."""

    def run(*words: object) -> list[Any]:
        assert main([*map(str, words), "--json"]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


@pytest.fixture
def store(tmp_path: Path, kind: str) -> Path:
    return stored(tmp_path / "store", kind, [*make_items(2), DatasetItem("bare", subset="train")])


def test_inspect(store: Path, kind: str, said: Any) -> None:
    [told] = said("inspect", store, "-n", "3")
    assert (told["path"], told["kind"], told["items"], told["embeddings"]) == (str(store), kind, 3, 2)
    assert told["subsets"] == {"train": 2, "val": 1}
    assert (told["dimension"], told["space"], told["precisions"]) == (16, SPACE, ["f32"])
    by_id = {item["id"]: item for item in told["first"]}
    assert by_id["item 1"] == {
        "id": "item 1", "subset": "val", "norm": 1.0, "shape": [16], "captions": 0, "objects": 0
    }  # fmt: skip
    assert (by_id["bare"]["norm"], by_id["bare"]["shape"]) == (None, None)


def test_inspect_of_a_store_without_vectors(tmp_path: Path, said: Any) -> None:
    [told] = said("inspect", stored(tmp_path / "store", "clip_mmap", []))
    assert (told["items"], told["space"], told["dimension"], told["first"]) == (0, None, None, [])


def test_verify(store: Path, said: Any) -> None:
    [told] = said("verify", store)
    assert (told["is_sound"], told["items"], told["embeddings"]) == (True, 3, 2)
    assert sum(told["media"].values()) >= 2


def test_cache_info(tmp_path: Path, said: Any) -> None:
    [told] = said("cache", "info", "--cache", tmp_path)
    assert told["vectors"] == 0
    assert Path(told["path"]).parent == tmp_path
    assert told["bytes"] <= told["max_bytes"]


@pytest.mark.parametrize("action", ["clear", "verify"])
def test_json_is_refused_where_it_would_be_ignored(action: str, tmp_path: Path) -> None:
    assert main(["cache", action, "--cache", str(tmp_path), "--json"]) == 1


def test_models(said: Any) -> None:
    models = {model["name"]: model for model in said("model", "list")}
    assert Path(models["tiny"]["path"]).is_dir()
    [told] = said("model", "info", "tiny")
    assert told["space"] == models["tiny"]["space"]
    assert told["bytes"] > 1e5
    assert told["certificate"] is None


def test_doctor(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datumaro_clip.cli.doctor.EXTRAS", {})
    [told] = said("doctor")
    assert list(told) == ["versions", "devices", "defaults", "models", "export", "caches", "missing"]
    assert told["devices"][0].startswith("CPU")
