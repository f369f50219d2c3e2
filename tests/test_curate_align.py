"""Texts that belong to other pictures are found, on drawn and on real vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datumaro_clip.curate.align import combine, keep_top, margins, mismatch_threshold
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


def test_each_class_keeps_its_share():
    assert keep_top([0.1, 0.2, 0.8, 0.9], 0.5, ["a", "a", "b", "b"])[0].tolist() == [False, True, False, True]


def test_the_threshold_parts_right_from_wrong_without_being_told_the_share():
    images, texts = pairs(600)
    owner, wrong = shuffled_third(600, 1)
    found = margins(images, texts, owner)
    flagged = found.own < mismatch_threshold(found)
    assert (flagged & wrong).sum() / wrong.sum() > 0.9
    assert (flagged & wrong).sum() / flagged.sum() > 0.9


def test_where_nothing_is_wrong_little_is_flagged():
    images, texts = pairs(600)
    found = margins(images, texts, np.arange(600))
    assert (found.own < mismatch_threshold(found)).mean() < 0.01


def test_too_few_texts_ask_for_a_threshold():
    images, texts = pairs(5)
    with pytest.raises(OptionError, match="min-score"):
        mismatch_threshold(margins(images, texts, np.arange(5)))


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
