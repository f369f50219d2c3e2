"""No click is lost, none is overwritten, and what is written down is what the page showed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datumaro_clip.curate.decisions import read_decisions, read_exceptions
from datumaro_clip.errors import DecisionConflictError, DecisionError
from datumaro_clip.explorer.journal import Choice, Journal
from datumaro_clip.vectors import ItemKey

A, B = ItemKey("a/b @ c", "train"), ItemKey("ü", "val")


def said(journal: Journal) -> list[tuple[str, str, int | None, str]]:
    return [(choice.key.id, choice.action, choice.annotation, choice.tag) for choice in journal.choices()]


def test_nothing_is_written_before_the_first_choice(tmp_path: Path):
    journal = Journal(tmp_path / "decisions")
    assert (journal.version, journal.undoable, journal.choices()) == (0, 0, [])
    assert not journal.directory.exists()


def test_the_latest_choice_about_an_item_counts(tmp_path: Path):
    journal = Journal(tmp_path)
    journal.add([Choice(A, "drop"), Choice(B, "drop")], 0)
    journal.add([Choice(A, "keep")], 1)
    assert said(journal) == [("ü", "drop", None, ""), ("a/b @ c", "keep", None, "")]
    journal.add([Choice(B, "clear")], 2)
    assert said(journal) == [("a/b @ c", "keep", None, "")]


def test_an_annotation_is_decided_apart_from_its_item(tmp_path: Path):
    journal = Journal(tmp_path)
    journal.add([Choice(A, "drop", annotation=2), Choice(A, "keep")], 0)
    assert {(one.annotation, one.action) for one in read_decisions(tmp_path / "decisions.jsonl").decisions} == {
        (2, "drop"),
        (None, "keep"),
    }


def test_tags_are_added_and_taken_away_one_by_one(tmp_path: Path):
    journal = Journal(tmp_path)
    journal.add([Choice(A, "tag", tag="blurred"), Choice(A, "tag", tag="night")], 0)
    journal.add([Choice(A, "untag", tag="night")], 1)
    assert {(action, tag) for _, action, _, tag in said(journal)} == {("tag", "blurred"), ("untag", "night")}
    decided = read_decisions(tmp_path / "decisions.jsonl").decisions
    assert {(one.action, one.tag) for one in decided} == {("tag", "blurred"), ("untag", "night")}


def test_undo_takes_back_one_line_after_another(tmp_path: Path):
    journal = Journal(tmp_path)
    journal.add([Choice(A, "drop"), Choice(B, "drop")], 0)
    journal.add([Choice(A, "keep")], 1)
    assert journal.undo(2) == 3
    assert said(journal) == [("a/b @ c", "drop", None, ""), ("ü", "drop", None, "")]
    journal.undo(3)
    assert said(journal) == []
    assert read_decisions(tmp_path / "decisions.jsonl").decisions == ()
    with pytest.raises(DecisionError, match="nothing left to undo"):
        journal.undo(4)


def test_whoever_has_not_seen_the_latest_choice_is_refused(tmp_path: Path):
    journal = Journal(tmp_path)
    journal.add([Choice(A, "drop")], 0)
    with pytest.raises(DecisionConflictError, match="version 1, yours is 0"):
        journal.add([Choice(A, "keep")], 0)
    with pytest.raises(DecisionConflictError):
        journal.undo(0)
    assert said(journal) == [("a/b @ c", "drop", None, "")]


def test_a_line_that_a_crash_cut_off_is_left_out_and_the_rest_stays(tmp_path: Path):
    journal = Journal(tmp_path)
    journal.add([Choice(A, "drop")], 0)
    journal.add([Choice(B, "drop")], 1)
    file = tmp_path / "journal.jsonl"
    file.write_bytes(file.read_bytes()[:-5])
    again = Journal(tmp_path)
    assert said(again) == [("a/b @ c", "drop", None, "")]
    again.add([Choice(B, "keep")], 1)
    assert said(Journal(tmp_path)) == said(again)


def test_a_foreign_line_is_named(tmp_path: Path):
    (tmp_path / "journal.jsonl").write_text('{"choices": [{"id": 3}]}\n')
    with pytest.raises(DecisionError, match="line 1"):
        Journal(tmp_path)


def test_proposals_that_a_person_keeps_become_exceptions(tmp_path: Path):
    journal = Journal(tmp_path)
    journal.add([Choice(A, "keep", proposal={"reason": "near_duplicate", "score": 0.99}), Choice(B, "drop")], 0)
    assert read_exceptions(tmp_path / "except.txt") == {A}
    kept, dropped = read_decisions(tmp_path / "decisions.jsonl").decisions
    assert (kept.key, kept.action, kept.reason, kept.score) == (A, "keep", "excepted", 0.99)
    assert (dropped.key, dropped.action, dropped.reason) == (B, "drop", "by_hand")


@pytest.mark.parametrize("id", ["#1", "{", "a@b", "\udcff", "two\nlines"])
def test_an_item_of_any_name_stays_whatever_a_tool_proposes(tmp_path: Path, id: str):
    """A line that begins with # is a comment where ids are written as they are."""
    key = ItemKey(id, "train")
    Journal(tmp_path).add([Choice(key, "keep")], 0)
    assert read_exceptions(tmp_path / "except.txt") == {key}
    assert [one.key for one in read_decisions(tmp_path / "decisions.jsonl").decisions] == [key]


def test_an_unknown_action_is_refused():
    with pytest.raises(DecisionError, match="unknown action 'eat'"):
        Choice(A, "eat")
    with pytest.raises(DecisionError, match="do not go together"):
        Choice(A, "tag")


_steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["keep", "drop", "clear"])),
        st.just("undo"),
        st.just("reopen"),
    ),
    max_size=10,
)


@settings(max_examples=40)
@given(_steps)
def test_any_sequence_reads_back_as_it_was_made(tmp_path_factory: pytest.TempPathFactory, steps: list[object]):
    directory = tmp_path_factory.mktemp("journal")
    journal, lines = Journal(directory), []
    for step in steps:
        if step == "reopen":
            journal = Journal(directory)
        elif step == "undo":
            if lines:
                journal.undo(journal.version)
                lines.pop()
        else:
            name, action = step
            journal.add([Choice(ItemKey(name, "s"), action)], journal.version)
            lines.append((name, action))
        standing = {}
        for name, action in lines:
            standing[name] = action
        wanted = {name: action for name, action in standing.items() if action != "clear"}
        assert {choice.key.id: choice.action for choice in journal.choices()} == wanted
