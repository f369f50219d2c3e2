"""From a model's name to its directory on this machine: each route, and each refusal."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datumaro_clip.errors import DeviceNotFoundError, ModelFormatError, ModelNotFoundError, OptionError
from datumaro_clip.model.directory import read_manifest, write_manifest
from datumaro_clip.model.golden import GoldenVectors
from datumaro_clip.model.loading import load_model
from datumaro_clip.model.resolve import BUNDLED, find_by_space, resolve

pytestmark = pytest.mark.export


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of exports, and no default of the user's."""
    monkeypatch.setenv("DATUMARO_CLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DATUMARO_CLIP_MODEL", raising=False)
    return tmp_path / "cache"


def test_a_model_directory_is_taken_as_it_is(random_clip: Path, cache: Path) -> None:
    found = resolve(random_clip)
    assert (found.path, found.route) == (random_clip, "a model directory")
    assert not cache.exists()


def test_a_checkpoint_is_exported_once(
    random_clip_checkpoint: Path, random_clip: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    first = resolve(random_clip_checkpoint)
    assert first.path.parent == cache / "models"
    assert first.manifest.space == read_manifest(random_clip).space
    assert str(first.path) in caplog.text
    written = (first.path / "manifest.json").stat().st_mtime_ns
    assert resolve(str(random_clip_checkpoint)).path == first.path
    assert (first.path / "manifest.json").stat().st_mtime_ns == written


def test_a_damaged_export_is_made_again(random_clip_combined: Path) -> None:
    first = resolve(random_clip_combined)
    (first.path / "text_encoder.bin").unlink()
    assert resolve(random_clip_combined).manifest == first.manifest


def test_a_source_that_changed_is_read_anew(random_clip_combined: Path, tmp_path: Path) -> None:
    from datumaro_clip.model.resolve import source_key

    copy = shutil.copytree(random_clip_combined, tmp_path / "copy")
    before = source_key(copy)
    assert source_key(copy) == before
    os.utime(copy / "openvino_model.bin", ns=(1, 1))
    assert source_key(copy) != before


def test_two_processes_at_once_make_one_export(random_clip_combined: Path, cache: Path) -> None:
    program = "import sys; from datumaro_clip.model.resolve import resolve; print(resolve(sys.argv[1]).path)"
    command = [sys.executable, "-c", program, str(random_clip_combined)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in "ab"]
    answers = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    assert answers[0][0] == answers[1][0]
    made = [path.name for path in (cache / "models").iterdir() if not path.name.endswith(".lock")]
    assert len(made) == 1


def test_the_default_can_be_set(random_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATUMARO_CLIP_MODEL", str(random_clip))
    assert resolve().path == random_clip


def test_without_the_default_model_the_error_lists_the_ways_out() -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        resolve(local_files_only=True)
    message = str(caught.value)
    assert message.startswith("the model openai/clip-vit-base-patch32 cannot be had: ")
    assert "--local-files-only" in message
    assert "--model DIR" in message


def test_a_vector_space_finds_its_model(random_clip_combined: Path, random_clip: Path) -> None:
    space = read_manifest(random_clip).space
    with pytest.raises(ModelNotFoundError, match=space):
        find_by_space(space)
    exported = resolve(random_clip_combined)
    assert find_by_space(space).path == exported.path
    assert resolve(space).path == exported.path


@pytest.mark.parametrize("name", ["", "...", "a/b/c", "white space", "/no/such/directory"])
def test_what_can_be_no_model_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFoundError):
        resolve(name, local_files_only=True)


def test_a_directory_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    with pytest.raises(ModelNotFoundError, match="is none of: a model directory"):
        resolve(tmp_path / "pictures")


def test_a_directory_that_hides_a_bundled_model_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFoundError, match=r"directory .*tiny is none of: .* hides the bundled model"):
        resolve("tiny")


def test_a_model_of_a_later_version_is_refused(random_clip: Path, tmp_path: Path) -> None:
    later = shutil.copytree(random_clip, tmp_path / "later")
    values = json.loads((later / "manifest.json").read_text())
    (later / "manifest.json").write_text(json.dumps(values | {"format_version": 7}))
    with pytest.raises(ModelFormatError, match="has version 7"):
        resolve(later)


def test_no_device_is_taken_for_another(random_clip: Path) -> None:
    with pytest.raises(DeviceNotFoundError, match=r"there are: .*CPU"):
        load_model(random_clip, device="GPU.9")


def test_a_precision_that_cannot_be_had_is_refused(random_clip: Path) -> None:
    with pytest.raises(OptionError):
        load_model(random_clip, precision="int8")


@pytest.mark.parametrize("name", ["tokenizer.json", "preprocessor_config.json", "golden.npy"])
def test_files_that_decide_vectors_are_checked_when_a_model_is_loaded(
    random_clip: Path, tmp_path: Path, name: str
) -> None:
    changed = shutil.copytree(random_clip, tmp_path / "changed")
    data = bytearray((changed / name).read_bytes())
    data[-2] ^= 1
    (changed / name).write_bytes(data)
    with pytest.raises(ModelFormatError, match=f"{name} was changed or damaged"):
        load_model(changed)


@pytest.mark.parametrize("precision", ["f32", "bf16"])
@pytest.mark.parametrize("name", ["image_encoder.bin", "image_encoder.xml", "text_encoder.bin", "text_encoder.xml"])
def test_no_vector_comes_of_a_graph_with_one_other_byte(
    random_clip: Path, tmp_path: Path, name: str, precision: str
) -> None:
    """One bit of one weight gives vectors that look like any others."""
    changed = shutil.copytree(random_clip, tmp_path / "changed")
    data = bytearray((changed / name).read_bytes())
    data[len(data) // 2] ^= 1
    (changed / name).write_bytes(data)
    encoder = load_model(changed, precision=precision, self_check=False)
    asked = {
        "image": lambda: encoder.embed_images([np.zeros((32, 32, 3), np.uint8)]),
        "text": lambda: encoder.embed_texts(["a photo of a cat"]),
    }
    damaged = asked.pop(name.partition("_")[0])
    for _ in range(2):
        with pytest.raises(ModelFormatError, match=f"{name} was changed or damaged"):
            damaged()
    assert [whole().shape for whole in asked.values()] == [(1, 24)]


def test_a_model_is_loaded_by_its_directory(random_clip: Path) -> None:
    encoder = load_model(random_clip, precision="f32")
    golden = GoldenVectors.load(random_clip)
    assert encoder.space == read_manifest(random_clip).vector_space
    np.testing.assert_allclose(encoder.embed_texts(["a photo of a cat"])[0], golden.texts[0], atol=1e-5)


@pytest.mark.parametrize("revision", [None, "", "0123456789abcdef"])
def test_an_export_whose_commit_is_not_known_is_found_by_its_id(cache: Path, revision: object) -> None:
    export = shutil.copytree(BUNDLED / "tiny", cache / "models" / "someone-small")
    source = {"kind": "hub", "id": "someone/small", "revision": revision}
    write_manifest(export, replace(read_manifest(export), source=source))
    found = resolve("someone/small", local_files_only=True)
    assert found.path == export
    assert found.route == f"exported before, commit {str(revision or 'unknown')[:12]}"


def test_an_f32_form_is_preferred_by_its_space(random_clip_combined: Path) -> None:
    exported = resolve(random_clip_combined)
    other = shutil.copytree(exported.path, exported.path.with_name("newer"))
    write_manifest(other, replace(exported.manifest, precision="bf16"))
    assert find_by_space(exported.manifest.space).path == exported.path
