"""``clip_hdf5`` and ``clip_mmap`` as Datumaro's formats: export, import, detect."""

from __future__ import annotations

import copy
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datumaro.components import annotation as dm
from datumaro.components.dataset import Dataset, StreamDataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.environment import Environment
from datumaro.components.errors import DatasetImportError, DatasetNotFoundError
from datumaro.components.media import Image
from stored_datasets import make_dataset, make_items, picture, read, stored, vector

import datumaro_clip
from datumaro_clip.errors import (
    InvalidVectorError,
    OptionError,
    SpaceMismatchError,
    StoreCorruptError,
    StoreFormatError,
    StoreWriteError,
)
from datumaro_clip.host import formats
from datumaro_clip.store import open_store
from datumaro_clip.testing.records import files_of
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE


def test_a_dataset_comes_back_whole(kind: str, tmp_path: Path) -> None:
    """Detected, and equal: items, vectors, attributes, annotations, categories, infos, pictures."""
    items = make_items(5)
    back = read(stored(tmp_path / "store", kind, items))
    assert back.format == kind
    assert len(back) == 5
    for item in items:
        found = back.get(item.id, item.subset)
        assert found == item
        assert [a.attributes for a in found.annotations] == [a.attributes for a in item.annotations]
    assert (back.infos(), back.categories()) == ({"by": "us"}, make_dataset([]).categories())
    assert sorted(back.subsets()) == ["train", "val"]
    assert {subset: len(part) for subset, part in back.subsets().items()} == {"train": 3, "val": 2}


def test_an_empty_dataset_is_a_store(kind: str, tmp_path: Path) -> None:
    back = read(stored(tmp_path / "store", kind, []))
    assert (len(back), list(back), back.format) == (0, [], kind)


def test_a_store_can_be_moved(kind: str, tmp_path: Path) -> None:
    """Saved media are found from where the store is, not from where it was."""
    items = make_items(2)
    stored(tmp_path / "store", kind, items)
    shutil.move(tmp_path / "store", tmp_path / "elsewhere")
    for item in items:
        assert read(tmp_path / "elsewhere").get(item.id, item.subset) == item


HARD = [
    dm.RotatedBbox(1, 2, 3, 4, 30, label=1, z_order=2),
    dm.DepthAnnotation(Image.from_numpy(np.arange(12, dtype=np.uint8).reshape(3, 4)), attributes={"unit": "mm"}),
    dm.SuperResolutionAnnotation(picture(9)),
    dm.Tabular({"price": 1.5, "name": "ü"}),
    dm.Cuboid2D([(float(i), i + 0.5) for i in range(8)], y_3d=1.0),
    dm.Cuboid3d([1, 2, 3]),
    dm.Ellipse(1, 2, 3, 4),
    dm.Mask(np.eye(5, dtype=bool), label=1),
    dm.ExtractedMask(np.arange(9).reshape(3, 3) % 2, index=1, label=1),
]


@pytest.mark.parametrize("save_media", [True, False])
def test_annotations_that_general_formats_refuse_come_back(kind: str, tmp_path: Path, save_media: bool) -> None:
    item = DatasetItem("a", subset="train", annotations=HARD, attributes={"array": np.arange(3), "bytes": b"\0"})
    back = read(stored(tmp_path / "store", kind, [item], save_media=save_media)).get("a", "train")
    assert [a.type for a in back.annotations] == [a.type for a in HARD]
    assert all(mine == theirs for mine, theirs in zip(back.annotations, HARD, strict=True))
    np.testing.assert_array_equal(back.attributes["array"], np.arange(3))
    assert back.attributes["bytes"] == b"\0"


STRANGE_IDS = [
    "a/b/c",
    "a b",
    "ünïcødé/日本語 🚗",
    "x" * 300,
    "/".join(["deep"] * 400),
    "con",
    "nul/aux.txt",
    "Case",
    "case",
    "case/inside",
    "case.png",
    "case.png/inside",
    "trailing. ",
    "trailing",
    ".hidden",
    "-",
    "*?<>|:",
    "a%2e%2e",
    "\udce9 not unicode",
    "new\nline",
    "media",
]


def test_strange_ids_come_back_and_stay_inside(kind: str, tmp_path: Path) -> None:
    """Each picture is its own, and nothing is written outside the store."""
    items = [DatasetItem(name, subset="a/b", media=picture(i)) for i, name in enumerate(STRANGE_IDS)]
    path = stored(tmp_path / "in" / "store", kind, items)
    back = read(path)
    for item in items:
        found = back.get(item.id, item.subset)
        np.testing.assert_array_equal(found.media.data, item.media.data)
        assert (path / "media").resolve() in Path(found.media.path).resolve().parents
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
    assert [p.name for p in (tmp_path / "in").iterdir()] == ["store"]


