"""How well the curation decides by default, on a drawn catalogue in which it is known what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import pytest
from datumaro.components.dataset import Dataset

from datumaro_clip.curate.decisions import Decision
from datumaro_clip.demo.catalogue import write_catalogue
from datumaro_clip.host.integrity import ClipIntegrityValidator
from datumaro_clip.host.transform import ClipAlign, ClipClean, ClipDedup, ClipOutliers

ITEMS = 400
COPIES = ("exact_copy", "reencoded_copy", "resized_copy", "cropped_copy", "brightened_copy")
# Of eight planted defects of a kind, one may be missed, and one decision may be wrong.
SLIPS = 1

Subject = tuple[str, int | None]


class Drawn(NamedTuple):
    """A catalogue, its truth by kind, and a way to run a transform on it once."""

    dataset: Dataset
    planted: dict[str, list[dict[str, Any]]]
    look_alikes: list[tuple[str, str]]
    decide: Callable[[type], list[Decision]]

    def subject(self, one: Decision) -> Subject:
        """The item, or the caption by its number in the annotations file."""
        if one.annotation is None:
            return one.key.id, None
        return one.key.id, self.dataset.get(one.key.id, one.key.subset).annotations[one.annotation].id

    def dropped(self, transform: type, *reasons: str) -> set[Subject]:
        """What was dropped for one of some reasons; for any, where none is named."""
        found = [one for one in self.decide(transform) if one.action == "drop"]
        return {self.subject(one) for one in found if not reasons or one.reason in reasons}

    def wrong(self, kind: str) -> set[Subject]:
        """What is wrong by the truth."""
        return {(defect["id"], defect.get("caption_id")) for defect in self.planted[kind]}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    root = tmp_path_factory.mktemp("catalogue")
    write_catalogue(root / "shop", items=ITEMS, seed=7)
    truth = json.loads((root / "shop/truth.json").read_text(encoding="utf-8"))
    planted: dict[str, list[dict[str, Any]]] = {}
    for defect in truth["defects"]:
        planted.setdefault(defect["kind"], []).append(defect)
    dataset = Dataset.import_from(str(root / "shop"), "coco")
    common = {"model": "tiny", "cache": str(root / "cache")}
    options = {ClipClean: {}, ClipAlign: {**common, "drop_captions": True}}

    @cache
    def decide(transform: type) -> list[Decision]:
        return list(transform(dataset, **options.get(transform, common)).decisions.decisions)

    return Drawn(dataset, planted, truth["look_alikes"], decide)


def require(found: set[Any], wanted: set[Any], *, harmless: set[Any] = frozenset()) -> None:
    """At most one is missing, and at most one is wrong."""
    assert len(wanted) == ITEMS // 50
    assert len(wanted - found) <= SLIPS, f"missed {wanted - found}"
    assert len(found - wanted - harmless) <= SLIPS, f"wrong {found - wanted - harmless}"


@pytest.mark.parametrize(
    ("kind", "transform", "reasons"),
    [
        ("missing_file", ClipClean, ["missing"]),
        ("unreadable_file", ClipClean, ["unreadable", "truncated", "empty"]),
        ("empty_caption", ClipClean, ["empty_caption"]),
        ("garbled_caption", ClipClean, ["garbled_caption"]),
        ("outlier", ClipOutliers, ["outlier"]),
        ("wrong_label", ClipOutliers, ["wrong_label"]),
    ],
)
def test_each_kind_of_defect_is_found_by_its_reason(drawn: Drawn, kind: str, transform: type, reasons: list[str]):
    require(drawn.dropped(transform, *reasons), drawn.wrong(kind))


def test_foreign_captions_are_found(drawn: Drawn):
    """Captions of outliers, and those that say nothing, do not fit their pictures either."""
    outliers = {name for name, _ in drawn.wrong("outlier")}
    others = {one for one in drawn.dropped(ClipAlign) if one[0] in outliers}
    said_nothing = drawn.wrong("empty_caption") | drawn.wrong("garbled_caption")
    require(drawn.dropped(ClipAlign), drawn.wrong("foreign_caption"), harmless=others | said_nothing)


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_found_and_look_alikes_stay(drawn: Drawn, kind: str):
    found = {frozenset((one.key.id, one.representative.id)) for one in drawn.decide(ClipDedup) if one.representative}
    pairs = {name: {frozenset((one["id"], one["of"])) for one in drawn.planted[name]} for name in COPIES}
    require(found, pairs[kind], harmless=set().union(*pairs.values()))
    assert found.isdisjoint(frozenset(pair) for pair in drawn.look_alikes)


def test_boxes_outside_are_found(drawn: Drawn):
    reports = ClipIntegrityValidator().validate(drawn.dataset)["validation_reports"]
    found = {(one["item_id"], None) for one in reports if one["anomaly_type"] == "BoxOutsidePicture"}
    assert found == drawn.wrong("box_outside")


@pytest.mark.parametrize("transform", [ClipClean, ClipAlign, ClipDedup, ClipOutliers])
def test_at_most_one_good_item_in_a_hundred_is_lost(drawn: Drawn, transform: type):
    defects = [defect for kind in drawn.planted.values() for defect in kind]
    suspect = {name for defect in defects for name in (defect["id"], defect.get("of"))}
    lost = {name for name, caption in drawn.dropped(transform) if caption is None} - suspect
    assert len(lost) <= 0.01 * (ITEMS - len(defects))
