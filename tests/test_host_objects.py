"""``clip_embed --objects``: which annotations are objects, and the vectors that they carry and stores keep."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datumaro.components.annotation import Bbox, Caption, Ellipse, Label, Mask, Points, Polygon, RotatedBbox
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from drawn_objects import COLOURS, drawn, scene
from hypothesis import given
from hypothesis import strategies as st

from datumaro_clip.cli import main
from datumaro_clip.curate import run_model
from datumaro_clip.errors import ImageError, OptionError, SpaceMismatchError
from datumaro_clip.host.integrity import ClipIntegrityValidator
from datumaro_clip.host.objects import object_vector, objects_of
from datumaro_clip.store import open_store
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE, ObjectEmbedding

pytestmark = pytest.mark.usefixtures("encoder")


def pixels(seed: int = 0, side: int = 80) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def item(*annotations: Any, seed: int = 0, id: str = "a") -> DatasetItem:
    return DatasetItem(id, subset="train", media=Image.from_numpy(pixels(seed)), annotations=list(annotations))


def dataset(*items: DatasetItem) -> Dataset:
    return Dataset.from_iterable(items, categories=["cat", "dog"])


def embedded(*items: DatasetItem, **options: Any) -> list[DatasetItem]:
    return list(iter(dataset(*items).transform("clip_embed", objects=True, **options)))  # list alone asks for len first


def vectors_in(found: DatasetItem) -> dict[int, ObjectEmbedding]:
    """By the annotation's place."""
    notes = enumerate(found.annotations)
    return {n: note.attributes[EMBEDDING_ATTRIBUTE] for n, note in notes if EMBEDDING_ATTRIBUTE in note.attributes}


def of_part(left: int, top: int, right: int, bottom: int, seed: int = 0) -> np.ndarray:
    """What the encoder says of a part of the picture, alone."""
    return FakeEncoder().embed_images([pixels(seed)[top:bottom, left:right, ::-1]])[0]


BOX = Bbox(10, 20, 30, 40, label=0)


def test_a_dataset_without_objects_is_embedded_as_before():
    [found] = embedded(item(Label(0), Caption("a cat")))
    assert vectors_in(found) == {}
    assert EMBEDDING_ATTRIBUTE in found.attributes


def test_a_box_carries_the_vector_of_its_part_of_the_picture():
    [found] = embedded(item(Label(0), BOX))
    [(place, vector)] = vectors_in(found).items()
    assert place == 1
    np.testing.assert_allclose(vector.vector, of_part(10, 20, 40, 60), atol=1e-6)
    assert vector.bbox == (10, 20, 40, 60)
    assert len(vector.source) == 64
    assert BOX.attributes == {}


def test_a_box_keeps_its_other_attributes_beside_the_vector():
    told = {"a": 1, "occluded": True}
    [found] = embedded(item(BOX.wrap(attributes=told)))
    assert {name: found.annotations[0].attributes[name] for name in told} == told
    [moved] = embedded(found.wrap(annotations=[found.annotations[0].wrap(x=500)]))
    assert moved.annotations[0].attributes == told


def test_each_kind_of_shape_is_an_object_and_others_are_none():
    mask = np.zeros((80, 80), np.uint8)
    mask[10:30, 20:50] = 1
    shapes = [
        BOX,
        RotatedBbox(40, 40, 30, 20, 30, label=1),
        Polygon([5, 5, 45, 5, 45, 45], label=1),
        Mask(mask, label=0),
        Ellipse(10, 10, 40, 40, label=0),
        Points([1, 2, 3, 4], label=0),
        Label(0),
        Bbox(0, 0, 50, 50, label=0, attributes={"is_crowd": True}),
    ]
    assert [found.annotation for found in objects_of(item(*shapes), ["cat", "dog"])] == [0, 1, 2, 3, 4]
    assert sorted(vectors_in(embedded(item(*shapes))[0])) == [0, 1, 2, 3, 4]


def test_polygons_and_masks_of_a_boxs_group_belong_to_the_box():
    parts = [Polygon([12, 22, 30, 22, 30, 50], group=7), Polygon([31, 22, 38, 22, 38, 50], group=7)]
    found = list(objects_of(item(*parts, BOX.wrap(group=7), Polygon([1, 1, 20, 1, 20, 20])), ["cat"]))
    assert [each.annotation for each in found] == [2, 3]
    assert len(found[0].outline) == 2


