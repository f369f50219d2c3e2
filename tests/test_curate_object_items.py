"""The tools on objects: each decides about boxes as it does about pictures, without knowing it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datumaro.components.annotation import Bbox, Caption, Polygon
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from PIL import Image as PillowImage
from reports import report_data

from datumaro_clip.curate.decisions import read_decisions
from datumaro_clip.curate.item import ItemBox
from datumaro_clip.errors import OptionError
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE

pytestmark = pytest.mark.usefixtures("encoder")

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def scene(*colours: tuple[int, int, int], label: int | None = 0, id: str = "a") -> DatasetItem:
    """A grey picture with a labelled square of each colour, 20 pixels wide, side by side."""
    pixels = np.full((40, 30 * len(colours) + 10, 3), 128, np.uint8)
    notes = []
    for n, colour in enumerate(colours):
        pixels[10:30, 30 * n + 10 : 30 * n + 30] = colour[::-1]
        notes.append(Bbox(30 * n + 10, 10, 20, 20, label=label, id=n))
    return DatasetItem(id, subset="train", media=Image.from_numpy(pixels), annotations=notes)


def run(tool: str, *items: DatasetItem, labels: tuple[str, ...] = ("thing",), **options: Any) -> list[DatasetItem]:
    return list(Dataset.from_iterable(items, categories=list(labels)).transform(tool, objects=True, **options))


def left(items: list[DatasetItem]) -> dict[str, list[int]]:
    return {item.id: [note.id for note in item.annotations] for item in items}


def test_the_far_corner_of_a_box_is_where_its_sides_end():
    assert ItemBox((1, 2, 30, 40), "thing", None, 0).bbox == (1, 2, 31, 42)
    assert ItemBox((1, 2, 30, 40), "thing", None, 0, corners=(0.5, 2, 31, 42)).bbox == (0.5, 2, 31, 42)


@pytest.mark.parametrize("tool", ["clip_outliers", "clip_dedup", "clip_classify"])
def test_items_without_objects_pass_through(tool: str):
    empty = DatasetItem("empty", subset="train", annotations=[Caption("nothing")])
    options = {"labels": ["red"]} if tool == "clip_classify" else {}
    assert left(run(tool, empty, **options)) == {"empty": [0]}


def test_outliers_among_objects_lose_their_box_and_no_other():
    items = [scene(RED, RED, id=f"i{n}") for n in range(15)]
    found = run("clip_outliers", *items, scene(RED, BLUE, id="odd"), what="pictures")
    assert left(found) == {**{f"i{n}": [0, 1] for n in range(15)}, "odd": [0]}


def photo(seed: int) -> np.ndarray:
    """Something that pixels can be compared by."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return np.asarray(PillowImage.fromarray(small).resize((120, 120), PillowImage.Resampling.BICUBIC))


def with_things(id: str, *seeds: int) -> DatasetItem:
    pixels = np.concatenate([photo(seed) for seed in seeds], axis=1)
    notes = [Bbox(120 * n, 0, 120, 120, label=0, id=n) for n in range(len(seeds))]
    return DatasetItem(id, subset="train", media=Image.from_numpy(pixels), annotations=notes)


def test_the_same_thing_in_several_pictures_is_kept_once():
    found = run("clip_dedup", with_things("a", 1, 2), with_things("b", 3, 1), with_things("c", 4))
    assert left(found) == {"a": [0, 1], "b": [0], "c": [0]}


def test_two_boxes_of_one_picture_do_not_repeat_each_other():
    """A table and the pizza that covers it are the same pixels."""
    assert left(run("clip_dedup", with_things("a", 1, 1))) == {"a": [0, 1]}


def test_the_outline_goes_with_its_box():
    outlined = with_things("b", 1)
    outlined.annotations = [outlined.annotations[0].wrap(group=5), Polygon([0, 0, 50, 0, 50, 50], group=5, id=9)]
    assert left(run("clip_dedup", with_things("a", 1), outlined)) == {"a": [0], "b": []}


def test_sampled_objects_are_marked_and_items_without_any_dropped():
    items = [scene(RED, BLUE, id="a"), scene(RED, GREEN, id="b"), scene(RED, id="c"), DatasetItem("d", subset="train")]
    found = run("clip_sample", *items, strategy="k_center", count=3)
    picked = {(item.id, note.id) for item in found for note in item.annotations if "clip_reason" in note.attributes}
    colours = {("a", 0): RED, ("b", 0): RED, ("c", 0): RED, ("a", 1): BLUE, ("b", 1): GREEN}
    assert {colours[each] for each in picked} == {RED, GREEN, BLUE}
    assert {item.id for item in found} == {id for id, _ in picked}
    assert all(len(item.annotations) == (1 if item.id == "c" else 2) for item in found)


def test_search_ranks_items_by_their_best_object():
    items = [scene(GREEN, BLUE, id="a"), scene(WHITE, RED, id="b"), scene(GREEN, (200, 40, 40), id="c")]
    found = run("clip_search", *items, query="red", k=2)
    assert [item.id for item in found] == ["b", "c"]
    assert [item.attributes["clip_rank"] for item in found] == [0, 1]
    hits = [[note.id for note in item.annotations if "clip_score" in note.attributes] for item in found]
    assert hits == [[1], [1]]


def test_unlabelled_boxes_are_named_and_labelled_ones_only_told():
    names = ("thing", "red", "blue")
    nameless = run("clip_classify", scene(RED, BLUE, label=None), labels=names[1:], templates="a {}")
    assert [note.label for note in nameless[0].annotations] == [0, 1]
    [kept] = run("clip_classify", scene(RED), labels=names, templates="a {}")
    assert kept.annotations[0].label == 0
    assert kept.annotations[0].attributes["clip_label"] == "red"


def test_decisions_name_the_item_and_the_annotation_and_the_report_draws_the_box(tmp_path: Path):
    run("clip_search", scene(RED, BLUE), query="blue", k=1, report=tmp_path)
    made = read_decisions(tmp_path / "decisions.jsonl")
    [hit] = [one for one in made.decisions if one.annotation is not None]
    assert (str(hit.key), hit.annotation, hit.text, hit.reason) == ("a@train", 1, "thing", "hit")
    cards = report_data((tmp_path / "report.html").read_text())["cards"]
    numbers = {card["record"].get("annotation"): card["picture"] for card in cards}
    assert numbers.keys() == {None, 1}
    assert numbers[None] != numbers[1]


def test_vectors_that_boxes_carry_are_used(encoder: FakeEncoder):
    [embedded] = Dataset.from_iterable([scene(RED, BLUE)], categories=["thing"]).transform("clip_embed", objects=True)
    assert EMBEDDING_ATTRIBUTE in embedded.annotations[0].attributes
    computed = encoder.pictures_computed
    run("clip_search", embedded, query="blue", k=1, cache="off")
    assert encoder.pictures_computed == computed


def test_small_objects_are_left_alone():
    items = [with_things("a", 1), with_things("b", 1)]
    assert left(run("clip_dedup", *items, min_side=200)) == {"a": [0], "b": [0]}


@pytest.mark.parametrize("tool", ["clip_align", "clip_clean"])
def test_tools_without_a_meaning_for_objects_refuse_the_option(tool: str):
    with pytest.raises(OptionError, match="no option objects"):
        run(tool, scene(RED))
