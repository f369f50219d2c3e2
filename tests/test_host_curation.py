"""The curation transforms through Datumaro: what they drop, mark, move and report; what they refuse."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from datumaro.components.annotation import Bbox, Caption, Label
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image, PointCloud
from datumaro.components.transformer import Transform
from embeddings import with_embeddings
from small_datasets import Repeating, copies, dataset, ids, item, pixels, several

from datumaro_clip.curate import run_model as module
from datumaro_clip.curate.decisions import read_decisions
from datumaro_clip.curate.run import options_of
from datumaro_clip.curate.vector_options import EmbeddingOptions
from datumaro_clip.errors import DatumaroClipError, OptionError
from datumaro_clip.host.apply import Replay
from datumaro_clip.host.embedding import attach
from datumaro_clip.host.transform import (
    ClipAlign,
    ClipClassify,
    ClipClean,
    ClipDedup,
    ClipOutliers,
    ClipSample,
    ClipSearch,
)
from datumaro_clip.options import read_options
from datumaro_clip.testing import FakeEncoder

EVERY = [ClipClean, ClipAlign, ClipDedup, ClipSample, ClipClassify, ClipOutliers, ClipSearch]
ENOUGH = {ClipSample: {"count": 5}, ClipSearch: {"query": "a cat"}, ClipAlign: {"min_score": -1.0}}

pytestmark = pytest.mark.usefixtures("encoder")


@pytest.mark.parametrize("transform", EVERY)
def test_no_items_stay_no_items(transform: type):
    assert len(dataset().transform(transform, **ENOUGH.get(transform, {}))) == 0


@pytest.mark.parametrize("transform", EVERY)
def test_one_item_gets_a_result(transform: type):
    assert len(several(1).transform(transform, **ENOUGH.get(transform, {}))) == 1


@pytest.mark.parametrize("transform", EVERY)
def test_items_without_pictures_get_a_result(transform: type):
    options = {**ENOUGH.get(transform, {}), "action": "mark"}
    assert len(dataset(item("a", None), item("b", None)).transform(transform, **options)) == 2


@pytest.mark.parametrize("transform", EVERY)
def test_every_run_can_be_reported_and_replayed_exactly(transform: type, tmp_path: Path):
    options = {**ENOUGH.get(transform, {}), "report": str(tmp_path)}
    once = several().transform(transform, **options)
    once.init_cache()
    again = several().transform(Replay, log=read_decisions(tmp_path / "decisions.jsonl"))
    assert ids(once) == ids(again)
    assert [each.annotations for each in once] == [each.annotations for each in again]
    assert [dict(each.attributes) for each in once] == [dict(each.attributes) for each in again]
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("transform", EVERY)
@pytest.mark.parametrize("wrong", [{"action": "eat"}, {"action": "subset:"}, {"subset": "nowhere"}, {"colour": 1}])
def test_options_that_make_no_sense_are_refused_and_not_passed_over(transform: type, wrong: dict):
    with pytest.raises(OptionError):
        several().transform(transform, **{**ENOUGH.get(transform, {}), **wrong}).init_cache()


@pytest.mark.parametrize(
    ("transform", "wrong", "message"),
    [
        (ClipClean, {"max_aspect": 0.5}, "--max-aspect must be at least 1, got 0.5"),
        (ClipClean, {"max_aspect": float("inf")}, "--max-aspect must be at least 1, and finite, got inf"),
        (ClipClean, {"except_file": "nowhere"}, "nowhere: No such file or directory; check the path"),
        (ClipClean, {"report": "/proc/report"}, "--report /proc/report: No such file or directory; check the path"),
        (ClipAlign, {"keep_top": 3}, "--keep-top must be above 0 and at most 1, got 3"),
        (ClipDedup, {"threshold": 3}, "--threshold must be from -1 to 1, got 3"),
        (ClipSample, {}, "give either --count or --ratio"),
        (ClipSample, {"ratio": 3}, "--ratio must be from 0 to 1, got 3"),
        (ClipSample, {"count": 3, "clusters": 0}, "--clusters must be at least 1, got 0"),
        (ClipClassify, {"min_probability": 3}, "--min-probability must be from 0 to 1, got 3"),
        (ClipOutliers, {"neighbours": 0}, "--neighbours must be at least 1, got 0"),
        (ClipOutliers, {"min_doubt": 7}, "--min-doubt must be from 0 to 1, got 7"),
        (ClipSearch, {"query": "x", "k": 0}, "-k must be at least 1, got 0"),
        (ClipSearch, {"query": "x", "min_score": float("nan")}, "--min-score must be from -1 to 1, got nan"),
    ],
)
def test_what_cannot_be_done_is_refused_before_a_picture_is_read(
    transform: type, wrong: dict, message: str, encoder: FakeEncoder
):
    with pytest.raises(DatumaroClipError) as caught:
        several().transform(transform, **wrong).init_cache()
    assert str(caught.value) == message
    assert not encoder.pictures_computed


@pytest.mark.parametrize("transform", EVERY)
def test_the_command_line_has_the_defaults_of_python(transform: type):
    """Before the tool asks for what it cannot do without."""
    parsed = vars(transform.build_cmdline_parser().parse_args([]))
    table = options_of(transform.TOOL)
    assert read_options(table, parsed, "it") == read_options(table, {}, "it")


@pytest.mark.parametrize(
    ("transform", "options"),
    [
        (ClipOutliers, {}),
        (ClipClassify, {}),
        (ClipSearch, {"query": "a cat"}),
        (ClipSample, {"strategy": "query", "query": "a cat", "count": 5}),
    ],
)
def test_one_model_answers_for_pictures_and_texts(transform: type, options: dict, monkeypatch: pytest.MonkeyPatch):
    """A second one costs its loading, says its notes again, and may be of another space than the items' vectors."""
    carrying = [attach(each.item, each.embedding) for each in with_embeddings(several(16), EmbeddingOptions())]
    loaded: list[object] = []
    monkeypatch.setattr(module, "load_model", lambda model, **kwargs: loaded.append(model) or FakeEncoder())
    several(16).transform(transform, **options).init_cache()
    dataset(*carrying).transform(transform, **options).init_cache()
    assert loaded == [None, FakeEncoder().space.fingerprint]


