"""Every fault is found under its kind; a sound dataset has none."""

from __future__ import annotations

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


def test_faults_that_only_the_whole_shows():
    assert kinds(item(), item()) == ["RepeatedId"]
    assert kinds(item(captions=["a cat"]), item("b")) == ["MissingCaption"]
    assert kinds(item(embedding=UNIT), item("b")) == ["MissingVector"]
    assert kinds(item(embedding=UNIT), item("b", embedding=OTHER), item("c", embedding=UNIT)) == ["MixedVectorSpaces"]
