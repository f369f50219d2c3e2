"""From items to an evaluation: what is trained on, what is tested, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datumaro_clip.curate.item import Item, ItemCaption
from datumaro_clip.curate.run_model import RunModel
from datumaro_clip.curate.vector_options import EmbeddingOptions
from datumaro_clip.errors import OptionError
from datumaro_clip.evaluate.evaluation import Difference, Evaluation, Judgement
from datumaro_clip.evaluate.run import OPTIONS, ComparedSet, evaluate
from datumaro_clip.evaluate.scoring import Estimate
from datumaro_clip.options import read_options
from datumaro_clip.vectors import Embedding, ItemKey, unit_rows

NAMES = ("cat", "dog", "hen")


def drawn(count: int, wrong: float = 0.0, seed: int = 0, prefix: str = "item") -> list[Item]:
    """Items with a vector each around that of their class, a share of them with another class's label."""
    rng = np.random.default_rng(seed)
    right = rng.integers(0, len(NAMES), count)
    centres = np.random.default_rng(3).standard_normal((len(NAMES), 8))
    rows = unit_rows(centres[right] + 0.9 * rng.standard_normal((count, 8)))
    given = np.where(rng.random(count) < wrong, (right + 1) % len(NAMES), right)
    return [
        Item.of(
            f"{prefix}-{n}",
            labels=[NAMES[given[n]]],
            embedding=Embedding(rows[n], "name:drawn", "drawn", "unknown"),
            attributes={"right": NAMES[right[n]]},
            subset="test" if n % 4 == 0 else "train",
        )
        for n in range(count)
    ]


def run(raw: Sequence[Item], *curated: ComparedSet, **options: Any) -> tuple[Evaluation, list[ItemKey]]:
    told = {"test": "test", "sizes": [1], "seeds": 2, "copies": "exact", **options}
    model = RunModel(EmbeddingOptions())
    return evaluate(ComparedSet("raw", "raw", raw), curated, read_options(OPTIONS, told, "evaluate"), model)


def decided(items: Sequence[Item], name: str = "curated") -> ComparedSet:
    return ComparedSet(name, f"{name}.jsonl", items, {})


def test_what_lost_its_wrong_labels_helped():
    raw = drawn(400, wrong=0.45)
    raw = [replace(each, labels=Item.of("", labels=[each.attributes["right"]]).labels)
           if each.key.subset == "test" else each for each in raw]  # fmt: skip
    kept = [each for each in raw if each.label == each.attributes["right"]]
    found, test = run(raw, decided(kept, "clean"), decided(raw, "all"))
    clean, everything = found.curated
    assert clean.linear.verdict == "helped"
    assert found.sentence(clean).startswith("clean helped: a classifier trained on ")
    assert everything.linear.verdict == "nothing"
    assert everything.linear.against_raw.accuracy == (0, 0, 0)
    assert len(test) == 100 == found.test.items
    assert clean.random.samples == clean.training.samples == len([e for e in kept if e.key.subset == "train"])
    assert clean.training.left_out == {"test item, or copy of one": 100}


def test_copies_of_test_items_are_not_trained_on():
    """Copies by their vectors here: under other names, in the raw dataset and in the curated one."""
    raw = drawn(80)
    copies = [
        replace(each, key=ItemKey(f"copy of {each.key.id}", "train")) for each in raw if each.key.subset == "test"
    ]
    found, _ = run([*raw, *copies], ComparedSet("other", "other", [*raw, *copies]))
    assert found.raw.samples == 60
    assert found.raw.left_out == {"copy of a test item": 20}
    assert found.curated[0].training.samples == 60
    assert found.curated[0].training.left_out == {"test item, or copy of one": 40}


def test_groups_are_never_on_both_sides_of_a_share():
    raw = drawn(60)
    copies = [replace(each, key=ItemKey(f"copy-{n}-{each.key.id}", "train")) for each in raw[:30] for n in range(3)]
    found, test = run([*raw, *copies], decided(raw), test="0.3")
    originals = {key.id.split("-", 2)[-1] if key.id.startswith("copy") else key.id for key in test}
    assert found.raw.left_out == {}
    assert found.test.items == len(test) <= 45
    assert found.test.groups == len(originals)


def test_an_item_of_a_raw_one_s_name_with_another_picture_is_told_by_its_picture(tmp_path: Path):
    pictures = [tmp_path / f"{n}.bin" for n in range(2)]
    for n, path in enumerate(pictures):
        path.write_bytes(bytes([n]) * 10)
    raw = drawn(40)
    shown = [replace(each, picture=Item.of("", str(pictures[0])).picture) if n == 0 else each
             for n, each in enumerate(raw)]  # fmt: skip
    other = replace(raw[1], key=raw[0].key, picture=Item.of("", str(pictures[1])).picture)
    same = replace(raw[1], key=raw[0].key, picture=Item.of("", str(pictures[0])).picture)
    for item, left in ((other, 9), (same, 10)):
        found, _ = run(shown, ComparedSet("other", "other", [item, *shown[1:]]))
        assert found.curated[0].training.left_out == {"test item, or copy of one": left}


