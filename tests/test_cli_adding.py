"""``datum-clip embed``, ``add`` and ``remove``: a store that grows and shrinks with its dataset."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from commands import run_forked
from datumaro.components import annotation as dm
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from stored_datasets import picture

from datumaro_clip.cli import main
from datumaro_clip.store import open_store
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.testing.records import files_of
from datumaro_clip.vectors import ItemKey

pytestmark = pytest.mark.usefixtures("encoder")


def dataset(path: Path, numbers: range, labels: tuple[str, ...] = ("cat", "dog"), label: int = 0) -> str:
    """A dataset on the disk, of pictures that their numbers draw."""
    items = [
        DatasetItem(str(n), subset="train", media=picture(n), annotations=[dm.Bbox(1, 1, 3, 3, label=label)])
        for n in numbers
    ]
    Dataset.from_iterable(items, categories=list(labels)).export(str(path), "datumaro", save_media=True)
    return f"{path}:datumaro"


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_embed_writes_a_store_and_shows_it(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = dataset(tmp_path / "source", range(4))
    assert run("embed", source, "-o", tmp_path / "store", "-f", kind, "--show", 2, "--save-media") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("store: 4 items, 4 embeddings")
    assert [line.split("  ")[0] for line in lines[1:]] == ["0@train", "1@train"]
    assert "norm 1.0000, shape (64,)" in lines[1]
    assert run("verify", tmp_path / "store") == 0
    before = files_of(tmp_path / "store")
    assert run("embed", source, "-o", tmp_path / "store", "-f", kind, "--save-media") == 0
    assert run("embed", dataset(tmp_path / "more", range(5)), "-o", tmp_path / "store", "-f", kind) == 1
    assert (
        "4 items already, which overwriting would delete; to add to it, use: datum-clip add" in capsys.readouterr().err
    )
    assert files_of(tmp_path / "store") == before


def test_add_adds_replaces_and_leaves(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], encoder: FakeEncoder
) -> None:
    """What is there costs no vector and changes no byte; what is changed or new is told."""
    store = tmp_path / "store"
    run("embed", dataset(tmp_path / "source", range(6)), "-o", store, "-f", kind, "--save-media")
    before, computed = files_of(store), encoder.pictures_computed
    grown = dataset(tmp_path / "grown", range(9))
    assert run("add", store, grown) == 0
    assert capsys.readouterr().out.endswith("store: 3 added, 0 changed, 6 left as they were\n")
    assert encoder.pictures_computed - computed == 3
    after = files_of(store)
    assert {name for name in before if after[name] != before[name]} == {f"{kind}.json"}
    with open_store(store) as reader:
        assert [key.id for key in list(reader.keys())] == [str(n) for n in range(9)]
        added = reader.record(8).payload["attributes"]["clip_added"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", added)
        assert "attributes" not in reader.record(0).payload
    for _ in range(2):
        assert run("add", store, grown) == 0
        assert capsys.readouterr().out.endswith("store: 0 added, 0 changed, 9 left as they were\n")
    assert files_of(store) == after


def test_objects_are_embedded_where_asked_for_and_added_where_the_store_has_some(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, cut = tmp_path / "store", ("--objects", "--min-side", 2)
    source = dataset(tmp_path / "source", range(4))
    assert run("embed", source, "-o", store, "-f", kind, "--save-media", "--show", 1, *cut) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("store: 4 items, 4 embeddings, 4 of objects")
    assert lines[1].endswith("0 captions, 1 objects")
    assert run("add", store, dataset(tmp_path / "grown", range(6)), *cut) == 0
    assert capsys.readouterr().out.endswith("store: 2 added, 0 changed, 4 left as they were\n")
    assert run("add", store, dataset(tmp_path / "larger", range(7)), "--min-side", 2) == 0
    with open_store(store) as reader:
        assert [len(record.objects) for record in reader.records()] == [1] * 7
    assert run("embed", source, "-o", tmp_path / "other", "--detector", "x") == 1
    assert "--detector goes with --objects" in capsys.readouterr().err


def test_another_picture_or_annotation_is_a_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is embedded anew; when the item was added stays."""
    store = tmp_path / "store"
    run("embed", dataset(tmp_path / "first", range(2)), "-o", store, "--save-media")
    run("add", store, dataset(tmp_path / "second", range(4)))
    with open_store(store) as reader:
        old = {record.key.id: record for record in reader.records()}
    changed = Dataset.import_from(str(tmp_path / "second"), "datumaro")
    changed.put(DatasetItem("2", subset="train", media=picture(99), annotations=changed.get("2", "train").annotations))
    changed.get("1", "train").annotations[0].label = 1
    changed.export(str(tmp_path / "third"), "datumaro", save_media=True)
    capsys.readouterr()
    assert run("add", store, f"{tmp_path / 'third'}:datumaro") == 0
    assert capsys.readouterr().out.endswith("store: 0 added, 2 changed, 2 left as they were\n")
    with open_store(store) as reader:
        new = {record.key.id: record for record in reader.records()}
        assert [key.id for key in list(reader.keys())] == ["0", "3", "1", "2"]
    for name, is_same in {"0": True, "1": True, "2": False, "3": True}.items():
        assert np.array_equal(old[name].embedding, new[name].embedding) is is_same
    assert new["2"].payload["attributes"] == old["2"].payload["attributes"]


def test_labels_are_matched_by_name(tmp_path: Path) -> None:
    """Numbers mean another class in another dataset: nothing is relabelled, and new classes come last."""
    store = tmp_path / "store"
    run("embed", dataset(tmp_path / "first", range(1), ("cat", "dog"), 1), "-o", store)
    assert run("add", store, dataset(tmp_path / "second", range(1, 3), ("bird", "dog"), 0)) == 0
    found = Dataset.import_from(str(store))
    names = [category.name for category in found.categories()[dm.AnnotationType.label].items]
    assert names == ["cat", "dog", "bird"]
    assert [names[item.annotations[0].label] for item in found] == ["dog", "bird", "bird"]


def test_remove_takes_out_what_is_named_or_all_else(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    store = tmp_path / "store"
    run("embed", dataset(tmp_path / "source", range(5)), "-o", store, "-f", kind)
    (tmp_path / "ids").write_text("# a person's list\n1@train\n\n3@train\nnobody@train\n")
    assert run("remove", store, "--ids", tmp_path / "ids") == 1
    assert "2 items removed" in capsys.readouterr().out
    assert "1 lines name no item of the store: nobody@train" in caplog.text
    (tmp_path / "kept").write_text('{"id": "4", "subset": "train"}\n')
    assert run("remove", store, "--except", tmp_path / "kept") == 0
    with open_store(store) as reader:
        assert list(reader.keys()) == [ItemKey("4", "train")]
    assert run("verify", store) == 0


def test_mistakes_are_answered_with_a_sentence(tmp_path: Path) -> None:
    for words, message in (
        (["add", "nowhere", "."], "there is no embedding store at nowhere"),
        (["remove", "nowhere"], "one of the arguments --ids --except is required"),
        (["embed", "nowhere", "-o", "store"], "there is nothing at nowhere"),
        (["embed", ".", "-o", "store", "--on-error", "maybe"], "maybe"),
    ):
        done = run_forked("datum-clip", *words, cwd=tmp_path)
        assert done.returncode != 0
        assert message in done.stdout
        assert "Traceback" not in done.stdout