def test_clean_drops_pictures_and_captions_by_name(caplog: pytest.LogCaptureFixture):
    blank = item("blank", np.full((64, 64, 3), 128, np.uint8))
    bad = item("bad", pixels(1), caption="q#z@^^|{x} 0=7*k")
    with caplog.at_level(logging.INFO):
        found = dataset(blank, bad, item("good", pixels(2)), item("none", None))
        found = found.transform(ClipClean, require_picture=True)
        assert ids(found) == ["bad", "good"]
    assert [type(note) for note in found.get("bad", "train").annotations] == [Label]
    assert "drop blank 1, drop garbled_caption 1, drop no_image 1" in caplog.text


def test_clean_keeps_what_is_no_picture_unless_pictures_are_required(tmp_path: Path):
    cloud = DatasetItem("cloud", media=PointCloud.from_file(str(tmp_path / "a.pcd")))
    for each, kind in ((cloud, PointCloud), (item("caption", None), Image)):
        for required, kept in ((False, [each.id]), (True, [])):
            given = Dataset.from_iterable([each], media_type=kind)
            assert ids(given.transform(ClipClean, require_picture=required)) == kept


def test_clean_decides_the_same_wherever_the_pictures_lie(tmp_path: Path):
    told = []
    for folder in ("here", "there"):
        gone = DatasetItem("gone", subset="train", media=Image.from_file(path=str(tmp_path / folder / "gone.jpg")))
        told.append(ClipClean(dataset(gone)).decisions)
    assert told[0] == told[1]
    assert "gone.jpg" in told[0].decisions[0].detail


def test_clean_leaves_out_checks_and_can_require_captions():
    blank = item("blank", np.full((64, 64, 3), 128, np.uint8), caption=" ")
    assert len(dataset(blank).transform(ClipClean, skip=["blank"])) == 1
    assert len(dataset(blank).transform(ClipClean, skip=["blank"], require_caption=True)) == 0


