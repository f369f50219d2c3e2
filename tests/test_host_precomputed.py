"""Vectors computed elsewhere find their items, or the mismatch is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from pyarrow import parquet

from datumaro_clip.errors import InvalidVectorError, OptionError
from datumaro_clip.host.precomputed import PrecomputedVectors


def write(directory: Path, keys: str, rows: int = 2, name: str = "keys.csv") -> tuple[Path, Path]:
    np.save(directory / "v.npy", np.arange(1, rows * 3 + 1, dtype=np.float64).reshape(rows, 3))
    (directory / name).write_text(keys, encoding="utf-8")
    return directory / "v.npy", directory / name


def test_no_vectors_for_no_keys(tmp_path: Path):
    assert len(PrecomputedVectors(*write(tmp_path, "id\n", rows=0), "s")) == 0


@pytest.mark.parametrize(
    ("keys", "item"),
    [
        ("id\nx\nb\n", DatasetItem("b", subset="train")),
        ("id,subset\nb,val\nb,train\n", DatasetItem("b", subset="train")),
        ("image_path\nx.jpg\n./in/b.jpg\n", DatasetItem("b", media=Image.from_file("/data/in/b.jpg"))),
        ("image\nx.jpg\nb.jpg\n", DatasetItem("other", media=Image.from_file("/data/in/b.jpg"))),
    ],
)
def test_second_vector_goes_to_its_item_as_a_unit_row(tmp_path: Path, keys: str, item: DatasetItem):
    embedding = PrecomputedVectors(*write(tmp_path, keys), "mine").get(item)
    assert embedding is not None
    np.testing.assert_allclose(embedding.vector, np.array([4, 5, 6]) / np.sqrt(77), rtol=1e-6)
    assert embedding.space == "name:mine"


def test_parquet_keys_as_clip_retrieval_writes_them(tmp_path: Path):
    vectors, _ = write(tmp_path, "")
    parquet.write_table(pa.table({"image_path": ["a.jpg", "b.jpg"], "caption": ["", ""]}), tmp_path / "k.parquet")
    found = PrecomputedVectors(vectors, tmp_path / "k.parquet", "laion")
    assert found.get(DatasetItem("b", media=Image.from_file("b.jpg"))) is not None
    assert found.get(DatasetItem("c", media=Image.from_file("c.jpg"))) is None


def test_items_without_a_vector_stay_without_one_and_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    found = PrecomputedVectors(*write(tmp_path, "id\na\nb\n"), "s")
    assert [one.embedding is None for one in found.attached([DatasetItem("a"), DatasetItem("c")])] == [False, True]
    assert caplog.messages[-1] == "attached 1 of 2 vectors; 1 items without one"


def test_one_key_for_two_items_is_refused(tmp_path: Path):
    found = PrecomputedVectors(*write(tmp_path, "id\na\nb\n"), "s")
    found.get(DatasetItem("a", subset="train"))
    with pytest.raises(InvalidVectorError, match="fits a@train and a@val; add a column 'subset'"):
        found.get(DatasetItem("a", subset="val"))


@pytest.mark.parametrize(
    ("keys", "rows", "error", "message"),
    [
        ("id\na\n", 2, InvalidVectorError, "has 2 vectors, but .* names 1 items"),
        ("id\na\na\n", 2, InvalidVectorError, "names an item twice"),
        ("price\n1\n2\n", 2, OptionError, "no column that names items"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, keys: str, rows: int, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        PrecomputedVectors(*write(tmp_path, keys, rows), "s")


def test_pickled_arrays_are_refused(tmp_path: Path):
    np.save(tmp_path / "v.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "k.csv").write_text("id\na\n")
    with pytest.raises(OptionError, match="cannot be read as a NumPy matrix"):
        PrecomputedVectors(tmp_path / "v.npy", tmp_path / "k.csv", "s")


def test_space_needs_a_name(tmp_path: Path):
    with pytest.raises(OptionError, match="--space NAME"):
        PrecomputedVectors(*write(tmp_path, "id\na\nb\n"), "")