def test_what_surrounds_an_outline_is_kept_or_grey():
    outlined = item(BOX.wrap(group=7), Polygon([10, 20, 25, 20, 25, 60, 10, 60], group=7))
    kept, grey = (vectors_in(embedded(outlined, mask=mask)[0])[0] for mask in ("keep", "grey"))
    np.testing.assert_allclose(kept.vector, of_part(10, 20, 40, 60), atol=1e-6)
    assert kept.vector @ grey.vector < 0.999
    assert kept.source != grey.source


def test_margin_and_longest_side_decide_the_part():
    margin = vectors_in(embedded(item(BOX), margin=0.5)[0])[0]
    np.testing.assert_allclose(margin.vector, of_part(0, 0, 55, 80), atol=1e-6)
    reduced = vectors_in(embedded(item(BOX), max_side=40)[0])[0]
    assert reduced.source != vectors_in(embedded(item(BOX))[0])[0].source


# What cannot be embedded


def test_bad_boxes_are_named_and_counted_and_nothing_else_is_lost(caplog: pytest.LogCaptureFixture):
    bad = [
        Bbox(0, 0, 3, 50),
        Bbox(200, 0, 20, 20),
        Bbox(float("nan"), 0, 20, 20),
        Bbox(40, 40, 0, 0),
        Bbox(40, 0, -20, 9),
    ]
    with caplog.at_level(logging.INFO):
        [found] = embedded(item(*bad, BOX))
    assert list(vectors_in(found)) == [5]
    assert found.annotations[0] == bad[0]
    assert "objects: embedded 1, from the cache 0, kept 0, too small 3, failed 2 (empty 2)" in caplog.text
    assert "item 'a' (subset 'train'), annotation 1: the box" in caplog.text


def test_a_bad_box_fails_the_run_where_asked():
    with pytest.raises(ImageError, match=r"annotation 0: the box .* holds no pixel of the 80x80 picture"):
        embedded(item(Bbox(200, 0, 20, 20)), on_error="fail")


def test_objects_of_a_picture_that_is_gone_are_counted_and_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    gone = DatasetItem("gone", media=Image.from_file(str(tmp_path / "gone.jpg")), annotations=[BOX, BOX])
    with caplog.at_level(logging.INFO):
        [found] = embedded(gone)
    assert vectors_in(found) == {}
    assert caplog.text.count("Not embedded") == 1
    assert "failed 2 (missing 2)" in caplog.text


def test_thousands_of_boxes_of_one_picture_are_embedded(encoder: FakeEncoder):
    corners = np.random.default_rng(0).uniform(0, 60, (3_000, 2)).round(1)
    [found] = embedded(item(*(Bbox(x, y, 15, 15) for x, y in corners.tolist())), cache="off")
    assert len(vectors_in(found)) == 3_000


@pytest.mark.parametrize("mask", [lambda: 1 / 0, lambda: np.ones((7, 9))])
def test_a_mask_that_cannot_be_had_or_is_of_another_picture_is_that_objects_failure(mask, caplog):
    [found] = embedded(item(BOX.wrap(group=7), Mask(mask, group=7), Bbox(1, 1, 20, 20)), mask="grey")
    assert list(vectors_in(found)) == [2]
    assert "annotation 0" in caplog.text


# What is not computed again


def test_second_run_takes_vectors_from_the_items_and_computes_nothing(encoder: FakeEncoder, caplog):
    first = embedded(item(BOX))
    computed = encoder.pictures_computed
    with caplog.at_level(logging.INFO):
        second = embedded(*first, cache="off")
    assert encoder.pictures_computed == computed
    assert "objects: embedded 0, from the cache 0, kept 1" in caplog.text
    assert vectors_in(second[0]) == vectors_in(first[0])


