"""Items that decisions cannot tell apart, pictures that fail, and marks that say the same as those of kept items."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from datumaro.components.annotation import AnnotationType, Bbox, Caption, Label, LabelCategories
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from PIL import Image as Pictures

from datumaro_clip.curate.decisions import read_decisions
from datumaro_clip.errors import OptionError
from datumaro_clip.host.apply import Replay
from datumaro_clip.host.items import neutral
from datumaro_clip.host.transform import (
    ClipAlign,
    ClipClassify,
    ClipClean,
    ClipDedup,
    ClipOutliers,
    ClipSample,
    ClipSearch,
)
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.testing.fake_encoder import COLOURS

# Everything that embeds, with options under which it keeps all items that it can embed.
KEEPING = [
    (ClipAlign, {"min_score": -1.0}),
    (ClipAlign, {"min_score": -1.0, "against": "labels"}),
    (ClipAlign, {"min_score": -1.0, "against": "boxes"}),
    (ClipDedup, {}),
    (ClipSample, {"count": 4}),
    (ClipClassify, {}),
    (ClipOutliers, {}),
    (ClipSearch, {"query": "a cat"}),
]


pytestmark = pytest.mark.usefixtures("encoder")


def pixels(seed: int) -> np.ndarray:
    tiles = np.random.default_rng(seed).integers(0, 255, (6, 6, 3))
    return np.kron(tiles, np.ones((12, 12, 1))).astype(np.uint8)


def item(name: str, media: Image, subset: str = "train") -> DatasetItem:
    notes = [Label(0), Caption(f"a red cat called {name}"), Bbox(4, 4, 40, 40, label=1)]
    return DatasetItem(name, subset=subset, media=media, annotations=notes)


def good(name: str, seed: int, subset: str = "train") -> DatasetItem:
    return item(name, Image.from_numpy(pixels(seed)), subset)


def dataset(*items: DatasetItem) -> Dataset:
    return Dataset.from_iterable(items, categories=["cat", "dog"])


def with_a_broken_one(count: int = 4) -> Dataset:
    """Pictures, and one whose file is not there."""
    gone = item("broken", Image.from_file(path="/nowhere/broken.jpg"))
    return dataset(good("g0", 0), gone, *(good(f"g{n}", n) for n in range(1, count)))


def with_foreign_captions() -> Dataset:
    """Plain pictures that are called by their colour, but for two that are called by each other's."""
    names = [name for name in COLOURS for _ in range(4)]
    told = [names[-1], *names[1:-1], names[0]]
    media = [np.full((16, 16, 3), COLOURS[name], np.uint8) for name in names]
    pairs = enumerate(zip(media, told, strict=True))
    return dataset(
        *(
            DatasetItem(f"i{n}", subset="train", media=Image.from_numpy(each), annotations=[Caption(f"a {name} thing")])
            for n, (each, name) in pairs
        )
    )


def ids(found: Dataset) -> list[str]:
    return [str(each.id) for each in found]


