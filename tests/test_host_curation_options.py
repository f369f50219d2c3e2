"""The options that all curation transforms share, tried with each of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from datumaro.components.annotation import Caption, Label
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image

from datumaro_clip.curate import run_model as module
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

# Each with options under which it finds something among the items of `mixed`.
DROPPING = [
    (ClipClean, {}),
    (ClipAlign, {"keep_top": 0.5}),
    (ClipDedup, {"no_vectors": True}),
    (ClipSample, {"count": 5}),
    (ClipOutliers, {"min_similarity": 1.0}),
    (ClipSearch, {"query": "a cat", "k": 3}),
]
EVERY = [*DROPPING, (ClipClassify, {})]


@pytest.fixture(autouse=True)
def encoder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "load_model", lambda *args, **kwargs: FakeEncoder())
    monkeypatch.setenv("DATUMARO_CLIP_CACHE", str(tmp_path / "cache"))


def picture(seed: int) -> np.ndarray:
    tiles = np.random.default_rng(seed).integers(0, 255, (6, 6, 3))
    return np.kron(tiles, np.ones((12, 12, 1))).astype(np.uint8)


def item(n: int, pixels: np.ndarray, subset: str) -> DatasetItem:
    return DatasetItem(
        f"i{n}",
        subset=subset,
        media=Image.from_numpy(pixels),
        annotations=[Label(n % 2), Caption(f"a red cat number {n}")],
    )


def mixed() -> Dataset:
    """Six items of each of two subsets; one in three is blank, one in three a copy of the one before."""
    pixels = [np.full((64, 64, 3), 128, np.uint8) if n % 3 == 0 else picture(n // 3) for n in range(12)]
    items = [item(n, each, "train" if n < 6 else "val") for n, each in enumerate(pixels)]
    return Dataset.from_iterable(items, categories=["cat", "dog"])


def names(found: Dataset) -> set[str]:
    return {str(each.id) for each in found}


@pytest.mark.parametrize(("transform", "options"), DROPPING)
def test_marking_keeps_every_item_and_says_which_would_go(transform: type, options: dict):
    gone = names(mixed()) - names(mixed().transform(transform, **options))
    marked = mixed().transform(transform, action="mark", **options)
    assert gone
    assert names(marked) == names(mixed())
    assert {str(each.id) for each in marked if "clip_reason" in each.attributes} == gone


@pytest.mark.parametrize(("transform", "options"), DROPPING)
def test_moving_puts_aside_what_would_go(transform: type, options: dict):
    gone = names(mixed()) - names(mixed().transform(transform, **options))
    moved = mixed().transform(transform, action="subset:aside", **options)
    assert names(moved) == names(mixed())
    assert names(moved.get_subset("aside").as_dataset()) == gone


@pytest.mark.parametrize(("transform", "options"), EVERY)
def test_only_the_chosen_subset_is_worked_on(transform: type, options: dict):
    found = transform(mixed(), subset=["val"], **options)
    assert {one.key.subset for one in found.decisions.decisions} == {"val"}
    untouched = {str(each.id): each for each in mixed() if each.subset == "train"}
    same = {str(each.id): each for each in found if each.subset == "train"}
    assert same.keys() == untouched.keys()
    assert all(same[name].annotations == untouched[name].annotations for name in same)


@pytest.mark.parametrize(("transform", "options"), DROPPING)
def test_a_protected_subset_loses_nothing(transform: type, options: dict):
    found = mixed().transform(transform, protect=["train"], **options)
    assert names(found) >= {f"i{n}" for n in range(6)}


@pytest.mark.parametrize(("transform", "options"), DROPPING)
def test_excepted_items_stay(transform: type, options: dict, tmp_path: Path):
    kept = names(mixed().transform(transform, **options))
    refused = min(names(mixed()) - kept)
    subset = "train" if int(refused[1:]) < 6 else "val"
    (tmp_path / "refused").write_text(f"# seen by a person\n{refused}@{subset}\n")
    assert names(mixed().transform(transform, except_file=str(tmp_path / "refused"), **options)) >= {refused}


@pytest.mark.parametrize(("transform", "options"), EVERY)
def test_identical_items_get_a_result(transform: type, options: dict):
    same = [item(n, picture(1), "train") for n in range(6)]
    made = transform(Dataset.from_iterable(same, categories=["cat", "dog"]), **options)
    assert len({one.key for one in made.decisions.decisions}) == 6
    assert len(list(made)) == len(made) <= 6


@pytest.mark.parametrize(("transform", "options"), EVERY)
def test_items_without_captions_get_a_result(transform: type, options: dict):
    bare = [each.wrap(annotations=[Label(0)]) for each in mixed()]
    made = transform(Dataset.from_iterable(bare, categories=["cat", "dog"]), **options)
    assert len(list(made)) == len(made) <= 12