def test_only_vectors_of_another_model_are_computed_again(encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch):
    first = embedded(item(BOX), cache="off", model="this")
    computed = encoder.pictures_computed
    assert vectors_in(embedded(*first, cache="off", model="this", recompute=True)[0]) == vectors_in(first[0])
    assert encoder.pictures_computed == computed
    other = FakeEncoder(seed=1)
    monkeypatch.setattr(run_model, "load_model", lambda *args, **kwargs: other)
    with pytest.raises(SpaceMismatchError, match="--recompute"):
        embedded(*first, cache="off", model="other")
    [again] = embedded(*first, cache="off", model="other", recompute=True)
    assert vectors_in(again)[0].space == other.space.fingerprint


def test_a_vector_of_another_picture_is_not_kept():
    [found] = embedded(item(BOX))
    [again] = embedded(found.wrap(media=Image.from_numpy(pixels(1))))
    np.testing.assert_allclose(vectors_in(again)[0].vector, of_part(10, 20, 40, 60, seed=1), atol=1e-6)


def test_a_vector_that_cannot_be_computed_anew_does_not_stay_behind():
    [found] = embedded(item(BOX))
    [moved] = embedded(found.wrap(annotations=[found.annotations[0].wrap(x=500)]))
    assert vectors_in(moved) == {}


edits = st.lists(
    st.one_of(
        st.tuples(st.just("picture"), st.integers(0, 2)),
        st.tuples(st.just("x"), st.integers(0, 40)),
        st.tuples(st.just("w"), st.integers(8, 30)),
        st.tuples(st.just("attribute"), st.integers(0, 2)),
        st.tuples(st.just("order"), st.integers(0, 1)),
    ),
    max_size=6,
)


@given(edits)
def test_over_any_edits_each_object_carries_the_vector_of_exactly_its_picture_and_box(changes: list[tuple[str, int]]):
    state = {"picture": 0, "x": 5, "w": 20, "attribute": 0, "order": 0}
    notes = [Bbox(5, 9, 20, 20, id=1), Bbox(41, 30, 25, 25, id=2)]
    [found] = embedded(item(*notes), cache="off")
    for what, value in changes:
        state[what] = value
        notes = sorted(found.annotations, key=lambda note: note.id, reverse=bool(state["order"]))
        edit = {"x": state["x"], "w": state["w"]}
        notes = [
            note.wrap(**edit, attributes={**note.attributes, "n": state["attribute"]}) if note.id == 1 else note
            for note in notes
        ]
        changed = found.wrap(media=Image.from_numpy(pixels(state["picture"])), annotations=notes)
        [found] = embedded(changed, cache="off")
        for note in found.annotations:
            x1, y1, x2, y2 = map(int, note.points)
            expected = of_part(x1, y1, x2, y2, seed=state["picture"])
            np.testing.assert_allclose(note.attributes[EMBEDDING_ATTRIBUTE].vector, expected, atol=1e-6)


# Stores and formats


@pytest.mark.parametrize("other", ["clip_hdf5", "clip_mmap"])
def test_object_vectors_survive_conversion_between_the_stores(tmp_path: Path, kind: str, other: str):
    labelled = item(BOX.wrap(attributes={"score": 0.5}), Label(1), RotatedBbox(40, 40, 30, 20, 30, label=1))
    first = embedded(labelled, item(id="b"), store=tmp_path / "one", store_format=kind)
    Dataset.import_from(str(tmp_path / "one"), kind).export(str(tmp_path / "other"), other, no_embed=True)
    with open_store(tmp_path / "one") as one, open_store(tmp_path / "other") as two:
        assert (one.object_count, two.object_count) == (2, 2)
        for stored in (one, two):
            box, rotated = stored.record(0).objects
            assert (box.annotation_index, box.class_name, box.confidence) == (0, "cat", 0.5)
            assert (rotated.annotation_index, rotated.class_name, rotated.confidence) == (2, "dog", None)
            assert box.bbox == (10, 20, 40, 60)
            np.testing.assert_array_equal(box.vector, vectors_in(first[0])[0].vector)
            assert box.source == vectors_in(first[0])[0].source
    [again, _] = Dataset.import_from(str(tmp_path / "other"), other)
    assert vectors_in(again) == vectors_in(first[0])


