"""A manifest is checked before any file that it names is opened."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from datumaro_clip.errors import ModelFormatError
from datumaro_clip.model.directory import (
    REQUIRED_FILES,
    ModelManifest,
    _digest,
    describe_files,
    read_manifest,
    verify_files,
    write_manifest,
)
from datumaro_clip.texts import TextSettings


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A directory whose files are not those of a model, but whose manifest describes them truly."""
    directory = tmp_path / "model"
    directory.mkdir()
    for name in REQUIRED_FILES:
        (directory / name).write_text(f"contents of {name}")
    manifest = ModelManifest(
        name="someone/model",
        family="clip",
        space="sha256:" + "0" * 64,
        dimension=4,
        precision="f32",
        image_size=(32, 48),
        text=TextSettings(77, "longest", 0),
        source={"kind": "checkpoint"},
        versions={"openvino": "1"},
        files=describe_files(directory),
    )
    write_manifest(directory, manifest)
    return directory


TEXT = {"context_length": 77, "padding": "longest", "pad_id": 0}


def edit(directory: Path, **changes: Any) -> None:
    path = directory / "manifest.json"
    values = {**json.loads(path.read_text()), **changes}
    # As somebody would who knows that there is a digest.
    path.write_text(json.dumps({**values, "digest": _digest(values)}))


def test_what_is_written_is_read_back(model: Path) -> None:
    manifest = verify_files(model)
    write_manifest(model, manifest)
    assert read_manifest(model) == manifest
    assert manifest.vector_space.dimension == 4
    assert list(json.loads((model / "manifest.json").read_text())) == [
        "format", "format_version", "name", "family", "space", "dimension", "precision", "image_size", "text",
        "source", "versions", "files", "digest",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"format": "other"}, "is not the manifest of a model"),
        ({"format_version": 2}, "has version 2, this release reads version 1"),
        ({"format_version": None}, "has version None"),
        ({"precision": "int3"}, "has precision 'int3'"),
        ({"space": "name:mine"}, "describes no vector space"),
        ({"space": "sha256:0"}, "describes no vector space"),
        ({"dimension": "many"}, "dimension 'many' is no whole number"),
        ({"dimension": 0}, "dimension 0 is no whole number"),
        ({"dimension": True}, "dimension True is no whole number"),
        ({"dimension": 4.0}, r"dimension 4\.0 is no whole number"),
        ({"dimension": 10**9}, "dimension 1000000000 is no whole number from 1 to 65536"),
        ({"image_size": [32, 10**6]}, "width 1000000 is no whole number from 1 to 2048"),
        ({"image_size": [-1, 32]}, "height -1 is no whole number"),
        ({"name": "a\x1b[31m"}, "name .* is no line of text"),
        ({"name": 7}, "name '7' is no line of text"),
        ({"family": "x" * 2000}, "family .* is no line of text"),
        ({"source": {"note": ["a"]}}, "note .* is no line of text"),
        ({"versions": {"openvino": 1}}, "openvino '1' is no line of text"),
        ({"text": TEXT | {"context_length": 0}}, "context_length 0"),
        ({"text": TEXT | {"context_length": 10**9}}, "context_length 1000000000"),
        ({"text": TEXT | {"context_length": "77"}}, "context_length '77'"),
        ({"text": TEXT | {"pad_id": -1}}, "pad_id -1"),
        ({"text": TEXT | {"padding": "shortest"}}, "padding 'shortest'"),
        ({"text": TEXT | {"lowercase": 1}}, "lowercase 1"),
        ({"text": TEXT | {"attention_mask": None}}, "attention_mask None"),
        ({"image_size": 32}, "cannot be used"),
        ({"text": {"context_length": 77}}, "text settings cannot be used"),
        ({"files": {"../evil": {"size": 1, "sha256": ""}}}, "may lie outside"),
        ({"files": {"/etc/passwd": {"size": 1, "sha256": ""}}}, "may lie outside"),
        ({"files": {"a": {"size": -1, "sha256": ""}}}, "size -1 is no whole number"),
        ({"files": {}}, "does not name image_encoder.xml"),
        ({"files": []}, "cannot be used"),
    ],
)
def test_a_manifest_that_cannot_be_trusted_is_refused(model: Path, changes: dict[str, Any], complaint: str) -> None:
    edit(model, **changes)
    with pytest.raises(ModelFormatError, match=complaint):
        read_manifest(model)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00"])
def test_what_is_no_manifest_is_refused(model: Path, text: str) -> None:
    (model / "manifest.json").write_text(text)
    with pytest.raises(ModelFormatError):
        read_manifest(model)


def test_an_unknown_version_is_named_before_anything_else_is_looked_at(model: Path) -> None:
    edit(model, format_version=9, files="nonsense", text=None)
    with pytest.raises(ModelFormatError, match="version 9"):
        read_manifest(model)


@pytest.mark.parametrize("name", REQUIRED_FILES)
def test_a_missing_file_is_named(model: Path, name: str) -> None:
    (model / name).unlink()
    with pytest.raises(ModelFormatError, match=f"{name} is missing"):
        read_manifest(model)


def test_a_file_of_another_size_is_found_without_reading_it(model: Path) -> None:
    (model / "text_encoder.bin").write_text("short")
    with pytest.raises(ModelFormatError, match="has 5 bytes"):
        read_manifest(model)


def test_a_file_with_one_other_byte_is_found_by_its_digest(model: Path) -> None:
    data = bytearray((model / "image_encoder.bin").read_bytes())
    data[0] ^= 1
    (model / "image_encoder.bin").write_bytes(data)
    assert read_manifest(model)
    verify_files(model, ["tokenizer.json"])
    with pytest.raises(ModelFormatError, match=r"image_encoder\.bin was changed or damaged"):
        verify_files(model)


def test_a_model_may_be_moved(model: Path, tmp_path: Path) -> None:
    """No path of the machine that made it stands in the manifest."""
    shutil.move(model, tmp_path / "elsewhere")
    assert str(tmp_path) not in (tmp_path / "elsewhere" / "manifest.json").read_text()
    verify_files(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("old", "new"),
    [('"context_length": 77', '"context_length": 76'), ('"dimension": 4', '"dimension": 5'), ("someone", "sometwo")],
)
def test_a_manifest_that_was_changed_is_refused(model: Path, old: str, new: str) -> None:
    """Another context length gave other vectors of texts in the same space, and nothing was said."""
    path = model / "manifest.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ModelFormatError, match=r"manifest\.json was changed"):
        read_manifest(model)


def test_a_manifest_of_an_older_release_has_no_digest_and_is_read(model: Path) -> None:
    path = model / "manifest.json"
    sealed = read_manifest(model)
    values = json.loads(path.read_text())
    del values["digest"]
    path.write_text(json.dumps(values))
    assert read_manifest(model) == sealed
    assert [sealed.is_sealed, read_manifest(model).is_sealed] == [True, False]
