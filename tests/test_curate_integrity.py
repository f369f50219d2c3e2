"""Every fault is found under its kind; a sound dataset has none."""

from __future__ import annotations

import numpy as np
import pytest

from datumaro_clip.curate.integrity import SEVERITIES, ItemRecord, NumberedBox, find_faults
from datumaro_clip.vectors import ItemKey, VectorSpace

SPACE = VectorSpace("name:a", 2)
OTHER = VectorSpace("name:b", 2)
UNIT = np.array([1, 0], np.float32)
A, B, C = (ItemKey(name, "train") for name in "abc")


def kinds(*records: ItemRecord, subsets: tuple[str, ...] | None = None) -> list[str]:
    return [fault.kind for fault in find_faults(records, 2, subsets)]


def test_nothing_is_sound():
    assert find_faults([], 0) == []


def test_a_sound_item_has_no_fault():
    box = NumberedBox(1, -0.5, 0, 10.6, 10)
    told = {"labels": ((0, 1),), "captions": ((2, "a cat"),), "boxes": (box,)}
    record = ItemRecord(A, size=(10, 10), vector=UNIT, space=SPACE, **told)
    assert kinds(record, subsets=("train",)) == []


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (ItemRecord(ItemKey("a", "trian")), "UnknownSubset"),
        (ItemRecord(A, has_media=False), "MissingMedia"),
        (ItemRecord(A, media_error=("missing", "gone")), "MissingMedia"),
        (ItemRecord(A, media_error=("truncated", "cut")), "UndecodableMedia"),
        (ItemRecord(A, labels=((0, 2),)), "LabelOutsideCategories"),
        (ItemRecord(A, labels=((0, -1),)), "LabelOutsideCategories"),
        (ItemRecord(A, captions=((0, " "),)), "EmptyCaption"),
        (ItemRecord(A, captions=((0, "a\ufffd"),)), "UndecodableCaption"),
        (ItemRecord(A, boxes=(NumberedBox(0, 1, 1, 0, 5),)), "EmptyBox"),
        (ItemRecord(A, boxes=(NumberedBox(0, 1, float("nan"), 2, 5),)), "EmptyBox"),
        (ItemRecord(A, size=(10, 10), boxes=(NumberedBox(0, 5, 5, 7, 2),)), "BoxOutsidePicture"),
        (ItemRecord(A, vector=np.array([np.nan, 0], np.float32), space=SPACE), "NonFiniteVector"),
        (ItemRecord(A, vector=2 * UNIT, space=SPACE), "VectorNotUnitLength"),
    ],
)
def test_faults_of_one_item(record: ItemRecord, kind: str):
    assert kinds(record, subsets=("train",)) == [kind]
    assert kind in SEVERITIES


def test_faults_that_only_the_whole_shows():
    assert kinds(ItemRecord(A), ItemRecord(A)) == ["RepeatedId"]
    assert kinds(ItemRecord(A, captions=((0, "a cat"),)), ItemRecord(B)) == ["MissingCaption"]
    assert kinds(ItemRecord(A, vector=UNIT, space=SPACE), ItemRecord(B)) == ["MissingVector"]
    spaces = [ItemRecord(key, vector=UNIT, space=space) for key, space in ((A, SPACE), (B, OTHER), (C, SPACE))]
    assert kinds(*spaces) == ["MixedVectorSpaces"]