@pytest.fixture
def twins(tmp_path: Path) -> Dataset:
    """Two copies that are called ``a``, and another picture."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, seed in (("a.jpg", 1), ("a.png", 1), ("b.png", 2)):
        Pictures.fromarray(pixels(seed)).save(folder / name)
    return Dataset.import_from(str(folder), "image_dir")


@pytest.mark.parametrize(
    ("transform", "options"), [*KEEPING, (ClipDedup, {"no_vectors": True}), (ClipClean, {"skip": ["repeated_id"]})]
)
def test_items_of_one_name_are_refused_where_one_would_take_the_other_with_it(
    transform: type, options: dict, twins: Dataset, encoder: FakeEncoder
):
    with pytest.raises(OptionError) as caught:
        twins.transform(transform, **options).init_cache()
    assert str(caught.value) == (
        "2 items are called a@default, and an item's id and subset must be its own: rename the others, or let "
        "clip_clean drop them first, as repeated_id"
    )
    assert not encoder.pictures_computed


def test_clip_clean_is_a_cure_for_items_of_one_name(twins: Dataset):
    twins.transform(ClipClean)
    twins.transform(ClipDedup, no_vectors=True)
    assert sorted(ids(twins)) == ["a", "b"]


def test_one_name_in_two_subsets_is_no_repetition():
    apart = dataset(good("a", 1, "train"), good("a", 2, "val")).transform(ClipDedup, no_vectors=True)
    assert len(apart) == 2


@pytest.mark.parametrize(("transform", "options"), KEEPING)
def test_failed_pictures_are_skipped_where_asked_counted_and_replayed(
    transform: type, options: dict, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO):
        skipped = with_a_broken_one().transform(transform, **options, on_error="skip", report=str(tmp_path))
        assert sorted(ids(skipped)) == ["g0", "g1", "g2", "g3"]
    assert "5 items" in caplog.text
    assert "drop failed_missing 1" in caplog.text
    log = read_decisions(tmp_path / "decisions.jsonl")
    assert [one.reason for one in log.decisions if one.key.id == "broken"] == ["failed_missing"]
    assert "failed_missing" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert ids(with_a_broken_one().transform(Replay, log=log)) == ids(skipped)


@pytest.mark.parametrize(("transform", "options"), KEEPING)
def test_a_dataset_of_which_every_picture_fails_is_empty_with_skip(transform: type, options: dict):
    gone = [item(f"i{n}", Image.from_file(path=f"/nowhere/{n}.jpg")) for n in range(4)]
    assert len(dataset(*gone).transform(transform, **options, on_error="skip")) == 0


def test_failed_pictures_take_no_place_among_hits_and_samples():
    assert ids(with_a_broken_one().transform(ClipSearch, item="g0", k=1, on_error="skip")) == ["g0"]
    assert len(with_a_broken_one().transform(ClipSample, count=2, on_error="skip")) == 2


def test_failed_pictures_are_dropped_whatever_is_done_with_what_is_found():
    marked = with_a_broken_one().transform(ClipOutliers, min_similarity=1.0, action="mark", on_error="skip")
    assert ids(marked) == ["g0", "g1", "g2", "g3"]


def test_failed_pictures_stay_where_they_are_protected_or_excepted(tmp_path: Path):
    (tmp_path / "keep").write_text("broken@train\n")
    for shield in ({"protect": "train"}, {"except_file": str(tmp_path / "keep")}):
        assert "broken" in ids(with_a_broken_one().transform(ClipDedup, on_error="skip", **shield))


def test_one_bad_box_does_not_take_a_good_picture_with_it():
    source = dataset(good("a", 1), good("b", 2))
    source.get("a", "train").annotations.append(Bbox(500, 500, 9, 9, label=1))
    assert len(source.transform(ClipAlign, against="boxes", min_score=-1.0, on_error="skip")) == 2


def test_marked_items_carry_the_same_quantity_as_kept_ones():
    """The cosine similarity, which the detail tells too, and not the margin that decided."""
    made = ClipAlign(with_foreign_captions(), action="mark")
    marked = {one.key.id: one for one in made.decisions.decisions if one.action == "mark"}
    found = {str(each.id): each.attributes for each in made}
    assert marked
    for name, decision in marked.items():
        assert decision.detail.endswith(f"cosine similarity {found[name]['clip_score']:.3f}")
        assert found[name]["clip_reason"] == "mismatch"


@pytest.mark.parametrize(
    ("transform", "one", "several"),
    [
        (ClipDedup, {"levels": "exact"}, {"levels": ["exact"]}),
        (ClipDedup, {"keep": "resolution", "no_vectors": True}, {"keep": ["resolution"], "no_vectors": True}),
        (ClipClean, {"skip": "blank"}, {"skip": ["blank"]}),
        (ClipSample, {"count": 2, "start_from": "train"}, {"count": 2, "start_from": ["train"]}),
        (ClipClassify, {"labels": "hat"}, {"labels": ["hat"]}),
    ],
)
def test_one_name_is_as_good_as_a_list_of_one(transform: type, one: dict, several: dict) -> None:
    found = [dataset(good("a", 0), good("b", 1, "val")).transform(transform, **options) for options in (one, several)]
    assert [list(each.categories().values()) for each in found[:1]] == [list(found[1].categories().values())]
    assert [(item.id, item.annotations) for item in found[0]] == [(item.id, item.annotations) for item in found[1]]


def test_labels_that_are_added_leave_the_others_as_they_were(tmp_path: Path) -> None:
    labels = LabelCategories()
    labels.add("cat", parent="animal", attributes={"furry"})
    labels.add_label_group("pets", ["cat"], group_type=0)
    items = [good("a", 0), good("b", 1)]
    given = Dataset.from_iterable(items, categories={AnnotationType.label: labels})
    found = given.transform(ClipClassify, labels=["hat", "cat", "hat"], report=str(tmp_path))
    added = found.categories()[AnnotationType.label]
    assert [(each.name, each.parent, each.attributes) for each in added.items] == [
        ("cat", "animal", {"furry"}),
        ("hat", "", set()),
    ]
    assert added.label_groups == labels.label_groups
    assert [each.name for each in labels.items] == ["cat"]
    again = Dataset.from_iterable(items, categories={AnnotationType.label: labels})
    again.transform(Replay, log=read_decisions(tmp_path / "decisions.jsonl"))
    assert again.categories()[AnnotationType.label].items[0] == labels.items[0]


def test_a_class_without_a_name_is_refused() -> None:
    with pytest.raises(OptionError, match="needs a name"):
        dataset(good("a", 0)).transform(ClipClassify, labels=["", "x"]).init_cache()


@pytest.mark.parametrize(("label", "name"), [(0, "cat"), (1, "dog"), (2, 2), (-1, -1)])
def test_a_label_that_no_class_has_keeps_its_number(label: int, name: object):
    """The number of classes is none of them, and -1 is not the last."""
    found = neutral(DatasetItem("a", annotations=[Label(label), Bbox(1, 2, 3, 4, label=label)]), ["cat", "dog"])
    assert [each.name for each in found.labels] == [name, name]
    assert [each.is_of_picture for each in found.labels] == [True, False]
