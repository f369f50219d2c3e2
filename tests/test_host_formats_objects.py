"""Vectors of objects, tags and pictures in archives: from one store to the other and back, and never another box's."""

from __future__ import annotations

import tarfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from commands import run_forked
from datumaro.components import annotation as dm
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from stored_datasets import SPACE, make_dataset, read, stored, vector

from datumaro_clip.errors import InvalidVectorError, SpaceMismatchError, StoreCorruptError
from datumaro_clip.host.objects import box_of
from datumaro_clip.store import ArchiveMember, ObjectVector, Record, append_to_store, open_store
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE, ItemKey, ObjectEmbedding

SOURCE = "ab" * 32


def of(annotation: dm.Annotation, seed: int, space: str = SPACE) -> dm.Annotation:
    """The annotation with a vector of its box."""
    found = vector(seed, space)
    annotation.attributes[EMBEDDING_ATTRIBUTE] = ObjectEmbedding(
        found.vector, found.space, found.model, found.precision, box_of(annotation), SOURCE
    )
    return annotation


def item(*annotations: dm.Annotation, **options: object) -> DatasetItem:
    attributes = {"tags": ["a", "b"], "clip_added": "2026-03-01T09:30:00Z"}
    return DatasetItem("i", subset="train", annotations=list(annotations), attributes=attributes, **options)


def detected() -> dm.Bbox:
    return dm.Bbox(1, 2, 30.37, 4, label=1, attributes={"score": 0.5, "clip_detector": "sha256:d"})


SHAPES = (
    *(detected(), dm.Polygon([0, 0, 9.1, 0, 9.1, 7.3], label=0), dm.RotatedBbox(9, 9, 4, 2, 30, label=0)),
    *(dm.Mask(np.eye(5, dtype=bool), label=0), dm.Ellipse(1, 2, 3, 4), dm.Points([1, 2, 5, 7], label=0)),
)


@pytest.mark.parametrize("annotation", SHAPES, ids=lambda a: type(a).__name__)
def test_an_objects_vector_comes_back(annotation: dm.Annotation, kind: str, tmp_path: Path) -> None:
    path = stored(tmp_path / "store", kind, [item(dm.Caption("a"), of(annotation.wrap(), 3))])
    (found,) = read(path)
    assert found.attributes == {"tags": ["a", "b"], "clip_added": "2026-03-01T09:30:00Z"}
    embedding = found.annotations[1].attributes[EMBEDDING_ATTRIBUTE]
    np.testing.assert_array_equal(embedding, vector(3).vector)
    assert (embedding.bbox, embedding.source, embedding.space) == (box_of(annotation), SOURCE, SPACE)


def test_a_vector_that_is_none_is_refused_by_the_items_name(kind: str, tmp_path: Path) -> None:
    box = detected()
    box.attributes[EMBEDDING_ATTRIBUTE] = 5.0
    with pytest.raises(InvalidVectorError, match=r"item 'i' \(subset 'train'\), annotation 1"):
        stored(tmp_path / "store", kind, [item(dm.Caption("a"), box)])


def test_the_columns_say_what_the_annotation_says(kind: str, tmp_path: Path) -> None:
    """Class, confidence and detector are had without decoding a payload; the annotation keeps its own."""
    path = stored(tmp_path / "store", kind, [item(of(detected(), 3), of(dm.Bbox(0, 0, 5, 5), 4))])
    with open_store(path) as reader:
        first, second = reader.record(0).objects
    wide = float(np.float32(31.37))
    assert (first.class_name, first.confidence, first.detector, first.bbox) == ("dog", 0.5, "sha256:d", (1, 2, wide, 6))
    assert (second.class_name, second.confidence, second.detector) == ("", None, "")
    attributes = next(iter(read(path))).annotations[0].attributes
    assert {name: attributes[name] for name in ("score", "clip_detector")} == {
        "score": 0.5,
        "clip_detector": "sha256:d",
    }


def test_datum_convert_carries_them_from_store_to_store(tmp_path: Path) -> None:
    """There and back again: the same vectors, boxes and attributes."""
    path = stored(tmp_path / "0", "clip_mmap", [item(of(detected(), 3), of(dm.Bbox(0, 0, 5, 5, label=0), 4))])
    steps = ("clip_mmap", "clip_hdf5", "clip_mmap")
    for n, (before, after) in enumerate(pairwise(steps)):
        source, target = str(tmp_path / str(n)), str(tmp_path / str(n + 1))
        done = run_forked(
            "datum", "convert", "-i", source, "-if", before, "-f", after, "-o", target, "--", "--no-embed"
        )
        assert done.returncode == 0, done.stdout
    with open_store(path) as first, open_store(tmp_path / "2") as last:
        assert last.object_count == 2
        np.testing.assert_array_equal(last.stored_rows("objects")[:], first.stored_rows("objects")[:])
        assert [vars(o).keys() for o in last.record(0).objects] == [vars(o).keys() for o in first.record(0).objects]
        for mine, theirs in zip(last.objects(), first.objects(), strict=True):
            for one, other in zip(mine, theirs, strict=True):
                np.testing.assert_array_equal(one, other)


