"""A kind of store of another package does everything that ours do, by an entry point alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from commands import run_command
from stored_datasets import make_items, stored

from datumaro_clip.errors import OptionError, StoreFormatError
from datumaro_clip.store import append_to_store, create_store, open_store, store_kind
from datumaro_clip.store.manifest import find_kind
from datumaro_clip.testing.records import HEADER, files_of

TOY = """
from pathlib import Path
from datumaro_clip.store.mmap import MmapKind

class ToyKind(MmapKind):
    name, title = "toy_store", "toy files"

    def segment_path(self, root: Path, name: str) -> Path:
        return root / f"{name}.toy"

KIND = ToyKind()
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables with a package that offers a kind called ``toy_store``."""
    site = tmp_path_factory.mktemp("site")
    (site / "toy-1.dist-info").mkdir()
    (site / "toy.py").write_text(TOY)
    (site / "toy-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1\n")
    (site / "toy-1.dist-info/entry_points.txt").write_text("[datumaro_clip.stores]\ntoy_store = toy:KIND\n")
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored(tmp_path_factory.mktemp("stored") / "source", "clip_mmap", make_items(3))


@pytest.fixture(scope="module")
def toy_store(environment: dict[str, str], source: Path) -> Path:
    """A store of that kind, exported by ``datum``; not to be changed."""
    target = source.with_name("toy_store")
    done = run_command(
        "datum", "export", "-i", f"{source}:clip_mmap", "-f", "toy_store", "-o", target,
        "--", "--no-embed", "--save-media", **environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return target


def test_datum_writes_finds_and_reads_it(
    toy_store: Path, source: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    assert (toy_store / "segment-000001.toy/embeddings.npy").exists()
    assert "toy_store" in run_command("datum", "detect", toy_store, **environment).stdout
    sound = run_command("datum-clip", "verify", toy_store, **environment)
    assert (sound.returncode, "3 items, 3 embeddings" in sound.stdout) == (0, True)
    back = run_command(
        *("datum", "convert", "-i", toy_store, "-f", "clip_mmap", "-o", tmp_path / "back"),
        *("--", "--no-embed", "--save-media"),
        **environment,
    )
    assert back.returncode == 0, back.stdout
    wanted, found = files_of(source), files_of(tmp_path / "back")
    assert {name for name in wanted if found.get(name) != wanted[name]} == set()


def test_its_help_is_its_own(environment: dict[str, str]) -> None:
    told = run_command("datum", "export", "-f", "toy_store", "-o", "x", "--", "-h", **environment)
    assert "to toy files" in " ".join(told.stdout.split())
    assert "--compression" not in told.stdout


@pytest.mark.parametrize("content", [b"", b"{}", b"[1, 2]", b'{"format":"clip_mmap","format_version":1}'])
def test_a_directory_of_other_json_holds_no_store(content: bytes, tmp_path: Path) -> None:
    """A file is a kind's manifest if it begins as one and has the kind's name."""
    (tmp_path / "report.json").write_bytes(content)
    assert find_kind(tmp_path) is None


def test_without_its_package_nothing_of_it_is_touched(toy_store: Path) -> None:
    """An installed kind must neither read it nor remove its files as leftovers."""
    before = files_of(toy_store)
    for begin in (open_store, append_to_store, lambda path: create_store(path, "clip_mmap", HEADER, overwrite=True)):
        with pytest.raises(StoreFormatError, match=r"toy_store\.json, of a kind of store that is not installed"):
            begin(toy_store)
    assert files_of(toy_store) == before
    with pytest.raises(OptionError, match="there is no store kind 'toy_store'; there are clip_hdf5, clip_mmap"):
        store_kind("toy_store")