@pytest.mark.parametrize("name", ["../up", "a/../../up", "/absolute", "C:\\drive", "a/.. /b"])
def test_ids_that_climb_never_reach_a_path(name: str, kind: str, tmp_path: Path) -> None:
    """Datumaro refuses them; an item that got past it is still written inside."""
    item = DatasetItem("harmless", subset="train", media=picture(1))
    object.__setattr__(item, "id", "harmless")
    with pytest.raises(ValueError, match="path"):
        item.id = name
    DatasetItem.id.__set__(item, name)
    stored(tmp_path / "in" / "store", kind, [item])
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
    assert [p.name for p in (tmp_path / "in").iterdir()] == ["store"]


def test_opening_reads_no_vectors(kind: str, tmp_path: Path) -> None:
    """Importing and asking for subsets works on a store whose vectors are ruined; reading an item does not."""
    path = stored(tmp_path / "store", kind, make_items(3))
    file = path / ("segment-000001.h5" if kind == "clip_hdf5" else "segment-000001/embeddings.npy")
    content = bytearray(file.read_bytes())
    content[content.index(vector(1).vector.tobytes()) + 5] ^= 1
    file.write_bytes(content)
    dataset = read(path)
    assert sorted(dataset.subsets()) == ["train", "val"]
    assert not dataset.is_cache_initialized
    with pytest.raises(StoreCorruptError, match="checksum"):
        list(dataset)


def test_one_item_is_read_without_the_others(kind: str, tmp_path: Path) -> None:
    """``get`` goes by the key's hash."""
    dataset = read(stored(tmp_path / "store", kind, make_items(6)))
    assert dataset.get("item 3", "val").attributes["n"] == 3
    assert dataset.get("item 3", "train") is None
    assert not dataset.is_cache_initialized


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_vectors_are_kept_as_asked(kind: str, tmp_path: Path, dtype: str) -> None:
    items = make_items(3)
    path = stored(tmp_path / "store", kind, items, dtype=dtype)
    with open_store(path) as reader:
        assert reader.matrix().dtype == dtype
        header = reader.header
        assert (header.dtype, header.precision, header.space) == (dtype, "f32", vector(0).vector_space)
    back = read(path).get("item 1", "val").attributes[EMBEDDING_ATTRIBUTE]
    wanted = vector(1).vector.astype(dtype).astype(np.float32)
    np.testing.assert_array_equal(back.vector, wanted)


def test_each_vector_keeps_its_precision(kind: str, tmp_path: Path) -> None:
    """One space, two precisions, in one write and across two."""
    items = make_items(4)
    for i, item in enumerate(items):
        item.attributes[EMBEDDING_ATTRIBUTE] = vector(i, precision=("f32", "int8")[i % 2])
    path = stored(tmp_path / "store", kind, items[:3])
    dataset = read(path)
    dataset.put(items[3])
    dataset.save(no_embed=True)
    found = {item.id: item.attributes[EMBEDDING_ATTRIBUTE].precision for item in read(path)}
    assert found == {f"item {i}": ("f32", "int8")[i % 2] for i in range(4)}
    assert open_store(path).header.precision == "int8"


def test_vectors_of_two_spaces_are_refused(kind: str, tmp_path: Path) -> None:
    items = make_items(3)
    items[2].attributes[EMBEDDING_ATTRIBUTE] = vector(2, space="sha256:" + "8" * 64)
    with pytest.raises(SpaceMismatchError, match="item 2@train"):
        stored(tmp_path / "store", kind, items)
    assert not (tmp_path / "store").exists()


def test_an_attribute_that_is_no_vector_is_named(kind: str, tmp_path: Path) -> None:
    items = make_items(2)
    items[1].attributes[EMBEDDING_ATTRIBUTE] = [1, 2, 3]
    with pytest.raises(InvalidVectorError, match=r"item 'item 1' \(subset 'val'\)"):
        stored(tmp_path / "store", kind, items)


def test_the_same_dataset_gives_the_same_bytes(kind: str, tmp_path: Path) -> None:
    one, two = (stored(tmp_path / name, kind, make_items(5)) for name in ("one", "two"))
    assert files_of(one) == files_of(two)


