"""Names that may mean the same: proposed by evidence, never decided, and a mapping that says what was accepted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datumaro_clip.curate.mapping import read_mapping, write_mapping
from datumaro_clip.curate.synonyms import LabelledBox, LabelSource, iou, matched, plain, propose
from datumaro_clip.errors import OptionError


def source(name: str, labels: str, boxes: str = "") -> LabelSource:
    """Boxes side by side, one a label, in one picture that all sources have."""
    things = [LabelledBox((20.0 * n, 0, 10, 10), label) for n, label in enumerate(boxes.split()) if label != "-"]
    return LabelSource(name, tuple(labels.split()), {b"picture": things})


def told(*sources: LabelSource, names: dict[str, np.ndarray] | None = None) -> list[tuple[str, str, str]]:
    return [(each.name, each.relation, each.target) for each in propose(sources, names)]


def test_no_source_and_one_propose_nothing():
    assert told() == []
    assert told(source("A", "cat cats Cat")) == []


def test_boxes_that_coincide_propose_names_that_look_nothing_alike():
    assert told(source("A", "couch", "couch couch"), source("B", "sofa", "sofa sofa")) == [("sofa", "same", "couch")]


def test_boxes_of_different_pictures_say_nothing():
    here, there = source("A", "couch", "couch couch"), source("B", "sofa", "sofa sofa")
    assert told(here, replace(there, pictures={b"another": there.pictures[b"picture"]})) == []


def test_a_proposal_says_what_the_boxes_told_where_they_did():
    [found] = propose([source("A", "couch", "couch couch"), source("B", "sofa", "sofa sofa")])
    assert found.evidence["boxes"] == {"shared pictures": 1, "coincide": 2, "agreement": [1.0, 1.0]}
    [found] = propose([source("A", "dining_table"), source("B", "DiningTable")])
    assert "boxes" not in found.evidence


def test_the_name_that_more_sources_have_stays():
    assert told(source("A", "sofa", "sofa sofa"), source("B", "couch", "couch couch"), source("C", "couch")) == [
        ("sofa", "same", "couch")
    ]


def test_one_box_is_no_evidence():
    assert told(source("A", "couch", "couch"), source("B", "sofa", "sofa")) == []


def test_a_kind_of_another_is_proposed_as_its_parent_and_not_as_the_same():
    cars = source("A", "car", "car car car car car car")
    kinds = source("B", "sedan van", "sedan sedan van van van van")
    assert told(cars, kinds) == [("van", "same", "car"), ("sedan", "parent", "car")]
    even = source("B", "sedan van", "sedan sedan sedan van van van")
    assert sorted(told(cars, even)) == [("sedan", "parent", "car"), ("van", "parent", "car")]


def test_spelling_proposes_unless_boxes_say_otherwise():
    assert told(source("A", "dining_table"), source("B", "DiningTable")) == [("DiningTable", "same", "dining_table")]
    here, there = (
        source("A", "mouse dog", "mouse " * 5 + "dog " * 5),
        source("B", "mouses cat", "cat " * 5 + "mouses " * 5),
    )
    assert ("mouses", "same", "mouse") not in told(here, there)


def test_the_last_word_may_be_a_parent():
    assert [(each.name, each.relation, each.target) for each in propose([
        LabelSource("A", ("car",)), LabelSource("B", ("sports car", "oscar")),
    ])] == [("sports car", "parent", "car")]  # fmt: skip


def test_names_that_are_each_other_s_nearest_are_proposed():
    def unit(*values: float) -> np.ndarray:
        return np.array(values, np.float32) / np.linalg.norm(values)

    names = {"couch": unit(1, 0), "dog": unit(0, 1), "sofa": unit(0.9, 0.1), "boat": unit(0.8, 0.6)}
    assert ("sofa", "same", "couch") in told(source("A", "couch dog"), source("B", "sofa boat"), names=names)
    assert ("boat", "same", "couch") not in told(source("A", "couch dog"), source("B", "sofa boat"), names=names)


BOX = st.tuples(*[st.integers(0, 9)] * 2, *[st.integers(1, 9)] * 2).map(lambda box: tuple(map(float, box)))


@given(BOX, BOX)
def test_overlap_is_symmetric_and_one_only_for_equal_boxes(one, other):
    assert iou(one, other) == iou(other, one)
    assert 0 <= iou(one, other) <= 1
    assert (iou(one, other) == 1) == (one == other)


def test_each_box_is_matched_once_and_with_its_likest():
    left = [LabelledBox((0, 0, 10, 10), "a"), LabelledBox((1, 0, 10, 10), "b")]
    right = [LabelledBox((1, 0, 10, 10), "c")]
    assert [(one.label, other.label) for one, other in matched(left, right)] == [("b", "c")]
    assert list(matched(left, right, same_label=True)) == []


@pytest.mark.parametrize(
    ("one", "other"), [("TV monitor", "tv_monitor"), ("Cars", "car"), ("glass", "glass"), ("é-clair", "ÉCLAIRS")]
)
def test_names_without_case_blanks_marks_and_plurals(one: str, other: str):
    assert plain(one) == plain(other)


def test_what_is_proposed_is_not_accepted_until_a_person_says_so(tmp_path: Path):
    pairs = [each.entry() for each in propose([source("A", "couch", "couch couch"), source("B", "sofa", "sofa sofa")])]
    write_mapping(tmp_path / "m.yaml", pairs, "a comment")
    assert read_mapping(tmp_path / "m.yaml").renames == {}
    text = (tmp_path / "m.yaml").read_text()
    (tmp_path / "m.yaml").write_text(text.replace("accept: no", "accept: yes"))
    mapping = read_mapping(tmp_path / "m.yaml")
    assert mapping.renames == {"sofa": "couch"}
    assert len(mapping.sha256) == 64


HEAD = "format: datumaro-clip mapping\nversion: 1\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is no mapping"),
        ("[", "is no YAML"),
        ("!!python/object/apply:os.system [ls]", "is no YAML"),
        ("format: datumaro-clip mapping\nversion: 9\n", "has version 9"),
        (HEAD + "labels: {a: b}\n", "labels must be a list"),
        (HEAD + "labels: [{from: a, to: 3, accept: yes}]\n", "label 1: to must be a name, got 3"),
        (HEAD + "labels: [{from: no, to: b, accept: yes}]\n", "from must be a name, got False; put it in quotation"),
        (HEAD + "labels: [{from: a, to: b, accept: maybe}]\n", "accept must be yes or no"),
        (HEAD + "labels: [{from: a, to: b, relation: cousin}]\n", "relation must be same or parent"),
        (
            HEAD + "labels: [{from: a, to: b, accept: yes}, {from: a, to: c, accept: yes}]\n",
            "cannot be both 'b' and 'c'",
        ),
        (HEAD + "labels: [{from: a, to: b, accept: yes}, {from: b, to: a, accept: yes}]\n", "goes round in a circle"),
        (HEAD + "attributes: [a, b]\n", "attributes must be a list of entries"),
        (HEAD + "attributes: [{from: a, type: date}]\n", "type must be one of text, int"),
    ],
)
def test_a_mapping_that_cannot_be_used_is_refused(content: str, words: str, tmp_path: Path):
    (tmp_path / "m.yaml").write_text(content)
    with pytest.raises(OptionError, match=words):
        read_mapping(tmp_path / "m.yaml")


def test_chains_are_followed_to_their_end(tmp_path: Path):
    entries = ("from: a, to: b", "from: b, to: c", "from: d, to: c, relation: parent")
    lines = "".join(f"- {{{entry}, accept: yes}}\n" for entry in entries)
    (tmp_path / "m.yaml").write_text(f"{HEAD}labels:\n{lines}")
    mapping = read_mapping(tmp_path / "m.yaml")
    assert (mapping.renames, mapping.parents) == ({"a": "c", "b": "c"}, {"d": "c"})
