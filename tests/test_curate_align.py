"""Texts that belong to other pictures are found, on drawn and on real vectors."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from columns_of import columns_of

from datumaro_clip.curate import align
from datumaro_clip.curate.align import keep_top
from datumaro_clip.curate.margins import combine, combine_margins, margins, mismatch_threshold
from datumaro_clip.curate.run import read_values
from datumaro_clip.errors import OptionError
from datumaro_clip.similarity import top_k
from datumaro_clip.vectors import unit_rows


def auc(good: np.ndarray, bad: np.ndarray) -> float:
    """Odds that a good score beats a bad one."""
    return float(((good[:, None] > bad[None]) + 0.5 * (good[:, None] == bad[None])).mean())


def pairs(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((count, 32))
    return tuple(unit_rows(common + 0.5 * rng.standard_normal((count, 32)) + 2 * side) for side in (0, 1))


def shuffled_third(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture of each text, a third of them exchanged in a circle, and which."""
    rng = np.random.default_rng(seed)
    wrong = rng.permutation(count)[: count // 3]
    owner = np.arange(count)
    owner[wrong] = np.roll(wrong, 1)
    return owner, np.isin(np.arange(count), wrong)


@pytest.mark.parametrize(("how", "value"), [("max", 0.5), ("min", 0.1), ("mean", 0.3)])
def test_scores_of_texts_combine(how: str, value: float):
    assert combine(np.empty(0), np.empty(0, np.int64), 0, how).tolist() == []
    found = combine(np.array([0.1, 9.0, 0.5, 0.3]), np.array([2, 0, 2, 2]), 3, how)
    assert found[[0, 2]] == pytest.approx([9.0, value])
    assert np.isnan(found[1])


def test_the_best_share_is_kept_and_ties_go_to_the_earlier():
    assert keep_top([], 0.3)[0].tolist() == []
    assert keep_top([1.0], 0.3)[0].tolist() == [True]
    kept, limits = keep_top([0.1, 0.9, 0.9, 0.9], 0.5)
    assert kept.tolist() == [False, True, True, False]
    assert limits.tolist() == [0.9] * 4


def test_the_spread_says_what_thresholds_between_the_least_and_the_most_keep():
    told = align._spread(np.array([0.2, 0.4, 0.7, 1.2]), "--min-score")
    assert told == [
        "cosine similarities: min 0.200, 5% 0.230, 25% 0.350, median 0.550, 75% 0.825, 95% 1.125, max 1.200",
        "--min-score 0.400 keeps 75%, --min-score 0.600 keeps 50%, "
        "--min-score 0.800 keeps 25%, --min-score 1.000 keeps 25%",
    ]
    assert align._spread(np.zeros(1), "--min-margin")[0].startswith("margins, in deviations above a stranger's")


def test_each_class_keeps_its_share():
    assert keep_top([0.1, 0.2, 0.8, 0.9], 0.5, ["a", "a", "b", "b"])[0].tolist() == [False, True, False, True]


def test_the_threshold_parts_right_from_wrong_without_being_told_the_share():
    images, texts = pairs(600)
    owner, wrong = shuffled_third(600, 1)
    found = margins(images, texts, owner)
    flagged = found.beyond_expected < found.threshold()
    assert (flagged & wrong).sum() / wrong.sum() > 0.9
    assert (flagged & wrong).sum() / flagged.sum() > 0.9


def test_where_nothing_is_wrong_little_is_flagged():
    images, texts = pairs(600)
    found = margins(images, texts, np.arange(600))
    assert (found.beyond_expected < found.threshold()).mean() < 0.01


def test_too_few_texts_ask_for_a_threshold():
    images, texts = pairs(5)
    with pytest.raises(OptionError, match="min-score"):
        margins(images, texts, np.arange(5)).threshold()


def several_texts(noise: float, seed: int, unequal: bool = False, count: int = 800) -> tuple[np.ndarray, ...]:
    """Pictures, five texts (or one to five) of each, their owners, and the tenth whose texts are all another's."""
    rng = np.random.default_rng(seed)
    common, sides = rng.standard_normal((count, 64)), 1.5 * rng.standard_normal((2, 64))
    images = unit_rows(common + 0.5 * rng.standard_normal((count, 64)) + sides[0])
    owner = np.repeat(np.arange(count), rng.integers(1, 6, count) if unequal else np.full(count, 5))
    moved = rng.permutation(count)[: count // 10]
    source = np.arange(count)
    source[moved] = np.roll(moved, 1)
    texts = unit_rows(common[source[owner]] + noise * rng.standard_normal((len(owner), 64)) + sides[1])
    return images, texts, owner, np.isin(np.arange(count), moved)


def dropped(images: np.ndarray, texts: np.ndarray, owner: np.ndarray, **options: object) -> np.ndarray:
    """Which items clip_align drops."""
    columns = columns_of(images, texts=texts, owner=owner)
    found = align.TOOL.function(columns, read_values(align.TOOL, options)).decisions()
    return np.array([one.action == "drop" for one in found if one.annotation is None])


@pytest.mark.parametrize(
    ("how", "unequal", "noise", "found", "lost"),
    [
        ("max", False, 1, 0.95, 0.001),
        ("max", False, 2, 0.88, 0.002),
        ("max", False, 3, 0.80, 0.008),
        ("max", True, 1, 0.97, 0.001),
        ("max", True, 2, 0.86, 0.004),
        ("mean", False, 3, 0.92, 0.004),
        ("mean", True, 2, 0.92, 0.005),
        ("min", False, 2, 0.92, 0.008),
        ("min", True, 2, 0.88, 0.009),
    ],
)
def test_items_whose_texts_are_all_wrong_are_found_by_the_best_of_as_many_strangers(
    how: str, unequal: bool, noise: float, found: float, lost: float
):
    """The threshold of single texts finds .92, .51 and .18 of them with five captions: the best of five strangers is
    better than one. With what pictures and texts have in common left in, it is .92, .83 and .64."""
    shares = []
    for seed in range(3):
        images, texts, owner, wrong = several_texts(noise, seed, unequal)
        gone = dropped(images, texts, owner, captions_score=how)
        shares.append((gone[wrong].mean(), gone[~wrong].mean()))
    assert np.mean(shares, axis=0)[0] >= found
    assert np.mean(shares, axis=0)[1] <= lost


@pytest.mark.parametrize("how", ["max", "mean", "min"])
def test_where_no_item_is_wrong_few_of_several_texts_are_dropped(how: str):
    images, texts, owner, _ = several_texts(1, 5)
    own = unit_rows(images + 0.1 * np.random.default_rng(0).standard_normal(images.shape))
    assert dropped(images, own[owner], owner, captions_score=how).mean() <= 0.005
    assert len(texts) == len(owner)


def test_of_more_texts_a_larger_margin_is_expected():
    images, texts, owner, _ = several_texts(2, 0, unequal=True)
    found = combine_margins(margins(images, texts, owner), owner, "max")
    number = np.bincount(owner)
    assert (np.diff([found.expected[number == count].mean() for count in range(1, 6)]) > 0.1).all()


def test_of_equal_numbers_of_texts_nothing_is_expected_by_their_number():
    images, texts, owner, _ = several_texts(2, 0)
    single = margins(images, texts, owner)
    found = combine_margins(single, owner, "mean")
    np.testing.assert_array_equal(found.expected, combine(single.expected, owner, len(images), "mean"))


def test_vague_texts_stay():
    """One in twenty is similar to all pictures, and hardly more to its own: two in five of them were dropped."""
    images, texts = pairs(600)
    vague = np.arange(0, 600, 20)
    texts[vague] = unit_rows(texts[vague] + unit_rows(images.mean(axis=0, keepdims=True)))
    wrong = np.setdiff1d(np.random.default_rng(1).permutation(600)[:60], vague)
    owner = np.arange(600)
    owner[wrong] = np.roll(wrong, 1)
    found = margins(images, texts, owner)
    flagged = found.beyond_expected < found.threshold()
    assert flagged[vague].mean() <= 0.1
    assert flagged[wrong].mean() >= 0.9


def test_what_all_texts_have_in_common_tells_nothing():
    images, texts, owner, wrong = several_texts(2, 0)
    gone = dropped(images, texts, owner)
    assert (gone != dropped(images, unit_rows(texts + 0.5 * texts.mean(axis=0)), owner)).sum() <= 4
    assert gone[wrong].mean() >= 0.8


def test_of_thresholds_that_are_as_good_the_one_in_the_widest_gap_is_taken():
    """Chance has three wrong pairs where strangers would have one or two, and right ones begin much later."""
    strangers = np.r_[np.linspace(-2, 1.9, 885), np.linspace(2.06, 2.2, 15)]
    wrong = np.r_[np.linspace(-2, 1.9, 97), 2.05, 2.1, 2.15]
    threshold = mismatch_threshold(np.r_[wrong, np.linspace(5, 9, 900)], strangers)
    assert 2.15 < threshold < 5


def test_texts_that_are_all_the_same_tell_nothing():
    images, _ = pairs(60)
    texts = np.repeat(images[:1], 60, axis=0)
    assert not dropped(images, texts, np.arange(60)).any()


def test_a_stranger_has_none_of_the_texts_itself():
    """Of two classes, half the other pictures fit the label as well: they are no strangers."""
    centres = np.eye(8, dtype=np.float32)[:2]
    label = np.arange(60) % 2
    images = unit_rows(centres[label] + 0.2 * np.random.default_rng(0).standard_normal((60, 8)))
    found = margins(images, centres[label], np.arange(60))
    assert found.strangers.max() < found.own.min()


def test_what_the_log_proposes_does_what_it_says():
    """Following the hint once dropped 192 of 200 items: it was in deviations, and the option in cosines."""
    images, texts, owner, _ = several_texts(1, 0, count=200)
    for options in ({}, {"min_score": -1.0}, {"keep_top": 0.5}):
        columns = columns_of(images, texts=texts, owner=owner)
        notes = align.TOOL.function(columns, read_values(align.TOOL, options)).notes
        hints = re.findall(r"(--[a-z-]+) (-?[0-9.]+) keeps (\d+)%", notes[-1])
        assert len(hints) == 4
        for flag, value, share in hints:
            kept = ~dropped(images, texts, owner, **{flag.strip("-").replace("-", "_"): float(value)})
            assert kept.mean() == pytest.approx(float(share) / 100, abs=0.01)


def test_a_dropped_item_shows_its_captions():
    images, texts, owner, _ = several_texts(1, 0, count=40)
    columns = columns_of(images, texts=texts, owner=owner)
    found = align.TOOL.function(columns, read_values(align.TOOL, {"min_score": 0.9})).decisions()
    told = {one.key.id: one.text for one in found if one.action == "drop"}
    assert told["0"] == "text 0 of 0 · text 1 of 0 · text 2 of 0 · text 3 of 0 · text 4 of 0"


@pytest.mark.parametrize(
    "options", [{"min_score": 0.1, "min_margin": 1.0}, {"min_margin": 1.0, "keep_top": 0.5}, {"per_class": True}]
)
def test_options_that_contradict_one_another_are_refused(options: dict):
    with pytest.raises(OptionError):
        read_values(align.TOOL, options)


@pytest.mark.parametrize("seed", range(3))
def test_items_with_one_to_five_titles_of_other_real_products_are_found(shared: Path, seed: int):
    """A product's own title, and up to four more as its sellers would write it: near it by as much as titles vary."""
    folder = shared / "data/clip_vectors_fashion99"
    images, titles = (unit_rows(np.load(folder / f"{name}_embeddings.npy")) for name in ("image", "text"))
    rng = np.random.default_rng(seed)
    wrong = rng.permutation(99)[:15]
    source = np.arange(99)
    source[wrong] = np.roll(wrong, 1)
    owner = np.repeat(np.arange(99), rng.integers(1, 6, 99))
    spread = 0.3 * unit_rows(rng.standard_normal((len(owner), titles.shape[1])))
    spread[np.r_[True, np.diff(owner) > 0]] = 0
    gone = dropped(images, unit_rows(titles[source[owner]] + spread), owner)
    assert gone[wrong].mean() >= 0.8
    assert gone[np.setdiff1d(np.arange(99), wrong)].mean() <= 0.05


@pytest.mark.parametrize("seed", range(5))
def test_mismatched_titles_of_real_products_are_told_apart(shared: Path, seed: int):
    folder = shared / "data/clip_vectors_fashion99"
    images, texts = (unit_rows(np.load(folder / f"{name}_embeddings.npy")) for name in ("image", "text"))
    owner, wrong = shuffled_third(len(texts), seed)
    found = margins(images, texts, owner, seed).own
    assert auc(found[~wrong], found[wrong]) >= 0.97


def test_titles_of_real_products_find_their_pictures(shared: Path):
    folder = shared / "data/clip_vectors_fashion99"
    images, texts = (unit_rows(np.load(folder / f"{name}_embeddings.npy")) for name in ("image", "text"))
    hits, _ = top_k(texts, images, 1)
    assert (hits[:, 0] == np.arange(len(texts))).mean() >= 0.85