def test_a_moved_box_loses_its_vector_and_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A vector is never kept with a box that it was not computed of."""
    moved = of(detected(), 3)
    moved.points[0] += 1
    path = stored(tmp_path / "store", "clip_mmap", [item(moved, of(dm.Bbox(0, 0, 5, 5), 4))])
    with open_store(path) as reader:
        assert [o.annotation_index for o in reader.record(0).objects] == [1]
    assert "1 boxes are not where their vectors are from" in caplog.text


def test_objects_of_another_space_are_refused(tmp_path: Path) -> None:
    items = [item(of(detected(), 3), of(detected(), 4, "sha256:" + "8" * 64))]
    with pytest.raises(SpaceMismatchError, match="i@train"):
        stored(tmp_path / "store", "clip_mmap", items)


def test_what_is_no_object_vector_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidVectorError, match=r"item 'i'.*annotation 0"):
        stored(tmp_path / "store", "clip_mmap", [item(dm.Bbox(0, 0, 1, 1, attributes={EMBEDDING_ATTRIBUTE: 5}))])


def test_a_vector_of_no_annotation_is_corrupt(tmp_path: Path) -> None:
    path = stored(tmp_path / "store", "clip_mmap", [item(of(detected(), 3))])
    with append_to_store(path) as writer:
        writer.add(Record(ItemKey("x", "train"), objects=(ObjectVector(7, vector(1).vector, (0, 0, 1, 1)),)))
    with pytest.raises(StoreCorruptError, match="x@train has a vector of annotation 7"):
        list(read(path))


def in_archive(folder: Path) -> ArchiveMember:
    """A picture in a tar archive."""
    Image.from_numpy(np.full((4, 5, 3), 9, np.uint8)).save(str(folder / "p.png"))
    with tarfile.open(folder / "0.tar", "w") as tar:
        tar.add(folder / "p.png", "p.png")
    (folder / "p.png").unlink()
    with tarfile.open(folder / "0.tar") as tar:
        info = tar.getmember("p.png")
    return ArchiveMember(str(folder), "0.tar", info.offset_data, info.size, "p.png")


def test_a_picture_in_an_archive_is_found_again(kind: str, tmp_path: Path) -> None:
    """Without --save-media the store knows where it is; with it, the bytes are in the store."""
    member = in_archive(tmp_path)
    medium = Image.from_bytes(member, ext=".png")
    for save_media in (False, True):
        path = stored(tmp_path / f"store-{save_media}", kind, [item(media=medium)], save_media=save_media)
        if save_media:
            (tmp_path / "0.tar").unlink()
        (found,) = read(path)
        np.testing.assert_array_equal(found.media.data, np.full((4, 5, 3), 9, np.uint8))


def test_a_reference_that_leaves_its_root_is_refused(tmp_path: Path) -> None:
    member = {"root": "/", "archive": "../0.tar", "offset": 512, "length": 1, "member": "a"}
    path = stored(tmp_path / "store", "clip_mmap", [item()])
    for wrong in ({}, {"archive": "/0.tar"}, {"archive": "a//0.tar"}, {"offset": 0}, {"length": -1}, {"length": "1"}):
        with append_to_store(path) as writer:
            media = {"type": "image", "archive": {**member, **wrong}}
            writer.add(Record(ItemKey("x", "train"), {"media": media}))
        with pytest.raises(StoreCorruptError, match="x@train"):
            list(read(path))


def test_an_object_embedding_is_copied_whole() -> None:
    """Copies, pickles and comparisons know box and source."""
    import pickle

    embedding = of(detected(), 3).attributes[EMBEDDING_ATTRIBUTE]
    copied = pickle.loads(pickle.dumps(embedding))
    assert (copied, copied.bbox, copied.source) == (embedding, embedding.bbox, SOURCE)
    assert embedding != vector(3)
    [box] = make_dataset([item(of(detected(), 3))]).get("i", "train").annotations
    assert box.attributes[EMBEDDING_ATTRIBUTE] == embedding
