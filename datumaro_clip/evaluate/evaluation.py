"""The results of an evaluation: curves, differences, a verdict and its sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from datumaro_clip.evaluate.probe import IntArray
from datumaro_clip.evaluate.scoring import Estimate, Scores, class_accuracies, score
from datumaro_clip.evaluate.trials import Comparison, Outcome, Trials


class Point(NamedTuple):
    """The accuracies of probes that were trained on parts of one size.

    Attributes
    ----------
    share : float
        Of the set that the parts are of.
    samples : int
    accuracy, balanced : Estimate
    """

    share: float
    samples: int
    accuracy: Estimate
    balanced: Estimate


class Difference(NamedTuple):
    """A curated set's accuracy less another set's: top-1 and balanced."""

    accuracy: Estimate
    balanced: Estimate

    @classmethod
    def of(cls, one: Scores, other: Scores) -> Difference:
        """Subtract another set's scores from one set's."""
        return cls(one.accuracy.minus(other.accuracy), one.balanced.minus(other.balanced))


class Judgement(NamedTuple):
    """The differences of one kind of probe, trained on whole sets.

    Attributes
    ----------
    against_raw : Difference
        The curated set less the raw one.
    against_random : Difference
        The curated set less as many examples of the raw one, drawn at random.
    """

    against_raw: Difference
    against_random: Difference

    @property
    def verdict(self) -> str:
        """``helped``, ``saved``, ``nothing``, ``cost`` or ``worse than random``, by the intervals of top-1 accuracy."""
        raw, random = self.against_raw.accuracy, self.against_random.accuracy
        if random.high < 0:
            return "worse than random"
        if raw.high < 0:
            return "cost"
        if random.low > 0:
            return "helped" if raw.low > 0 else "saved"
        return "nothing"


@dataclass(frozen=True)
class TrainingSet:
    """A set that probes were trained on.

    Attributes
    ----------
    name, source : str
        Its name for people, and its origin.
    left_out : mapping
        Numbers of items that were not trained on, by reason.
    curve : tuple of Point
        The whole set last.
    by_class : tuple of float or None
        Accuracy on each class, trained on the whole set; None for a class that the test set lacks.
    """

    name: str
    source: str
    left_out: Mapping[str, int]
    curve: tuple[Point, ...]
    by_class: tuple[float | None, ...]

    @property
    def samples(self) -> int:
        """Number of examples of the whole set."""
        return self.curve[-1].samples

    @property
    def accuracy(self) -> float:
        """Accuracy of probes trained on the whole set."""
        return self.curve[-1].accuracy.value


@dataclass(frozen=True)
class Curated:
    """A curated set, random parts of the raw one of the same sizes, and the differences.

    Attributes
    ----------
    training, random : TrainingSet
    linear, check : Judgement
        Of the linear probe, which decides, and of the non-linear one.
    """

    training: TrainingSet
    random: TrainingSet
    linear: Judgement
    check: Judgement


class TestSet(NamedTuple):
    """The items that all probes were tested on.

    Attributes
    ----------
    source : str
        A share, a subset's name or a file.
    items, groups : int
        Numbers of items, and of groups of copies among them.
    digest : str
        SHA-256 of the lines ``id@subset``, sorted.
    by_class : tuple of int
        Items of each class.
    """

    source: str
    items: int
    groups: int
    digest: str
    by_class: tuple[int, ...]


@dataclass(frozen=True)
class Evaluation:
    """The results of an evaluation.

    Attributes
    ----------
    options : mapping
        Its options: target, features, copies, seeds, sizes.
    space : str or None
        Fingerprint of the vector space.
    classes : tuple of str
    test : TestSet
    raw : TrainingSet
    curated : tuple of Curated
    """

    options: Mapping[str, Any]
    space: str | None
    classes: tuple[str, ...]
    test: TestSet
    raw: TrainingSet
    curated: tuple[Curated, ...]

    def sentence(self, one: Curated) -> str:
        """Say in one sentence whether a curated set helped."""
        samples, raw = one.training.samples, self.raw
        fewer = 1 - samples / raw.samples
        amount = f"{samples:,} examples" + (f" ({fewer:.0%} fewer)" if fewer >= 0.005 else "")
        against_raw, random = (
            _change(one.linear.against_raw.accuracy),
            _change(one.linear.against_random.accuracy),
        )
        whole = f"{raw.accuracy:.3f} on all {raw.samples:,} raw ones"
        drawn = f"{one.random.accuracy:.3f} on as many drawn at random"
        effect, compared = {
            "helped": ("helped", f"{whole} ({against_raw}) and {drawn} ({random})"),
            "saved": (
                "saved examples",
                f"more than the {drawn} ({random}), and no difference from the {whole} can be told ({against_raw})",
            ),
            "nothing": (
                "won nothing",
                f"and no difference from the {drawn} can be told ({random}); it is {whole} ({against_raw})",
            ),
            "cost": ("cost accuracy", f"less than the {whole} ({against_raw}); it is {drawn} ({random})"),
            "worse than random": (
                "did worse than chance",
                f"less than the {drawn} ({random}); it is {whole} ({against_raw})",
            ),
        }[one.linear.verdict]
        right = f"gets {one.training.accuracy:.3f} of the test set right"
        return f"{one.training.name} {effect}: a classifier trained on {amount} {right}, {compared}."

    def findings(self, one: Curated) -> list[str]:
        """Say what else should be known of a curated set, a sentence each."""
        verdict, check = one.linear.verdict, one.check.verdict
        against = one.check.against_raw.accuracy, one.check.against_random.accuracy
        changes = f"{_change(against[0])} beside raw, {_change(against[1])} beside random"
        says = "says so too" if verdict == check else f"says '{check}' where the linear one says '{verdict}'"
        found = [f"The non-linear probe {says}: {changes}."]
        top, balanced = one.linear.against_random
        if top.value * balanced.value < 0 and not balanced.low <= 0 <= balanced.high:
            more = "less" if balanced.value < 0 else "more"
            found.append(
                f"Over classes it is the other way round: {more} balanced accuracy than random, {_change(balanced)}."
            )
        return found

    def to_mapping(self) -> dict[str, Any]:
        """Return the results as JSON values; estimates to five digits."""
        return {
            "options": dict(self.options),
            "space": self.space,
            "classes": list(self.classes),
            "test": _plain(self.test),
            "raw": _plain(self.raw),
            "curated": [
                {
                    "sentence": self.sentence(one),
                    "findings": self.findings(one),
                    **_plain(one.training),
                    "random": {"curve": _plain(one.random.curve)},
                    **_plain(one.linear),
                    "check": _plain(one.check),
                }
                for one in self.curated
            ],
        }


def _plain(value: Any) -> Any:
    """Convert a part of an evaluation to JSON values."""
    if isinstance(value, Estimate):
        return {name: round(each, 5) for name, each in value._asdict().items()}
    if isinstance(value, TrainingSet):
        by_class = [None if each is None else round(each, 5) for each in value.by_class]
        plain = {"name": value.name, "source": value.source, "samples": value.samples, "left_out": dict(value.left_out)}
        return {**plain, "curve": _plain(value.curve), "by_class": by_class}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        verdict = {"verdict": value.verdict} if isinstance(value, Judgement) else {}
        return verdict | {name: _plain(each) for name, each in value._asdict().items()}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


class Source(NamedTuple):
    """The name of a training set, its origin, and the numbers of items left out of it, by reason."""

    name: str
    source: str
    left_out: Mapping[str, int]


def conclude(
    outcome: Outcome,
    sources: Sequence[Source],
    labels: IntArray,
    groups: IntArray,
    test: TestSet,
    classes: Sequence[str],
    options: Mapping[str, Any],
    space: str | None,
) -> Evaluation:
    """Score all trials, and compare the sets.

    Parameters
    ----------
    outcome : Outcome
    sources : sequence of Source
        Of the raw set, then of each curated one.
    labels, groups : numpy.ndarray
        Shape (T,): of the test items.
    test, classes, options, space
        As :class:`Evaluation` has them.
    """
    raw, trials = sources[0], [*outcome.raw, outcome.checked_raw]
    for one in outcome.comparisons:
        trials += [*one.curated, *one.random, one.checked, one.checked_random]
    scores = dict(zip(trials, score([each.hits for each in trials], labels, groups), strict=True))

    def training(source: Source, parts: Sequence[Trials]) -> TrainingSet:
        points = []
        for each in parts:
            accuracy, balanced = scores[each]
            points.append(Point(each.share, each.samples, accuracy.estimate(), balanced.estimate()))
        found = class_accuracies(parts[-1].hits, labels, len(classes)).tolist()
        by_class = tuple(None if np.isnan(each) else each for each in found)
        return TrainingSet(*source, tuple(points), by_class)

    def judged(curated: Trials, raw: Trials, random: Trials) -> Judgement:
        mine, others = scores[curated], (scores[raw], scores[random])
        return Judgement(*(Difference.of(mine, other) for other in others))

    def compared(source: Source, found: Comparison) -> Curated:
        return Curated(
            training(source, found.curated),
            training(Source(f"as many as {source.name}, at random", raw.source, {}), found.random),
            judged(found.curated[-1], outcome.raw[-1], found.random[-1]),
            judged(found.checked, outcome.checked_raw, found.checked_random),
        )

    return Evaluation(
        options,
        space,
        tuple(classes),
        test,
        training(raw, outcome.raw),
        tuple(compared(source, found) for source, found in zip(sources[1:], outcome.comparisons, strict=True)),
    )


def _change(difference: Estimate) -> str:
    """Write a difference with its sign, and its interval."""
    return f"{signed(difference.value)}, 95 % from {signed(difference.low)} to {signed(difference.high)}"


def signed(value: float) -> str:
    """Write a difference of accuracies with its sign; a plus where it rounds to 0."""
    return f"{round(value, 3) + 0.0:+.3f}"