def test_outliers_say_that_items_of_several_classes_are_not_judged():
    boxed = [item(f"i{n}", pixels(n)) for n in range(3)]
    boxed[0].annotations.append(Bbox(0, 0, 20, 20, label=1))
    notes = ClipOutliers(dataset(*boxed)).decisions.notes
    assert notes[0].startswith("1 items carry labels of several classes, which are not judged")
    assert "clip_align --against boxes" in notes[0]
    assert not any("several" in note for note in ClipOutliers(several(3)).decisions.notes)
    assert not any("several" in note for note in ClipOutliers(dataset(*boxed), what="pictures").decisions.notes)


def test_align_keeps_the_best_share_and_prints_the_distribution(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        assert len(several(10).transform(ClipAlign, keep_top=0.3)) == 3
    assert "median" in caplog.text
    assert "keeps" in caplog.text


@pytest.mark.parametrize(
    ("options", "title", "most"),
    [
        ({"keep_top": 0.3}, "cosine similarity of picture and text", 1.0),
        ({}, "margin of the caption, in standard deviations", None),
    ],
)
def test_align_says_what_it_measured(options: dict, title: str, most: float | None):
    [measure] = ClipAlign(several(24), **options).decisions.measures
    assert (measure.title, measure.most) == (title, most)


def test_align_drops_only_captions_where_asked():
    found = several(4).transform(ClipAlign, min_score=1.0, drop_captions=True)
    assert len(found) == 4
    assert not any(isinstance(note, Caption) for each in found for note in each.annotations)


def test_align_writes_scores_and_leaves_items_without_captions_alone():
    bare = DatasetItem("bare", subset="train", media=Image.from_numpy(pixels(3)))
    found = dataset(item("a", pixels(1)), bare).transform(ClipAlign, min_score=-1.0)
    assert -1 <= found.get("a", "train").attributes["clip_score"] <= 1
    assert len(found) == 2


def test_align_scores_boxes_against_their_labels():
    boxed = item("a", pixels(1))
    boxed.annotations.append(Bbox(0, 0, 20, 20, label=1))
    found = dataset(boxed, item("b", pixels(2))).transform(ClipAlign, against="boxes", min_score=1.0)
    assert [type(note) for note in found.get("a", "train").annotations] == [Label, Caption]
    assert len(found) == 2


def test_align_without_enough_texts_asks_for_a_threshold():
    with pytest.raises(OptionError, match="min-score"):
        several(3).transform(ClipAlign).init_cache()


@pytest.mark.parametrize("method", ["random", "stratified", "k_center", "centroid", "cluster_random", "typical"])
def test_samples_have_their_size_whatever_the_batch(method: str):
    one = ids(several(12).transform(ClipSample, strategy=method, count=5))
    two = ids(several(12).transform(ClipSample, strategy=method, count=5, batch_size=1))
    assert len(one) == 5
    assert one == two


def test_sample_starts_from_a_subset_and_works_per_subset():
    mixed = [item(f"i{n}", pixels(n), "train" if n < 4 else "val") for n in range(8)]
    assert len(dataset(*mixed).transform(ClipSample, count=2, start_from=["train"]).get_subset("train")) == 4
    halves = dataset(*mixed).transform(ClipSample, strategy="random", ratio=0.5, per_subset=True)
    assert [len(halves.get_subset(name)) for name in ("train", "val")] == [2, 2]


def test_classify_adds_labels_and_new_categories():
    found = several(3).transform(ClipClassify, labels=["cat", "bird"])
    names = [category.name for category in next(iter(found.categories().values())).items]
    assert names == ["cat", "dog", "bird"]
    added = [note for each in found for note in each.annotations if "clip_confidence" in note.attributes]
    assert len(added) == 3


def test_classify_only_marks_where_asked():
    found = several(3).transform(ClipClassify, action="mark")
    assert all(each.attributes["clip_label"] in ("cat", "dog") for each in found)
    assert all(len(each.annotations) == 2 for each in found)


class CountedReads(Transform):
    """Passes items on, and counts how often each is asked for."""

    reads: ClassVar[Counter[str]] = Counter()

    def __iter__(self):
        for each in self._extractor:
            self.reads[each.id] += 1
            yield each


@pytest.mark.parametrize("transform", EVERY)
def test_the_source_is_read_once_whatever_is_asked_for(transform: type, tmp_path: Path):
    """Read again, an upstream that computes costs as much again, and one that draws gives other items."""
    CountedReads.reads.clear()
    options = {**ENOUGH.get(transform, {}), "report": str(tmp_path), "subset": ["train"]}
    options |= {"merge_annotations": True} if transform is ClipDedup else {}
    made = transform(CountedReads(copies()), **options)
    assert len(list(made)) == len(made)
    assert len(list(made)) == sum(len(subset) for subset in made.subsets().values())
    assert dict(CountedReads.reads) == {each.id: 1 for each in copies()}


def test_embedding_before_curation_computes_each_picture_once(encoder: FakeEncoder, tmp_path: Path):
    chain = several(5).transform("clip_embed", cache="off", batch_size=1)
    chain.transform(ClipDedup, cache="off", batch_size=1, report=str(tmp_path)).init_cache()
    assert encoder.pictures_computed == 5


def test_a_label_that_no_class_has_is_no_stratum():
    """A label of -1, as some tools write it, ended in an error of NumPy's."""
    odd = [item(f"i{n}", pixels(n), label=-1 if n < 3 else 9 if n < 6 else 0) for n in range(9)]
    made = ClipSample(dataset(*odd), strategy="stratified", count=3)
    kept = [int(key.id[1:]) for key in made.decisions.keys_with()]
    assert sorted(n >= 6 for n in kept) == [False, False, True]


def test_clean_keeps_the_good_one_of_two_items_of_one_id(tmp_path: Path):
    broken = DatasetItem("a", subset="train", media=Image.from_file(path="/nowhere/a.png"))
    items = [broken, item("a", pixels(1)), item("a", pixels(2)), item("b", pixels(3))]
    made = ClipClean(Repeating(items), report=str(tmp_path))
    assert [each.media for each in made] == [items[1].media, items[3].media]
    log = read_decisions(tmp_path / "decisions.jsonl")
    assert log == made.decisions
    told = [(one.reason, one.occurrence) for one in log.decisions]
    assert told == [("missing", None), ("", 1), ("repeated_id", 2), ("", None)]
    assert [each.media for each in Replay(Repeating(items), log)] == [items[1].media, items[3].media]


def test_a_marked_item_keeps_its_score_to_itself_where_another_has_its_id():
    tiny = item("a", np.full((9, 9, 3), 5, np.uint8))
    marked = list(ClipClean(Repeating([tiny, item("a", pixels(1))]), action="mark"))
    assert [each.attributes.get("clip_reason") for each in marked] == ["too_small", None]
    assert [each.attributes.get("clip_score") for each in marked] == [9, None]


def test_search_gives_hits_in_rank_order():
    found = list(several(8).transform(ClipSearch, item="i3", k=4))
    assert found[0].id == "i3"
    scores = [each.attributes["clip_score"] for each in found]
    assert scores == sorted(scores, reverse=True)
    assert [each.attributes["clip_rank"] for each in found] == [0, 1, 2, 3]


@pytest.mark.parametrize(("name", "said"), [("nobody", "no item called"), ("a", "2 items called")])
def test_an_item_to_search_with_must_be_one(name: str, said: str):
    twice = [DatasetItem("a", subset=subset, media=Image.from_numpy(pixels(1))) for subset in ("train", "val")]
    with pytest.raises(OptionError, match=f"{said} '{name}'; write ID@SUBSET"):
        list(ClipSearch(dataset(*twice), item=name))
    assert len(list(ClipSearch(dataset(*twice), item="a@val", k=1))) == 1


@pytest.mark.parametrize("wrong", [{}, {"query": "a", "item": "b"}, {"item": "nobody"}, {"query": "a", "k": 0}])
def test_searches_that_ask_nothing_are_refused(wrong: dict):
    with pytest.raises(OptionError):
        several().transform(ClipSearch, **wrong).init_cache()


def test_errors_of_curation_are_of_the_tree():
    assert issubclass(OptionError, DatumaroClipError)
