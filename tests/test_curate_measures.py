"""What tools say of how their scores are spread: everything that was scored, and what was found on its own side."""

from __future__ import annotations

import numpy as np
import pytest

import datumaro_clip
from datumaro_clip import DecisionLog, Item
from datumaro_clip.curate.run import decide, read_values
from datumaro_clip.curate.tools import tool_named
from datumaro_clip.testing import FakeEncoder

pytestmark = pytest.mark.usefixtures("encoder")


def items() -> list[Item]:
    """Thirty pictures of two colours that their labels and captions name, the first one wrongly labelled."""
    pictures = [np.full((40, 40, 3), (200 + n, 10, 10) if n % 2 else (10, 10, 200 + n), np.uint8) for n in range(30)]
    names = ["red" if n % 2 else "blue" for n in range(30)]
    labels = ["red", *names[1:]]
    return [
        Item.of(f"i{n}", picture, captions=[f"a {name} thing"], labels=[label])
        for n, (picture, name, label) in enumerate(zip(pictures, names, labels, strict=True))
    ]


def sizes(log: DecisionLog, title: str) -> tuple[int, int]:
    [measure] = [one for one in log.measures if title in one.title]
    return len(measure.kept), len(measure.others)


def test_a_search_shows_its_hits_among_all_items():
    tool = tool_named("clip_search")
    log = decide(tool, read_values(tool, {"query": "red", "k": 4}), items(), [])
    assert sizes(log, "with the query") == (4, 26)
    [measure] = log.measures
    assert min(measure.kept) >= max(measure.others)
    assert measure.most == 1.0


def test_outliers_and_wrong_labels_are_inside_their_histogram():
    log = datumaro_clip.outliers(items(), min_doubt=0.0)
    found = {reason: log.counts()[f"drop {reason}"] for reason in ("outlier", "wrong_label")}
    kept, others = sizes(log, "own label")
    assert kept + others == 30
    assert others == sum(found.values()) > 0
    assert sizes(log, "nearest picture number 10") == (30, 0)


def test_captions_are_all_in_it_and_the_threshold_divides_them():
    log = datumaro_clip.align(items(), keep_top=0.8)
    [measure] = log.measures
    assert (len(measure.kept), len(measure.others)) == (24, 6)
    assert max(measure.others) <= measure.threshold <= min(measure.kept)


def test_a_sample_shows_what_was_picked_and_chance_shows_nothing():
    assert sizes(datumaro_clip.sample(items(), count=3), "picked before") == (3, 0)
    assert datumaro_clip.sample(items(), count=3, strategy="random").measures == ()


def test_labels_are_divided_by_their_probability():
    log = datumaro_clip.classify(items(), ["red", "blue"], min_probability=0.5)
    kept, others = sizes(log, "probability")
    assert (kept, others) == (log.counts()["label classified"], log.counts()["keep unsure"])
    assert kept + others == 30


def test_copies_are_measured_by_what_a_copy_may_have():
    tiles = np.kron(np.random.default_rng(0).integers(0, 255, (12, 12, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    noisy = np.clip(tiles + np.random.default_rng(1).normal(0, 4, tiles.shape), 0, 255).astype(np.uint8)
    datumaro_clip.find_duplicates([Item.of("a", tiles), Item.of("b", noisy)], no_vectors=True)
    log = datumaro_clip.last_decisions()
    assert log is not None
    [measure] = log.measures
    assert measure.kept == ()
    assert 0 <= measure.others[0] <= measure.threshold == 1.0


def test_nothing_scored_is_nothing_measured(encoder: FakeEncoder):
    assert datumaro_clip.clean(items()).measures == ()
    assert datumaro_clip.outliers([]).measures == ()
    assert datumaro_clip.find_duplicates(np.empty((0, 4))) == []
