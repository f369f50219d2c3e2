"""A store says which model made its vectors; whoever wrote the store wrote that, too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datumaro_clip import cli
from datumaro_clip.model import hub, resolve
from datumaro_clip.model.loading import load_model
from datumaro_clip.store import Header, Record, create_store
from datumaro_clip.vectors import ItemKey, VectorSpace, unit_rows

DIMENSION = 64
NAMES = ["evil/model", "evil/model@main", "mine", "name:mine", "..", "openvino:tiny", "sha256:" + "0" * 64]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What a hub is asked for, or a directory looked at for; neither is done."""
    asked: list[object] = []
    monkeypatch.setattr(hub, "fetch", lambda wanted, **options: asked.append(wanted))
    monkeypatch.setattr(resolve, "fetch", lambda wanted, **options: asked.append(wanted))
    monkeypatch.setattr(resolve, "_from_directory", asked.append)
    return asked


@pytest.mark.parametrize("fingerprint", NAMES)
def test_search_loads_nothing_that_only_the_store_names(
    fingerprint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    asked: list[object],
) -> None:
    """A hub was asked with the user's token, and a directory of that name loaded from the working directory."""
    monkeypatch.chdir(tmp_path)
    if "/" not in fingerprint and fingerprint != "..":
        (tmp_path / fingerprint).mkdir()
    header = Header(space=VectorSpace(fingerprint, DIMENSION, "x"), precision="f32", device="CPU")
    with create_store(tmp_path / "store", "clip_mmap", header) as writer:
        vector = unit_rows(np.ones((1, DIMENSION)))[0]
        writer.add(Record(ItemKey("a", "train"), embedding=vector))
    assert cli.main(["search", "store", "a red hat"]) == 1
    assert "--model" in capsys.readouterr().err
    assert asked == []


def test_a_model_at_hand_is_found_by_its_space() -> None:
    space = load_model("tiny").space
    assert load_model(VectorSpace(space.fingerprint, space.dimension, "another/name")).space == space
