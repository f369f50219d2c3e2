"""Stores that are saved again: what changed is added, and where that would not do, all is written anew; media."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from datumaro.components import annotation as dm
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from stored_datasets import make_items, picture, read, stored, vector

from datumaro_clip.store import open_store
from datumaro_clip.testing.records import files_of
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE


def test_saving_in_place_writes_what_changed(kind: str, tmp_path: Path) -> None:
    """Added, changed, removed: one more segment, and not a byte of the first is touched."""
    items = make_items(30)
    path = stored(tmp_path / "store", kind, items)
    before = files_of(path)
    dataset = read(path)
    changed = dataset.get("item 4", "train")
    dataset.put(changed.wrap(attributes={**changed.attributes, "n": "new"}))
    dataset.put(DatasetItem("added", subset="test", media=picture(99), attributes={EMBEDDING_ATTRIBUTE: vector(99)}))
    dataset.remove("item 7", "val")
    dataset.save(save_media=True, no_embed=True)
    after = files_of(path)
    assert {name for name in before if after.get(name) != before[name]} == {f"{kind}.json"}
    back = read(path)
    assert len(back) == 30
    assert back.get("item 7", "val") is None
    assert back.get("item 4", "train").attributes["n"] == "new"
    assert back.get("added", "test").attributes[EMBEDDING_ATTRIBUTE] == vector(99)
    for item in items[8:]:
        assert back.get(item.id, item.subset) == item
    assert [len(segment.live) for segment in open_store(path).segments] == [28, 2]
    np.testing.assert_array_equal(dataset.get("item 4", "train").media.data, picture(4).data)


def test_saving_with_media_keeps_those_that_were_not_kept_before(kind: str, tmp_path: Path) -> None:
    """The pictures of a store without media are files elsewhere."""
    for number in range(4):
        picture(number).save(str(tmp_path / f"{number}.png"))
    items = [DatasetItem(f"i{n}", media=Image.from_file(str(tmp_path / f"{n}.png"))) for n in range(4)]
    path = tmp_path / "store"
    dataset = Dataset.from_iterable(items[:3])
    dataset.export(str(path), kind, no_embed=True)
    dataset = read(path)
    dataset.put(items[3])
    dataset.save(no_embed=True, save_media=True)
    for number in range(4):
        (tmp_path / f"{number}.png").unlink()
    for number, item in enumerate(read(path)):
        np.testing.assert_array_equal(item.media.data, picture(number).data)


def test_saving_with_another_compression_writes_anew(tmp_path: Path) -> None:
    path = stored(tmp_path / "store", "clip_hdf5", make_items(4))
    for compression, wanted in ((None, "none"), ("gzip", "gzip"), (None, "gzip")):
        dataset = read(path)
        dataset.put(DatasetItem(f"added for {compression} {wanted}", subset="train"))
        dataset.save(no_embed=True, compression=compression)
        assert open_store(path).header.compression == wanted


def test_a_picture_whose_data_were_not_kept_is_missing(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, again = tmp_path / "store", tmp_path / "again"
    Dataset.from_iterable([DatasetItem("a", media=picture(1))]).export(str(path), kind, no_embed=True)
    read(path).export(str(again), kind, no_embed=True, save_media=True)
    assert "1 media were to be saved" in caplog.text
    assert len(read(again)) == 1


def test_saving_where_everything_changed_writes_anew(kind: str, tmp_path: Path) -> None:
    """Every label renamed, and the vectors of another model: one segment, with the media that were there."""
    path = stored(tmp_path / "store", kind, make_items(4))
    dataset = read(path)
    dataset.transform("remap_labels", mapping={"cat": "tiger"})
    for i, item in enumerate(dataset):
        item.attributes[EMBEDDING_ATTRIBUTE] = vector(i, space="sha256:" + "8" * 64)
    dataset.save(no_embed=True)
    with open_store(path) as reader:
        reader.check()
        assert len(reader.segments) == 1
        assert reader.header.space.fingerprint == "sha256:" + "8" * 64
    for item in read(path):
        np.testing.assert_array_equal(item.media.data, picture(item.attributes["n"]).data)
        assert read(path).categories()[dm.AnnotationType.label][0].name == "tiger"


def test_a_store_read_and_exported_over_itself_stays_whole(kind: str, tmp_path: Path) -> None:
    """Reading is lazy, so the old one is there until the new one is."""
    items = make_items(4)
    path = stored(tmp_path / "store", kind, items)
    read(path).export(str(path), kind, no_embed=True)
    for item in items:
        assert read(path).get(item.id, item.subset) == item


def test_media_that_are_not_saved_are_referred_to(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Files by their path; pictures in memory and missing files are counted in the log."""
    picture(1).save(str(tmp_path / "a.png"))
    items = [
        DatasetItem("file", media=Image.from_file(str(tmp_path / "a.png"))),
        DatasetItem("memory", media=picture(2)),
        DatasetItem("gone", media=Image.from_file(str(tmp_path / "gone.png"), size=(3, 4))),
    ]
    with caplog.at_level(logging.WARNING):
        back = read(stored(tmp_path / "one", kind, items, save_media=False))
    assert "1 media live only in memory" in caplog.text
    assert not (tmp_path / "one/media").exists()
    assert back.get("file").media.path == str(tmp_path / "a.png")
    assert not back.get("memory").media.has_data
    with caplog.at_level(logging.WARNING):
        back = read(stored(tmp_path / "two", kind, items))
    assert "1 media were to be saved, but are not there" in caplog.text
    assert (back.get("gone").media.path, back.get("gone").media.size) == (str(tmp_path / "gone.png"), (3, 4))
    assert back.get("memory").media == items[1].media


def test_the_bytes_of_pictures_are_copied(kind: str, tmp_path: Path) -> None:
    """A JPEG is not decoded and encoded on its way."""
    picture(1).save(str(tmp_path / "a.jpg"))
    items = [DatasetItem("x", subset="train", media=Image.from_file(str(tmp_path / "a.jpg")))]
    path = stored(tmp_path / "store", kind, items)
    assert (path / "media/train/x.jpg").read_bytes() == (tmp_path / "a.jpg").read_bytes()