@pytest.mark.parametrize("name", ["coco", "voc", "yolo", "datumaro", "cvat", "label_me"])
def test_other_formats_lose_no_box(tmp_path: Path, name: str):
    source = Dataset.from_iterable(embedded(item(BOX)), categories=["cat", "dog"], media_type=Image)
    source.export(str(tmp_path / name), name, save_media=True)
    read = Dataset.import_from(str(tmp_path / name), name)
    [box] = [note for each in read for note in each.annotations if isinstance(note, Bbox)]
    np.testing.assert_allclose(box.points, BOX.points, atol=0.5)
    [again] = read.transform("clip_embed", objects=True)
    assert len(vectors_in(again)) == 1


# A detector on the way


@pytest.fixture
def detector(toy_detectors: Path) -> str:
    return str(toy_detectors / "yolov8")


def scenes(count: int) -> list[DatasetItem]:
    pictures = [np.asarray(drawn(*scene(seed)))[:, :, ::-1] for seed in range(count)]
    return [DatasetItem(f"s{n}", media=Image.from_numpy(each), annotations=[BOX]) for n, each in enumerate(pictures)]


def test_objects_that_a_detector_finds_are_added_with_their_vectors(detector: str, tmp_path: Path):
    found = embedded(*scenes(3), detector=detector, store=tmp_path / "s")
    separately = list(
        dataset(*scenes(3)).transform("clip_detect", detector=detector).transform("clip_embed", objects=True)
    )
    assert [len(each.annotations) for each in found] == [4, 4, 4]
    for one, other in zip(found, separately, strict=True):
        assert vectors_in(one) == vectors_in(other)
        assert [note.points for note in one.annotations] == [note.points for note in other.annotations]
        assert one.attributes == other.attributes
    with open_store(tmp_path / "s") as stored:
        classes = {each.class_name for n in range(3) for each in stored.record(n).objects}
        assert stored.object_count == 12
        assert classes == {*COLOURS, "cat"}
        assert all(each.detector.startswith("sha256:") for each in stored.record(0).objects[1:])


def test_a_second_run_with_the_detector_replaces_its_boxes(detector: str):
    once = embedded(*scenes(2), detector=detector)
    twice = list(
        Dataset.from_iterable(once, categories=["cat", "dog", "red", "green", "blue"]).transform(
            "clip_embed", objects=True, detector=detector
        )
    )
    assert [each.annotations for each in twice] == [each.annotations for each in once]


def test_boxes_that_are_too_small_are_added_without_a_vector(detector: str):
    found = embedded(*scenes(1), detector=detector, min_side=1000)
    assert len(found[0].annotations) == 4
    assert vectors_in(found[0]) == {}