def test_a_store_is_detected_among_its_pictures(kind: str, tmp_path: Path) -> None:
    """No other format claims the directory as surely; one level down, the store is found too."""
    path = stored(tmp_path / "outer" / "store", kind, make_items(3))
    assert Environment().detect_dataset(str(path)) == [kind]
    assert datumaro_clip.register(Environment()).detect_dataset(str(tmp_path / "outer")) == [kind]
    (path / f"{kind}.json").write_text("{}")
    assert kind not in Environment().detect_dataset(str(path))


def test_a_manifest_leads_to_its_store(kind: str, tmp_path: Path) -> None:
    path = stored(tmp_path / "store", kind, make_items(2))
    assert len(Dataset.import_from(str(path / f"{kind}.json"), kind)) == 2


def test_wrong_paths_and_kinds_are_named(tmp_path: Path) -> None:
    path = stored(tmp_path / "store", "clip_mmap", make_items(1))
    for wrong in (tmp_path, tmp_path / "missing"):
        with pytest.raises(DatasetNotFoundError):
            Dataset.import_from(str(wrong), "clip_mmap")
    with pytest.raises(DatasetNotFoundError):
        Dataset.import_from(str(path), "clip_hdf5")
    with pytest.raises(StoreFormatError, match="clip_mmap store, not clip_hdf5"):
        formats.ClipHdf5Base(str(path))
    with pytest.raises(StoreWriteError, match="name another directory"):
        stored(path, "clip_hdf5", make_items(1))
    (path / "clip_mmap.json").write_bytes(b'{"format":"clip_mmap",')
    with pytest.raises(DatasetImportError) as caught:
        Dataset.import_from(str(path), "clip_mmap")
    assert isinstance(caught.value.__cause__, StoreFormatError)


def test_streams_go_in_and_out(kind: str, tmp_path: Path) -> None:
    """A streaming dataset is exported and imported item by item."""
    items = make_items(4)
    path = stored(tmp_path / "one", kind, items)
    stream = StreamDataset.import_from(str(path))
    assert stream.is_stream
    stream.export(str(tmp_path / "two"), kind, no_embed=True, save_media=True)
    for item in items:
        assert read(tmp_path / "two").get(item.id, item.subset) == item


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_dataset_copies_and_pickles_unread(kind: str, tmp_path: Path, duplicate: Callable[[Any], Any]) -> None:
    """The twin opens the store for itself."""
    path = stored(tmp_path / "store", kind, make_items(2))
    base = getattr(formats, "ClipHdf5Base" if kind == "clip_hdf5" else "ClipMmapBase")(str(path))
    assert list(duplicate(base)) == list(base)


def test_items_of_two_stores_merge(kind: str, tmp_path: Path) -> None:
    items = [item.wrap(media=None) for item in make_items(4)]
    one, two = read(stored(tmp_path / "one", kind, items[:2])), read(stored(tmp_path / "two", kind, items[1:]))
    merged = Dataset.from_extractors(one, two)
    assert {item.id: item.attributes for item in merged} == {item.id: item.attributes for item in items}


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], {"dtype": None, "no_embed": False, "save_media": False}),
        (["--dtype", "float16", "--no-embed", "--save-media"], {"dtype": "float16", "no_embed": True}),
        (["--model", "tiny", "--on-error", "skip"], {"model": "tiny", "on_error": "skip"}),
    ],
)
def test_the_options_are_those_of_the_command_line(arguments: list[str], wanted: dict[str, Any]) -> None:
    for exporter in (formats.ClipHdf5Exporter, formats.ClipMmapExporter):
        parsed = exporter.parse_cmdline(arguments)
        assert {name: parsed[name] for name in wanted} == wanted
        exporter(make_dataset([]), "unused", **parsed)
    assert formats.ClipHdf5Exporter.parse_cmdline(["--compression", "gzip"])["compression"] == "gzip"


def test_compression_is_for_hdf5(tmp_path: Path) -> None:
    path = stored(tmp_path / "store", "clip_hdf5", make_items(3), compression="gzip")
    assert open_store(path).header.compression == "gzip"
    with pytest.raises(OptionError, match="--compression must be one of none"):
        stored(tmp_path / "other", "clip_mmap", make_items(3), compression="gzip")


def test_what_is_not_data_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    with pytest.raises(StoreWriteError, match=r"item 'item 0' \(subset 'train'\).*it holds a function"):
        stored(tmp_path / "store", kind, make_items(1, f=lambda: 1))