def test_labels_that_curation_changed_are_those_that_are_learned():
    raw = drawn(200)
    swapped = [replace(each, labels=Item.of("", labels=[NAMES[(NAMES.index(str(each.label)) + 1) % 3]]).labels)
               for each in raw]  # fmt: skip
    found, _ = run(raw, decided(swapped))
    assert found.curated[0].training.accuracy < 0.3 < 0.7 < found.raw.accuracy
    assert found.curated[0].linear.verdict == "worse than random"


def test_an_attribute_is_learned_and_items_without_it_are_counted():
    raw = [replace(each, attributes={**each.attributes, "size": n % 2}) if n > 7 else each
           for n, each in enumerate(drawn(60))]  # fmt: skip
    found, _ = run(raw, decided(raw), target="attribute:size")
    assert found.classes == ("0", "1")
    assert found.raw.left_out == {"no target": 8}


def test_small_classes_and_items_without_a_vector_are_counted():
    raw = drawn(60)
    bare = Item.of("bare", labels=["cat"], subset="train")
    rare = replace(raw[1], key=ItemKey("rare", "train"), labels=Item.of("", labels=["eel"]).labels)
    found, _ = run([*raw, bare, rare], decided(raw), min_items=5)
    assert found.classes == NAMES
    assert found.raw.left_out == {"small or unknown class": 1, "no vector": 1}


def test_a_test_set_that_was_written_down_is_the_same_again(tmp_path: Path):
    raw = drawn(60)
    first, test = run(raw, decided(raw), test="0.4")
    (tmp_path / "test.txt").write_text("".join(f"{key}\n" for key in test))
    again, same = run(list(reversed(raw)), decided(raw[:50]), test=str(tmp_path / "test.txt"))
    assert sorted(same) == sorted(test)
    assert again.test.digest == first.test.digest
    assert first.test.digest.startswith("sha256:")


def test_texts_are_seen_where_they_are_asked_for():
    """Their vectors alone say what the class is; an item without a caption cannot be an example of texts."""
    raw = drawn(80)
    pointers = np.eye(3, 8, dtype=np.float32)
    told = [
        replace(
            each, captions=(ItemCaption("said", 0, unit_rows(pointers[[NAMES.index(str(each.label))]] + n / 1e4)[0]),)
        )
        for n, each in enumerate(raw[:-1])
    ]
    found, _ = run([*told, raw[-1]], decided(told), features="texts")
    assert found.options["features"] == "texts"
    assert found.raw.accuracy == 1
    assert found.raw.left_out == {"no vector": 1}
    both, _ = run([*told, raw[-1]], decided(told), features="both")
    assert both.raw.left_out == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test": "nowhere"}, "a share between 0 and 1, a file, or a subset \\(test, train\\); got 'nowhere'"),
        ({"test": "1.5"}, "got '1.5'"),
        ({"target": "attribute:colour"}, "raw has 0 classes of at least 2 items by --target attribute:colour"),
        ({"min_items": 50}, "0 classes of at least 50 items by --target label \\(3 classes in all\\)"),
        ({"features": "texts"}, "no item has a caption: --features pictures"),
        ({"target": "labels"}, "--target must be label or attribute:NAME"),
        ({"target": "attribute:"}, "--target must be label or attribute:NAME"),
        ({"sizes": [0]}, "--sizes must be above 0 and at most 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(options: dict[str, Any], message: str):
    raw = drawn(40)
    with pytest.raises(OptionError, match=message):
        run(raw, decided(raw), **options)


def test_a_curated_set_of_test_items_alone_is_refused():
    raw = drawn(40)
    with pytest.raises(OptionError, match="curated has no item to train on: test item, or copy of one 10"):
        run(raw, decided([each for each in raw if each.key.subset == "test"]))


def test_a_file_that_names_no_item_is_refused(tmp_path: Path):
    (tmp_path / "test.txt").write_text("stranger@train\n")
    raw = drawn(40)
    with pytest.raises(OptionError, match=r"test\.txt names no item of the dataset; a line is id@subset"):
        run(raw, decided(raw), test=str(tmp_path / "test.txt"))


UP, EVEN, DOWN = Estimate(0.03, 0.01, 0.05), Estimate(0.01, -0.01, 0.03), Estimate(-0.03, -0.05, -0.01)


@pytest.mark.parametrize(
    ("beside_raw", "beside_random", "verdict"),
    [
        (UP, UP, "helped"),
        (EVEN, UP, "saved"),
        (EVEN, EVEN, "nothing"),
        (UP, EVEN, "nothing"),
        (DOWN, EVEN, "cost"),
        (DOWN, UP, "cost"),
        (UP, DOWN, "worse than random"),
        (EVEN, DOWN, "worse than random"),
        (DOWN, DOWN, "worse than random"),
    ],
)
def test_the_verdict_follows_from_both_intervals(beside_raw: Estimate, beside_random: Estimate, verdict: str):
    found = Judgement(Difference(beside_raw, EVEN), Difference(beside_random, EVEN))
    assert found.verdict == verdict
