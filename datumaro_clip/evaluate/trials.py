"""Train probes on parts of the raw set and of curated sets, and test them on the same items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from datumaro_clip.evaluate.probe import Axes, FourierFeatures, IntArray, load_optimiser, train_probe
from datumaro_clip.similarity.threads import in_threads
from datumaro_clip.vectors import FloatArray

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Examples:
    """N examples of C classes.

    Attributes
    ----------
    vectors : numpy.ndarray
        Shape (N, D), float32.
    labels : numpy.ndarray
        Shape (N,), int64, from 0 to C - 1.
    groups : numpy.ndarray
        Shape (N,), int64: copies share a number, in all compared sets.
    """

    vectors: FloatArray
    labels: IntArray
    groups: IntArray

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, rows: IntArray | BoolArray) -> Examples:
        """Return some of the examples."""
        return Examples(self.vectors[rows], self.labels[rows], self.groups[rows])


@dataclass(frozen=True, eq=False)
class Trials:
    """Results of probes that were trained on parts of one size.

    Attributes
    ----------
    share : float
        Of the set that the parts are of.
    samples : int
        Number of examples of each part.
    hits : numpy.ndarray
        Shape (S, T), bool: right answers, by seed and test item; one row where every seed draws the same part.
    """

    share: float
    samples: int
    hits: BoolArray


class Comparison(NamedTuple):
    """A curated set's trials, and trials of parts of the raw set of the same sizes, drawn at random.

    Attributes
    ----------
    curated, random : tuple of Trials
        One a size, the whole set last.
    checked, checked_random : Trials
        Of the non-linear probe, on the whole set.
    """

    curated: tuple[Trials, ...]
    random: tuple[Trials, ...]
    checked: Trials
    checked_random: Trials


class Outcome(NamedTuple):
    """All trials.

    Attributes
    ----------
    raw : tuple of Trials
        One a size, the whole set last.
    checked_raw : Trials
        Of the non-linear probe, on the whole set.
    comparisons : tuple of Comparison
        One a curated set.
    """

    raw: tuple[Trials, ...]
    checked_raw: Trials
    comparisons: tuple[Comparison, ...]


def run_trials(
    raw: Examples,
    curated: Sequence[Examples],
    test: Examples,
    classes: int,
    *,
    sizes: Sequence[float] = (0.05, 0.2, 0.5, 1.0),
    seeds: int = 5,
    on_trained: Callable[[], None] = lambda: None,
) -> Outcome:
    """Train and test all probes.

    Parameters
    ----------
    raw, test : Examples
        Without common groups; neither may be empty.
    curated : sequence of Examples
        Not empty, and without groups of the test set.
    classes : int
        C.
    sizes : sequence of float
        Shares of each training set, above 0 and at most 1; the whole set is always among them.
    seeds : int
        How often a part is drawn; at least 1.
    on_trained : callable
        Called after each probe.
    """
    shares = [*sorted({float(size) for size in sizes} - {1.0}), 1.0]
    kinds: list[Callable[[FloatArray], FloatArray]] = [lambda vectors: vectors, FourierFeatures.of(raw.vectors)]
    linear, bent = in_threads(lambda features: _Kind.of(features, raw, test, classes), kinds)
    wanted = [*(_Wanted(linear, raw, share, len(raw)) for share in shares), _Wanted(bent, raw, 1.0, len(raw))]
    for one in curated:
        wanted += [_Wanted(linear, of, share, len(one)) for of in (one, raw) for share in shares]
        wanted += [_Wanted(bent, of, 1.0, len(one)) for of in (one, raw)]
    tasks = [(each, seed) for each in wanted for seed in each.seeds(seeds)]

    def train(task: tuple[_Wanted, int]) -> BoolArray:
        each, seed = task
        hits = each.kind.hits(each.part(seed))
        on_trained()
        return hits

    load_optimiser()
    hits = iter(in_threads(train, tasks))
    made = iter(
        [Trials(each.share, each.samples, np.stack([next(hits) for _ in each.seeds(seeds)])) for each in wanted]
    )
    whole, checked = tuple(islice(made, len(shares))), next(made)
    comparisons = (
        Comparison(tuple(islice(made, len(shares))), tuple(islice(made, len(shares))), next(made), next(made))
        for _ in curated
    )
    return Outcome(whole, checked, tuple(comparisons))


def count_trainings(curated: Sequence[Examples], raw: Examples, sizes: Sequence[float], seeds: int) -> int:
    """Count the probes that :func:`run_trials` trains."""
    parts = len({float(size) for size in sizes} - {1.0})
    drawn = sum(1 if len(one) >= len(raw) else seeds for one in curated)
    return (parts * seeds + 2) * (1 + len(curated)) + parts * seeds * len(curated) + 2 * drawn


class _Kind(NamedTuple):
    """One kind of probe: its features, their axes, and the test set in these."""

    features: Callable[[FloatArray], FloatArray]
    axes: Axes
    asked: FloatArray
    answers: IntArray
    classes: int

    @classmethod
    def of(cls, features: Callable[[FloatArray], FloatArray], raw: Examples, test: Examples, classes: int) -> _Kind:
        axes = Axes.of(features(raw.vectors))
        return cls(features, axes, axes(features(test.vectors)), test.labels, classes)

    def hits(self, part: Examples) -> BoolArray:
        """Train a probe on a part; return which test items it gets right, (T,)."""
        features = self.axes(self.features(part.vectors))
        probe = train_probe(features, part.labels, part.groups, self.classes, self.axes.variances)
        return np.equal(probe.predict(self.asked), self.answers)


class _Wanted(NamedTuple):
    """Parts of a set to train probes on: each has ``share`` times ``whole`` examples."""

    kind: _Kind
    examples: Examples
    share: float
    whole: int

    @property
    def samples(self) -> int:
        return min(max(1, round(self.share * self.whole)), len(self.examples))

    def seeds(self, count: int) -> range:
        """Return the seeds that draw different parts."""
        return range(1 if self.samples == len(self.examples) else count)

    def part(self, seed: int) -> Examples:
        """Draw a seed's part; its smaller parts are subsets of its larger ones."""
        order = np.random.default_rng(seed).permutation(len(self.examples))
        return self.examples.at(np.sort(order[: self.samples]))
