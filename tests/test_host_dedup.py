"""What clip_dedup drops, keeps, moves and reports, level by level, through Datumaro."""

from __future__ import annotations

from pathlib import Path

import pytest
from datumaro.components.annotation import Bbox, Caption, Label
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from embeddings import with_embeddings
from small_datasets import copies, dataset, ids, item, pixels, several

from datumaro_clip.curate.decisions import Decision, DecisionLog
from datumaro_clip.curate.vector_options import EmbeddingOptions
from datumaro_clip.errors import OptionError
from datumaro_clip.host.apply import MERGED, DecidedItems
from datumaro_clip.host.transform import (
    ClipDedup,
)
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.vectors import ItemKey

pytestmark = pytest.mark.usefixtures("encoder")


def test_dedup_keeps_the_largest_and_reports_leaks_and_conflicts():
    made = ClipDedup(copies(), no_vectors=True)
    assert ids(made) == ["first", "other"]
    assert len(made) == 2
    reasons = {one.key.id: one.reason for one in made.decisions.decisions}
    assert reasons["same"] == "exact_duplicate"
    assert reasons["small"] == reasons["mirrored"] == "near_duplicate"
    assert any("across subsets" in note for note in made.decisions.notes)
    assert any("labels differ" in note for note in made.decisions.notes)


def test_dedup_never_drops_what_is_protected():
    made = ClipDedup(copies(), no_vectors=True, protect=["train"])
    assert set(ids(made)) == {"small", "same", "mirrored", "other"}


def test_dedup_uses_vectors_and_captions_where_it_may(encoder: FakeEncoder):
    made = ClipDedup(copies())
    assert len(made) == 2
    assert made.decisions.space == encoder.provenance.space.fingerprint
    assert encoder.pictures_computed > 0


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"keep": ["resolution"]}, False),
        ({"keep": ["alignment"]}, True),
        ({"keep": ["resolution"], "levels": ["semantic"], "redundant": "pictures"}, False),
        ({"keep": ["resolution"], "levels": ["semantic"], "redundant": "texts"}, True),
        ({"keep": ["resolution"], "levels": ["semantic"], "redundant": "both"}, True),
    ],
)
def test_captions_are_embedded_where_they_decide(encoder: FakeEncoder, options: dict[str, object], wanted: bool):
    list(ClipDedup(dataset(item("a", pixels(1), caption="red"), item("b", pixels(2), caption="blue")), **options))
    assert (encoder.texts_computed > 0) is wanted


def test_dedup_moves_and_marks():
    moved = copies().transform(ClipDedup, no_vectors=True, action="subset:copies")
    assert set(moved.subsets()) == {"train", "val", "copies"}
    assert len(moved.get_subset("copies")) == 3
    marked = copies().transform(ClipDedup, no_vectors=True, action="mark")
    assert marked.get("same", "train").attributes["clip_reason"] == "exact_duplicate"
    marks = marked.get("same", "train").attributes
    assert marks["clip_representative"] == "first@val"
    assert isinstance(marks["clip_group"], int)


def test_dedup_honours_exceptions(tmp_path: Path):
    (tmp_path / "keep").write_text("mirrored@train\n")
    found = copies().transform(ClipDedup, no_vectors=True, except_file=str(tmp_path / "keep"))
    assert ids(found) == ["first", "mirrored", "other"]


def test_dedup_merges_what_dropped_items_had():
    found = copies().transform(ClipDedup, no_vectors=True, merge_annotations=True)
    notes = found.get("first", "val").annotations
    assert sorted(note.caption for note in notes if isinstance(note, Caption)) == ["a red cat", "first", "same"]
    assert sorted(note.label for note in notes if isinstance(note, Label)) == [0, 1]
    told = {note.caption: note.attributes.get(MERGED) for note in notes if isinstance(note, Caption)}
    assert told == {"first": None, "a red cat": True, "same": True}


@pytest.mark.parametrize(("reason", "boxes"), [("exact_duplicate", 1), ("near_duplicate", 0)])
def test_only_exact_copies_hand_over_what_lies_somewhere_in_the_picture(reason: str, boxes: int):
    """An altered copy may be cropped or turned: its boxes would lie elsewhere."""
    stays, goes = item("stays", None), item("goes", None, caption="another", label=1)
    goes.annotations.append(Bbox(1, 2, 3, 4, label=1))
    dropped = Decision(ItemKey("goes", "train"), "drop", reason, representative=ItemKey("stays", "train"))
    log = DecisionLog("clip_dedup", {"merge_annotations": True}, None, (dropped,))
    [kept] = DecidedItems(log, {}).apply([stays, goes])
    assert [note.caption for note in kept.annotations if isinstance(note, Caption)] == ["a red cat", "another"]
    assert [note.label for note in kept.annotations if isinstance(note, Label)] == [0, 1]
    assert sum(isinstance(note, Bbox) for note in kept.annotations) == boxes


