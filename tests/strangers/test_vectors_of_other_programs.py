"""Vectors and keys as other programs write them: failed pictures' rows, other machines' names, no matrices."""

from __future__ import annotations

import pickle
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from datumaro.cli.__main__ import main
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from PIL import Image as Pictures
from pyarrow import parquet

from datumaro_clip.errors import DatumaroClipError, InvalidVectorError, OptionError
from datumaro_clip.host.precomputed import PrecomputedVectors


def vectors_for(directory: Path, keys: list[object], rows: np.ndarray | None = None) -> PrecomputedVectors:
    """A row of three for each key, in Parquet, as ids."""
    np.save(directory / "v.npy", np.eye(len(keys), 3) + 1 if rows is None else rows)
    parquet.write_table(pa.table({"id": pa.array(keys)}), directory / "k.parquet")
    return PrecomputedVectors(directory / "v.npy", directory / "k.parquet", "mine")


BAD_ROWS = [[0.0, 0.0, 0.0], [np.nan, 1.0, 1.0], [np.inf, 1.0, 1.0]]


@pytest.mark.parametrize("bad", BAD_ROWS, ids=str)
@pytest.mark.parametrize(("on_error", "left"), [("keep", ["a", "b", "c"]), ("skip", ["a", "c"])])
def test_one_row_without_direction_is_one_item_s_failure(
    bad: list[float], on_error: str, left: list[str], tmp_path: Path, caplog
) -> None:
    """The whole matrix was refused."""
    caplog.set_level("INFO")
    found = vectors_for(tmp_path, ["a", "b", "c"], np.array([[1.0, 2, 3], bad, [3, 2, 1]]))
    attached = list(found.attached([DatasetItem(name) for name in "abc"], on_error))
    assert [one.item.id for one in attached] == left
    assert [one.item.id for one in attached if one.embedding is not None] == ["a", "c"]
    assert "item 'b' (subset 'default'): row 1 of" in caplog.messages[0]
    assert caplog.messages[-1] == "attached 2 of 3 vectors; 0 items without one; 1 vectors without a direction"


def test_a_run_that_shall_fail_names_the_item(tmp_path: Path) -> None:
    found = vectors_for(tmp_path, ["a"], np.zeros((1, 3)))
    with pytest.raises(InvalidVectorError, match=r"item 'a'.*row 0 of .*v\.npy has no direction"):
        list(found.attached([DatasetItem("a")], "fail"))


def header(shape: str, descr: str = "'<f4'") -> bytes:
    told = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(told).to_bytes(2, "little") + told.encode()


def archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, vectors=np.eye(2), more=np.eye(2))


def saved(array: np.ndarray):
    return lambda path: np.save(path, array, allow_pickle=True)


FILES = {
    "empty": (Path.touch, "it is empty"),
    "npz": (archive, r"an archive of arrays \(.npz\); save a matrix"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps([1, 2])), "it is a pickle, which is never loaded"),
    "objects": (saved(np.array([["a"], [1]], object)), "cannot be read as a NumPy matrix"),
    "no zip": (lambda path: path.write_bytes(b"PK\x03\x04" + b"x" * 50), "cannot be read as a NumPy matrix"),
    "huge": (lambda path: path.write_bytes(header("(100000000000, 512)")), "cannot be read as a NumPy matrix"),
    "beyond": (lambda path: path.write_bytes(header("(1" + "0" * 30 + ", 9)")), "cannot be read as a NumPy matrix"),
    "negative": (lambda path: path.write_bytes(header("(-1, 3)")), "cannot be read as a NumPy matrix"),
    "no header": (lambda path: path.write_bytes(header("((((((")), "cannot be read as a NumPy matrix"),
    "cut": (lambda path: path.write_bytes(header("(2, 3)")[:40]), "cannot be read as a NumPy matrix"),
    "complex": (saved(np.ones((2, 3), complex)), "complex128, wanted real numbers"),
    "words": (saved(np.array([["a", "b"]])), "wanted real numbers"),
    "one row": (saved(np.ones(3)), r"v\.npy: wanted a matrix of shape \(N, D\), got shape \(3,\)"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_no_matrix_is_refused_in_one_sentence(kind: str, tmp_path: Path) -> None:
    make, words = FILES[kind]
    make(tmp_path / "v.npy")
    (tmp_path / "k.csv").write_text("id\na\nb\n")
    with pytest.raises(DatumaroClipError, match=words) as caught:
        PrecomputedVectors(tmp_path / "v.npy", tmp_path / "k.csv", "s")
    assert "\n" not in str(caught.value)


def test_a_cell_of_more_than_128_kib_is_told_as_such(tmp_path: Path) -> None:
    """It was told as quotation marks that do not match."""
    np.save(tmp_path / "v.npy", np.ones((1, 3)))
    (tmp_path / "k.csv").write_text("id,caption\na," + "x" * 140_000 + "\n")
    with pytest.raises(OptionError, match="line 2: a cell is longer than 131,072 characters"):
        PrecomputedVectors(tmp_path / "v.npy", tmp_path / "k.csv", "s")


def item(name: str, path: str | None = None) -> DatasetItem:
    return DatasetItem(name, media=Image.from_file(path or f"/here/in/{name}.jpg"))


@pytest.mark.parametrize(
    ("keys", "items"),
    [
        ([], []),
        (["/mnt/x/train/a.jpg", "/mnt/x/val/a.jpg"], [item("train/a"), item("val/a")]),
        (["/mnt/x/a.jpg"], [item("a")]),
        ([r"C:\data\train\a.jpg", r"C:\data\val\a.jpg"], [item("train/a"), item("val/a")]),
        ([r"train\a.jpg"], [item("train/a")]),
        ([unicodedata.normalize("NFD", "é")], [item("é")]),
        (["é"], [item(unicodedata.normalize("NFD", "é"))]),
        ([7, 12], [item("000007"), item("000012")]),
        (["007", "7"], [item("007"), item("7")]),
        ([b"a", "é".encode()], [item("a"), item("é")]),
    ],
)
def test_names_that_say_the_same_otherwise_fit(keys: list[object], items: list[DatasetItem], tmp_path: Path) -> None:
    found = vectors_for(tmp_path, keys)
    for number, one in enumerate(items):
        embedding = found.get(one)
        assert embedding is not None
        assert np.argmax(embedding.vector) == number


def test_what_may_be_two_is_not_guessed(tmp_path: Path) -> None:
    found = vectors_for(tmp_path, ["07", "007"])
    assert found.get(item("7")) is None


def test_three_of_the_keys_that_fit_nothing_are_named(tmp_path: Path, caplog) -> None:
    found = vectors_for(tmp_path, ["u", "a", "w", "x", "y"])
    list(found.attached([item("a")]))
    assert "4 of 5 keys fit no item, as 'u', 'w', 'x'; a key is" in caplog.messages[0]


def test_the_command_goes_on_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for name in "ab":
        Pictures.new("RGB", (8, 8)).save(f"in/{name}.png")
    vectors_for(tmp_path, ["a", "b"], np.array([[1.0, 0, 0], [0, 0, 0]]))
    words = ["transform", "-t", "clip_embed", "-f", "datumaro", "-o", "out", "in:image_dir", "--", "--space", "s"]
    assert main([*words, "--vectors", "v.npy", "--keys", "k.parquet", "--on-error", "skip"]) == 0
    assert [one.id for one in Dataset.import_from("out", "datumaro")] == ["a"]
    assert any("1 vectors without a direction" in message for message in caplog.messages)
