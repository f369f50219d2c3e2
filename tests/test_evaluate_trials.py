"""The trials: which parts probes are trained on, and what that shows on data with planted faults."""

from __future__ import annotations

import numpy as np
import pytest

from datumaro_clip.evaluate import trials
from datumaro_clip.evaluate.trials import Examples, count_trainings, run_trials

CLASSES = 4


def drawn(count: int, wrong: float = 0.0, seed: int = 0) -> tuple[Examples, np.ndarray]:
    """Points around a centre a class, some with another's label, and which those are."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    centres = np.random.default_rng(5).standard_normal((CLASSES, 12))
    vectors = (centres[labels] + 1.6 * rng.standard_normal((count, 12))).astype(np.float32)
    is_wrong = rng.random(count) < wrong
    given = np.where(is_wrong, (labels + rng.integers(1, CLASSES, count)) % CLASSES, labels)
    return Examples(vectors, given, np.arange(count) + 10_000 * seed), is_wrong


def test_right_labels_teach_more_than_all_and_than_as_many_at_random():
    raw, wrong = drawn(300, wrong=0.5)
    test, _ = drawn(600, seed=1)
    found = run_trials(raw, [raw.at(~wrong)], test, CLASSES, sizes=[1], seeds=3)
    [one] = found.comparisons
    curated, random, all_of_it = (each[-1].hits.mean() for each in (one.curated, one.random, found.raw))
    assert curated > random + 0.05
    assert curated > all_of_it + 0.03
    assert one.checked.hits.mean() > one.checked_random.hits.mean()


def test_sets_of_every_size_have_a_random_part_of_the_same_size_beside_them():
    raw, _ = drawn(100)
    test, _ = drawn(50, seed=1)
    found = run_trials(raw, [raw.at(np.arange(40)), raw.at(np.arange(60))], test, CLASSES, sizes=[0.5, 0.1], seeds=2)
    assert [each.samples for each in found.raw] == [10, 50, 100]
    assert [each.hits.shape for each in found.raw] == [(2, 50), (2, 50), (1, 50)]
    for one, sizes in zip(found.comparisons, ([4, 20, 40], [6, 30, 60]), strict=True):
        assert [each.samples for each in one.curated] == sizes
        assert [each.samples for each in one.random] == sizes
        assert len(one.curated[-1].hits) == 1
        assert len(one.random[-1].hits) == 2


def test_a_curated_set_as_large_as_the_raw_one_has_all_of_it_beside_it():
    raw, _ = drawn(60)
    more = Examples(*(np.concatenate([each, each]) for each in (raw.vectors, raw.labels, raw.groups)))
    [one] = run_trials(raw, [more], drawn(30, seed=1)[0], CLASSES, sizes=[0.75], seeds=2).comparisons
    assert [each.samples for each in one.curated] == [90, 120]
    assert [each.samples for each in one.random] == [60, 60]


@pytest.mark.parametrize(("sizes", "kept"), [([1.0], 60), ([0.2, 0.5], 20), ([0.2], 100)])
def test_progress_counts_every_probe(sizes: list[float], kept: int):
    raw, _ = drawn(60)
    curated = [Examples(*(np.resize(each, (kept, *each.shape[1:])) for each in vars(raw).values()))]
    called: list[None] = []
    run_trials(
        raw, curated, drawn(20, seed=1)[0], CLASSES, sizes=sizes, seeds=2, on_trained=lambda: called.append(None)
    )
    assert len(called) == count_trainings(curated, raw, sizes, 2)


def test_smaller_parts_of_a_seed_are_in_its_larger_ones(monkeypatch: pytest.MonkeyPatch):
    seen: list[set[int]] = []
    true = trials.train_probe

    def spied(features: object, labels: object, groups: np.ndarray, *rest: object) -> object:
        seen.append(set(groups.tolist()))
        return true(features, labels, groups, *rest)

    monkeypatch.setattr(trials, "train_probe", spied)
    raw, _ = drawn(80)
    run_trials(raw, [], drawn(20, seed=1)[0], CLASSES, sizes=[0.25, 0.5], seeds=1)
    small, half, *_ = sorted(seen, key=len)
    assert len(small) == 20
    assert len(half) == 40
    assert small < half
