"""Every fault is found under its kind; a sound dataset has none."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from datumaro_clip.curate.integrity import SEVERITIES, Look, find_faults
from datumaro_clip.curate.item import Item, ItemBox, ItemLabel
from datumaro_clip.vectors import Embedding

PICTURE = np.zeros((10, 10, 3), np.uint8)
UNIT = Embedding(np.array([1, 0], np.float32), "name:a", "a", "f32")
OTHER = Embedding(np.array([1, 0], np.float32), "name:b", "b", "f32")


def item(name: str = "a", *, subset: str = "train", picture: object = PICTURE, **told: object) -> Item:
    return Item.of(name, picture, subset=subset, **told)


def raw(vector: list[float]) -> dict[str, object]:
    return {"clip_embedding": {"vector": vector, "space": "name:a"}}


def kinds(*items: Item, look: Look | None = None, subsets: tuple[str, ...] | None = None) -> list[str]:
    looking = {} if look is None else {"look": lambda item: look}
    return [fault.kind for fault in find_faults(items, 2, subsets, **looking)]


def test_nothing_is_sound():
    assert find_faults([], 0) == []


def test_a_sound_item_has_no_fault():
    sound = item(captions=["a cat"], labels=["cat"], boxes=[((-0.5, 0, 10.6, 10), "cat")], embedding=UNIT)
    assert kinds(sound, subsets=("train",)) == []


@pytest.mark.parametrize(
    ("odd", "look", "kind"),
    [
        (item(subset="trian"), None, "UnknownSubset"),
        (item(picture=None), None, "MissingMedia"),
        (item(picture="/nowhere.jpg"), None, "MissingMedia"),
        (item(), Look(error=("truncated", "cut")), "UndecodableMedia"),
        (replace(item(), labels=(ItemLabel(2, 0),)), None, "LabelOutsideCategories"),
        (replace(item(), labels=(ItemLabel(-1, 0),)), None, "LabelOutsideCategories"),
        (item(captions=[" "]), None, "EmptyCaption"),
        (item(captions=["a\ufffd"]), None, "UndecodableCaption"),
        (replace(item(), boxes=(ItemBox((1, 1, 0, 5), None, None, 0),)), None, "EmptyBox"),
        (replace(item(), boxes=(ItemBox((1, float("nan"), 2, 5), None, None, 0),)), None, "EmptyBox"),
        (item(boxes=[((5, 5, 7, 2), "cat")]), None, "BoxOutsidePicture"),
        (item(attributes=raw([float("nan"), 0])), None, "NonFiniteVector"),
        (item(attributes=raw([2, 0])), None, "VectorNotUnitLength"),
    ],
)
def test_faults_of_one_item(odd: Item, look: Look | None, kind: str):
    assert kinds(odd, look=look, subsets=("train",)) == [kind]
    assert kind in SEVERITIES


def test_a_box_outside_is_told_with_the_pictures_size():
    boxed = item(boxes=[((5, 5, 30, 2), "cat")])
    [fault] = find_faults([boxed], 2, None, look=lambda item: Look(size=(30, 20)))
    assert fault.message == "annotation 0, box (5, 5, 30, 2) reaches outside the picture of 30x20"


def test_faults_that_only_the_whole_shows():
    assert kinds(item(), item()) == ["RepeatedId"]
    assert kinds(item(captions=["a cat"]), item("b")) == ["MissingCaption"]
    assert kinds(item(embedding=UNIT), item("b")) == ["MissingVector"]
    assert kinds(item(embedding=UNIT), item("b", embedding=OTHER), item("c", embedding=UNIT)) == ["MixedVectorSpaces"]


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        ((-1, -1, 22, 12), True),
        ((-1.01, 0, 5, 5), False),
        ((0, -1.01, 5, 5), False),
        ((0, 0, 21.01, 5), False),
        ((0, 0, 5, 11.01), False),
        ((15, 2, 5, 5), True),
        ((5, 8, 5, 5), False),
    ],
)
def test_boxes_may_reach_one_pixel_outside(box: tuple[float, float, float, float], inside: bool):
    """Tools round outwards; the picture is twice as wide as high."""
    found = kinds(item(boxes=[(box, "cat")]), look=Look(size=(20, 10)))
    assert found == ([] if inside else ["BoxOutsidePicture"])
    assert kinds(item(boxes=[(box, "cat")]), look=Look()) == []


@pytest.mark.parametrize(("score", "sound"), [(0.0, True), (1.0, True), (None, True), (-0.01, False), (1.01, False)])
def test_scores_are_from_0_to_1(score: float | None, sound: bool):
    scored = replace(item(), boxes=(ItemBox((1, 1, 5, 5), None, score, 0),))
    assert kinds(scored) == ([] if sound else ["BadConfidence"])


@pytest.mark.parametrize(
    ("code", "sound"), [(0xD7FF, True), (0xD800, False), (0xDFFF, False), (0xE000, True), (0xFFFD, False)]
)
def test_halves_of_surrogates_and_replacements_are_lost_characters(code: int, sound: bool):
    assert kinds(item(captions=[f"a caf{chr(code)}"])) == ([] if sound else ["UndecodableCaption"])


def test_faults_of_several_kinds_are_all_told_each_with_its_item():
    odd = item(captions=["", "fine", "a\ufffd"], boxes=[((0, 0, 0, 1), "cat"), ((50, 0, 5, 5), "cat")])
    found = find_faults([odd, item("b", captions=["fine"]), item("b", captions=["fine"]), item("c")], 2)
    told = [(fault.kind, fault.key.id) for fault in found]
    own = ["EmptyCaption", "UndecodableCaption", "EmptyBox", "BoxOutsidePicture"]
    assert told == [*((kind, "a") for kind in own), ("RepeatedId", "b"), ("MissingCaption", "c")]
    assert "2 items have this id" in found[4].message


def test_vectors_of_objects_are_of_one_space_with_those_of_pictures():
    """The most frequent one is the usual one; pictures without a vector are at fault only where others have one."""
    carried = [ItemBox((1, 1, 5, 5), None, None, n, carried=raw([1, 0])["clip_embedding"]) for n in range(2)]
    of_objects = replace(item("b"), boxes=tuple(carried))
    assert kinds(of_objects, item("c")) == []
    mixed = find_faults([item(embedding=OTHER), of_objects, item("c", picture=None)], 2)
    assert [(fault.kind, fault.key.id) for fault in mixed] == [
        ("MissingMedia", "c"),
        ("MixedVectorSpaces", "a"),
        ("MissingVector", "b"),
    ]
    few = find_faults([item(embedding=OTHER), item("d", embedding=OTHER), replace(of_objects, boxes=carried[:1])], 2)
    assert [fault.kind for fault in few] == ["MissingVector", "MixedVectorSpaces"]
    assert "annotation 0" in few[1].message


def test_nothing_is_kept_of_boxes_without_a_vector():
    many = replace(item(), boxes=tuple(ItemBox((1, 1, 2, 2), None, None, n) for n in range(20_000)))
    tracemalloc.start()
    try:
        assert kinds(many, look=Look()) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 18