def test_what_is_only_similar_is_no_leak_and_no_conflict(encoder: FakeEncoder):
    """A semantic duplicate is another picture: that it has another label, or lies in another subset, is no fault."""
    made = ClipDedup(
        dataset(item("one", pixels(1)), item("other", pixels(2), "val", label=1)),
        levels=["semantic"],
        semantic_threshold=-1.0,
        clusters=1,
    )
    assert [one.reason for one in made.decisions.decisions] == ["representative", "semantic_duplicate"]
    assert not any("across subsets" in note or "differ" in note for note in made.decisions.notes)


def test_dedup_keeps_a_share_at_the_semantic_level():
    assert len(several(10).transform(ClipDedup, levels=["semantic"], keep_ratio=0.5, clusters=1)) == 5


def test_the_semantic_level_says_that_fewer_are_no_gain_in_themselves():
    made = ClipDedup(several(10), levels=["semantic"], semantic_threshold=-1.0, redundant="both", clusters=1).decisions
    assert "datum-clip evaluate" in made.notes[-1]
    assert [one.threshold for one in made.decisions if one.action == "drop"] == [-1.0] * 9
    assert not any("semantic" in note for note in ClipDedup(copies(), no_vectors=True).decisions.notes)


def test_the_semantic_level_is_told_beside_a_random_choice(encoder: FakeEncoder):
    """Most of the dogs are copies of one, so that dogs alone pay for what goes."""
    dogs = [item(f"c{n}", pixels(n if n < 6 else 0), label=1) for n in range(16)]
    cats = [item(f"o{n}", pixels(20 + n), label=0) for n in range(10)]
    notes = ClipDedup(dataset(*cats, *dogs), levels=["semantic"], keep_ratio=16 / 26, clusters=1).decisions.notes
    assert notes[0].startswith(
        "semantic: what goes is 1.000 similar to what stays, on average; as many drawn at random"
    )
    assert "of 62% that stay, dog keeps 38% of 16, the fewest of all classes" in notes[1]


@pytest.mark.parametrize("wrong", [{"semantic_threshold": 0.9}, {"redundant": "texts"}])
def test_options_of_the_semantic_level_are_refused_without_it(wrong: dict):
    with pytest.raises(OptionError, match="need semantic"):
        several().transform(ClipDedup, **wrong).init_cache()


def test_all_items_identical_leave_one():
    same = dataset(*(item(f"i{n}", pixels(1)) for n in range(9)))
    assert len(same.transform(ClipDedup, no_vectors=True)) == 1


def test_the_reported_score_of_a_semantic_duplicate_is_that_of_the_item_shown():
    made = ClipDedup(several(12), levels=["semantic"], keep_ratio=0.4, clusters=1)
    found = with_embeddings(several(12), EmbeddingOptions())
    vectors = {each.item.id: each.embedding.vector for each in found}
    gone = [one for one in made.decisions.decisions if one.reason == "semantic_duplicate"]
    assert len(gone) == 7
    for one in gone:
        assert one.score == pytest.approx(float(vectors[one.key.id] @ vectors[one.representative.id]), abs=1e-5)
        assert f"{one.score:.3f}" in one.detail


def test_every_copy_among_real_products_is_found_and_nothing_else(shared: Path):
    folder = shared / "data/products"
    names = [line.rpartition(",")[2] for line in (folder / "products.csv").read_text().splitlines()[1:]]
    items = [
        DatasetItem(name, subset="train", media=Image.from_file(path=str(folder / name))) for name in names if name
    ]
    made = ClipDedup(dataset(*items), levels=["exact"])
    assert len(items) == 12_348
    assert made.decisions.counts()["drop exact_duplicate"] == 197
    seen: dict[bytes, str] = {}
    first = {name: seen.setdefault((folder / name).read_bytes(), name) for name in names if name}
    found = {one.key.id for one in made.decisions.decisions if one.action == "drop"}
    assert found == {name for name, owner in first.items() if name != owner}