def test_each_picture_is_decoded_once_for_detector_picture_and_objects(detector: str, tmp_path: Path, monkeypatch):
    from PIL import Image as PillowImage

    drawn(*scene(1)).save(tmp_path / "a.png")
    opened: list[object] = []
    open_ = PillowImage.open
    monkeypatch.setattr(PillowImage, "open", lambda *args, **kwargs: opened.append(args) or open_(*args, **kwargs))
    source = DatasetItem("a", media=Image.from_file(str(tmp_path / "a.png")), annotations=[BOX])
    [found] = embedded(source, detector=detector)
    assert len(vectors_in(found)) == 4
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"detector": "x"}, "--detector goes with --objects"),
        ({"objects": True, "min_side": -1}, "--min-side must be at least 0"),
        ({"objects": True, "mask": "blur"}, "--mask must be one of keep, grey"),
        ({"objects": True, "max_side": 0}, "--max-side must be at least 1"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(OptionError, match=message):
        list(dataset(item(BOX)).transform("clip_embed", **options))


# Faults, planted


def kinds(*items: DatasetItem, **options: Any) -> dict[str, int]:
    """What ``clip_integrity`` finds, without what is missing of pictures as a whole."""
    whole = Dataset.from_iterable(items, categories=["cat", "dog", *COLOURS])
    found = ClipIntegrityValidator(**options).compute_statistics(whole)["by_kind"]
    return {kind: count for kind, count in found.items() if count}


def changed(found: DatasetItem, **attributes: Any) -> DatasetItem:
    """The item with other attributes on its first annotation."""
    first, *others = found.annotations
    return found.wrap(annotations=[first.wrap(attributes={**first.attributes, **attributes}), *others])


def test_integrity_finds_nothing_in_what_was_just_embedded(detector: str):
    assert kinds(*embedded(*scenes(2), detector=detector)) == {}
    assert kinds(*embedded(item(BOX), margin=0.3), margin=0.3) == {}


def test_integrity_finds_each_planted_fault_of_objects():
    [sound] = embedded(item(BOX))
    vector = vectors_in(sound)[0]
    told = {"vector": vector.vector, "space": vector.space, "model": "m", "precision": "f32", "bbox": vector.bbox}
    other = ObjectEmbedding(vector.vector, "sha256:" + "9" * 64, "m", "f32", vector.bbox, "")
    moved = sound.wrap(annotations=[sound.annotations[0].wrap(x=12)])
    assert kinds(moved) == {"VectorOfAnotherBox": 1}
    assert kinds(sound.wrap(media=Image.from_numpy(pixels(5)))) == {"VectorOfAnotherPicture": 1}
    assert kinds(sound, margin=0.5) == {"VectorOfAnotherPicture": 1}
    for factor, kind in ((3, "VectorNotUnitLength"), (np.nan, "NonFiniteVector")):
        scaled = {EMBEDDING_ATTRIBUTE: {**told, "vector": vector.vector * factor}}
        assert kinds(changed(sound, **scaled)) == {kind: 1}
    assert kinds(sound, changed(sound.wrap(id="b"), **{EMBEDDING_ATTRIBUTE: other})) == {"MixedVectorSpaces": 1}
    assert kinds(changed(sound, score=1.5)) == {"BadConfidence": 1}
    assert kinds(changed(sound, clip_detector="yolo")) == {"BadDetector": 1}
    assert kinds(sound.wrap(annotations=[sound.annotations[0].wrap(x=12)]), no_decode=True) == {"VectorOfAnotherBox": 1}


@pytest.mark.parametrize("name", ["object_bbox", "object_class", "object_confidence", "object_detector"])
def test_verify_finds_what_columns_say_unlike_the_annotations(tmp_path: Path, name: str, detector: str, capsys):
    """A store whose checksums are all right, written by a program that mixes its rows up."""
    found = embedded(*scenes(1), detector=detector, store=tmp_path / "s", store_format="clip_mmap")
    assert main(["verify", str(tmp_path / "s")]) == 0
    path = tmp_path / "s" / "segment-000001" / f"{name}.npy"
    rows = np.load(path)
    np.save(path, rows[::-1].copy() if name != "object_bbox" else rows + np.float32(1))
    seal(tmp_path / "s", name)
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "s")]) == 1
    assert f"item {found[0].id}@default of the store has a vector of" in capsys.readouterr().err


def seal(store: Path, column: str) -> None:
    """Write the checksums anew, so that only the meaning is wrong."""
    manifest = store / "clip_mmap.json"
    first, rest = manifest.read_bytes().split(b"\n", 1)
    values = json.loads(b"{" + rest)
    [segment] = values["segments"]
    path = store / segment["name"] / f"{column}.npy"
    rows = np.load(path)
    with path.open("wb") as file:
        header = {"descr": rows.dtype.str, "fortran_order": False, "shape": rows.shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(rows.tobytes())
    segment["files"][f"{column}.npy"] = path.stat().st_size
    segment["columns"][column]["crc32"] = [zlib.crc32(rows.tobytes())]
    rest = json.dumps(values, separators=(",", ":"))[1:].encode() + b"\n"
    digest = hashlib.sha256(rest).hexdigest().encode()
    manifest.write_bytes(re.sub(rb"[0-9a-f]{64}", digest, first) + b"\n" + rest)


@pytest.mark.parametrize(
    ("score", "kept"), [(0, 0.0), (0.5, 0.5), (1, 1.0), (-0.1, None), (1.1, None), ("0.5", None), (None, None)]
)
def test_a_confidence_is_a_share_or_is_not_kept(score: object, kept: float | None):
    note = Bbox(1, 2, 3, 4, attributes={"score": score})
    embedding = ObjectEmbedding(np.eye(1, 8, dtype=np.float32)[0], "name:test", "test", "f32", (1, 2, 4, 6))
    assert object_vector(0, note, embedding, []).confidence == kept
