"""The cache of exports: only finished exports count, and no other process's files are removed."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from datumaro_clip.errors import ModelFormatError, ModelNotFoundError
from datumaro_clip.model.directory import MANIFEST, read_manifest, write_manifest
from datumaro_clip.model.resolve import BUNDLED, cached_export, exports_root, local_models, resolve
from datumaro_clip.system.files import atomic_directory, temporary_sibling

TINY = BUNDLED / "tiny"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of exports."""
    monkeypatch.setenv("DATUMARO_CLIP_CACHE", str(tmp_path))
    return exports_root()


def make(path: Path) -> None:
    shutil.copytree(TINY, path, dirs_exist_ok=True)


def of_version(path: Path, version: object) -> Path:
    """An export whose manifest has another version."""
    make(path)
    values = json.loads((path / MANIFEST).read_text()) | {"format_version": version}
    (path / MANIFEST).write_text(json.dumps(values))
    return path


def must_not_be_called(path: Path) -> None:
    pytest.fail(f"{path} was made again")


def paths() -> list[Path]:
    return [model.path for model in local_models()]


def test_there_is_nothing_in_a_cache_that_is_not_there(root: Path) -> None:
    assert not root.exists()
    assert paths() == []


def test_the_newest_export_comes_first(root: Path) -> None:
    for name, second in (("old", 1), ("newest", 3), ("new", 2)):
        make(root / name)
        os.utime(root / name, (second, second))
    assert [path.name for path in paths()] == ["newest", "new", "old"]


def test_what_another_process_has_not_finished_is_no_model(root: Path) -> None:
    """All its files are there, but it has not been renamed: it would vanish while it is used."""
    with atomic_directory(root / "x") as unfinished:
        make(unfinished)
        source = {"kind": "hub", "id": "someone/small", "revision": "0123"}
        write_manifest(unfinished, replace(read_manifest(unfinished), source=source))
        assert paths() == []
        with pytest.raises(ModelNotFoundError, match="someone/small is not on this machine"):
            resolve("someone/small", local_files_only=True)
    assert paths() == [root / "x"]
    assert resolve("someone/small", local_files_only=True).path == root / "x"


def test_an_export_that_is_removed_meanwhile_is_passed_over(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the moments when it is listed, looked at and read."""
    make(root / "stays")
    gone, is_dir = root / "gone", Path.is_dir
    listed = [*root.iterdir(), gone]
    monkeypatch.setattr(Path, "iterdir", lambda path: iter(listed))
    monkeypatch.setattr(Path, "is_dir", lambda path: path == gone or is_dir(path))
    assert paths() == [root / "stays"]


def test_a_file_that_is_removed_while_it_is_looked_at_is_missing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(root / "x")
    (root / "x" / "golden.npy").unlink()
    is_file = Path.is_file
    monkeypatch.setattr(Path, "is_file", lambda path: path.name == "golden.npy" or is_file(path))
    with pytest.raises(ModelFormatError, match=r"golden.npy is missing"):
        read_manifest(root / "x")
    assert paths() == []


def test_an_export_of_a_newer_release_stays(root: Path) -> None:
    newer = of_version(root / "x", 2)
    before = {path.name: path.read_bytes() for path in newer.iterdir()}
    with pytest.raises(ModelFormatError, match=r"x was made by a newer release.*update datumaro-clip, or set DATUMARO"):
        cached_export("x", must_not_be_called)
    assert {path.name: path.read_bytes() for path in newer.iterdir()} == before
    assert paths() == []


@pytest.mark.parametrize("version", [None, "2", 0, True])
def test_an_export_whose_version_is_none_of_any_release_is_made_again(root: Path, version: object) -> None:
    of_version(root / "x", version)
    assert read_manifest(cached_export("x", make))


def test_what_a_killed_process_left_is_removed_when_its_target_is_made(root: Path) -> None:
    """Temporaries of other targets may be at work, under locks of their own."""
    stale = [temporary_sibling(root / "x") for _ in range(2)]
    others = [temporary_sibling(root / name) for name in ("x.y", "y", "x-1")]
    for path in (*stale, *others):
        make(path)
    cached_export("x", make)
    assert [path for path in stale if path.exists()] == []
    assert [path for path in others if not path.exists()] == []


def test_temporaries_beside_a_finished_export_are_not_touched(root: Path) -> None:
    """Who finds an export whole takes no lock."""
    make(root / "x")
    stale = temporary_sibling(root / "x")
    make(stale)
    assert cached_export("x", must_not_be_called) == root / "x"
    assert stale.exists()
