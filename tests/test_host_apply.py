"""Decisions that are applied to a dataset, replayed, and refused on another."""

from __future__ import annotations

from pathlib import Path

import pytest
from datumaro.components.annotation import Bbox, Caption, Polygon
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from small_datasets import Repeating, copies, ids, item, pixels, several

from datumaro_clip.curate.decisions import Decision, DecisionLog
from datumaro_clip.errors import DecisionError
from datumaro_clip.host.apply import DecidedItems, Replay, replay
from datumaro_clip.host.transform import (
    ClipDedup,
)
from datumaro_clip.vectors import ItemKey

pytestmark = pytest.mark.usefixtures("encoder")


def test_decisions_about_repeated_ids_of_an_earlier_release_still_replay():
    """They had no occurrence: a repetition was about the second item."""
    key = ItemKey("a", "train")
    log = DecisionLog("clip_clean", {}, None, (Decision(key, "keep"), Decision(key, "drop", "repeated_id")))
    items = [item("a", pixels(1)), item("a", pixels(2))]
    assert [each.media for each in Replay(Repeating(items), log)] == [items[0].media]


def test_tags_are_added_and_taken_away_by_decisions():
    from datumaro_clip.host.items import key_of

    items = [each.wrap(attributes={"tags": ["old"]}) for each in several(2)] + [item("untagged", None)]
    first, second, third = map(key_of, items)
    decided = (
        Decision(first, "tag", tag="night"),
        Decision(first, "tag", tag="old"),
        Decision(second, "untag", tag="old"),
        Decision(second, "untag", tag="never there"),
        Decision(third, "keep", tag="of another action"),
        Decision(third, "tag"),
    )
    found = list(DecidedItems(DecisionLog("explorer", {}, None, decided), {}).apply(items))
    assert [each.attributes.get("tags") for each in found] == [["old", "night"], [], None]


@pytest.mark.parametrize("form", [None, "voc"])
def test_decisions_are_applied_in_the_format_of_the_source_or_in_another(form: str | None, tmp_path: Path):
    several(3).export(str(tmp_path / "in"), "coco", save_media=True)
    log = DecisionLog("clip_clean", {}, None, (Decision(ItemKey("i1", "train"), "drop", "blank"),))
    count, _ = replay(log, f"{tmp_path / 'in'}:coco", tmp_path / "out", form)
    assert count == 2
    assert ids(Dataset.import_from(str(tmp_path / "out"), form or "coco")) == ["i0", "i2"]


def test_replaying_on_another_dataset_is_refused(tmp_path: Path):
    from datumaro_clip.host.items import key_of

    made = ClipDedup(copies(), no_vectors=True).decisions
    with pytest.raises(DecisionError, match="no item"):
        DecidedItems(made, {}).require_keys(key_of(each) for each in several())


@pytest.mark.parametrize(("group", "left"), [(0, [9, 3]), (5, [3])])
def test_an_outline_goes_with_the_box_of_its_group_and_not_for_having_none(group: int, left: list[int]):
    outline = Polygon([1, 2, 9, 2, 9, 9], id=9, group=group)
    notes = [Bbox(1, 2, 8, 7, id=8, group=group), outline, Caption("it", id=3)]
    boxed = DatasetItem("a", subset="train", annotations=notes)
    log = DecisionLog("it", {}, None, (Decision(ItemKey("a", "train"), "drop", "why", annotation=0),))
    [found] = DecidedItems(log, {}).apply([boxed])
    assert [note.id for note in found.annotations] == left
