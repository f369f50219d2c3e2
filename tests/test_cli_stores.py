"""``datum-clip inspect`` and ``verify``: what a store says of itself, and whether it is sound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datumaro.components.dataset_base import DatasetItem
from stored_datasets import SPACE, make_items, read, stored

from datumaro_clip.cli import inspect, main, verify
from datumaro_clip.errors import (
    StoreCorruptError,
)
from datumaro_clip.store import StoreReader, append_to_store, merge_stores, open_store
from datumaro_clip.vectors import ItemKey


def test_inspect_prints_the_facts(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = stored(tmp_path / "store", kind, [*make_items(2), DatasetItem("bare", subset="train")], dtype="float16")
    with append_to_store(path) as writer:
        writer.remove(ItemKey("item 1", "val"))
    assert inspect.run(_arguments(inspect, path)) == 0
    lines = capsys.readouterr().out.splitlines()
    printed = {line[:12].strip(): line[13:] for line in lines if line}
    assert printed["items"] == "2"
    assert printed["embeddings"] == "1"
    assert printed["dimension"] == "16"
    assert printed["dtype"] == "float16"
    assert printed["space"] == SPACE
    assert printed["precision"] == "f32"
    assert "item 0@train  norm 1.0000, shape (16,), 0 captions, 0 objects" in lines
    assert "bare@train  no vector, 0 captions, 0 objects" in lines


def test_verify_reads_every_block(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = stored(tmp_path / "store", kind, make_items(2))
    assert verify.run(_arguments(verify, path)) == 0
    assert "is sound: 2 items, 2 embeddings" in capsys.readouterr().out
    file = next(path.glob("segment-000001*"))
    file = file / "item_hash.npy" if file.is_dir() else file
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if kind == "clip_mmap" else content[:-1])
    with pytest.raises(StoreCorruptError):
        verify.run(_arguments(verify, path))


def _arguments(command: Any, path: Path) -> Any:
    import argparse

    parser = argparse.ArgumentParser()
    command.configure(parser)
    return parser.parse_args([str(path)])


def test_one_store_merged_alone_is_the_same_store(kind: str, tmp_path: Path) -> None:
    path = stored(tmp_path / "store", kind, make_items(3))
    assert merge_stores([path], tmp_path / "merged").items == 3
    with open_store(path) as one, open_store(tmp_path / "merged") as other:
        assert other.kind.name == kind
        assert list(other.embedding_keys()) == list(one.embedding_keys())


def test_items_whose_hashes_alone_are_equal_are_merged(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [stored(tmp_path / str(n), kind, make_items(4)[2 * n : 2 * n + 2]) for n in range(2)]
    monkeypatch.setattr(StoreReader, "key_hashes", property(lambda self: np.zeros(len(self), np.uint32)))
    assert merge_stores(paths, tmp_path / "merged")[1:] == (4, 0)


@pytest.mark.parametrize("on_repeat", ["first", "last"])
def test_the_repeated_row_is_left_out_wherever_it_is(kind: str, on_repeat: str, tmp_path: Path) -> None:
    items = make_items(5)
    parts = [items[0], items[1], items[2]], [items[3], items[4], items[1]]
    paths = [stored(tmp_path / name, kind, part) for name, part in zip("ab", parts, strict=True)]
    assert merge_stores(paths, tmp_path / "merged", on_repeat=on_repeat)[1:] == (5, 1)
    assert sorted(item.id for item in read(tmp_path / "merged")) == [f"item {n}" for n in range(5)]


def test_merge_makes_one_store_and_says_of_what(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pictures, annotations and vectors of both; which of two items with one id stays is to be said."""
    paths = [stored(tmp_path / name, kind, make_items(4)[part]) for name, part in (("a", slice(3)), ("b", slice(2, 4)))]
    words = ["store", "merge", *map(str, paths), "-o", str(tmp_path / "merged")]
    assert main(words) == 1
    assert "1 items are in several stores, as item 2@train" in capsys.readouterr().err
    assert main([*words, "--on-repeat", "first"]) == 0
    assert capsys.readouterr().out.endswith(
        "merged: 4 items of 2 stores; 1 items left out, whose id and subset another has\n"
    )
    assert main(["verify", str(tmp_path / "merged")]) == 0
    assert [item.id for item in read(tmp_path / "merged")] == [f"item {i}" for i in range(4)]
    assert all(item.media.data is not None for item in read(tmp_path / "merged"))
