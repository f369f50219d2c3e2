"""What an evaluation found: curves, differences, a verdict and its sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from datumaro_clip.evaluate.probe import IntArray
from datumaro_clip.evaluate.scoring import Estimate, Scores, class_accuracies, score
from datumaro_clip.evaluate.trials import Comparison, Outcome, Trials

#: What curation did, the best first.
VERDICTS = ("helped", "saved", "nothing", "cost", "worse than random")


class Point(NamedTuple):
    """Accuracies of probes trained on parts of one size.

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

    def to_mapping(self) -> dict[str, Any]:
        """As JSON values."""
        told = {"accuracy": self.accuracy.to_mapping(), "balanced": self.balanced.to_mapping()}
        return {"share": self.share, "samples": self.samples, **told}


class Difference(NamedTuple):
    """How much more a curated set teaches than another set: in top-1 and in balanced accuracy."""

    accuracy: Estimate
    balanced: Estimate

    @classmethod
    def of(cls, one: Scores, other: Scores) -> Difference:
        """One set's scores less another's."""
        return cls(one.accuracy.minus(other.accuracy), one.balanced.minus(other.balanced))

    def to_mapping(self) -> dict[str, Any]:
        """As JSON values."""
        return {"accuracy": self.accuracy.to_mapping(), "balanced": self.balanced.to_mapping()}


class Judgement(NamedTuple):
    """What one probe says of a curated set, each set whole.

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
        """One of :data:`VERDICTS`, by the intervals of top-1 accuracy."""
        raw, random = self.against_raw.accuracy, self.against_random.accuracy
        if random.high < 0:
            return "worse than random"
        if raw.high < 0:
            return "cost"
        if random.low > 0:
            return "helped" if raw.low > 0 else "saved"
        return "nothing"

    def to_mapping(self) -> dict[str, Any]:
        """As JSON values."""
        told = {"against_raw": self.against_raw.to_mapping(), "against_random": self.against_random.to_mapping()}
        return {"verdict": self.verdict, **told}


@dataclass(frozen=True)
class TrainingSet:
    """A set that was trained on.

    Attributes
    ----------
    name, source : str
        What to call it, and where it is from.
    left_out : mapping
        Items that were not trained on, by reason.
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
        """How many examples the whole set has."""
        return self.curve[-1].samples

    @property
    def accuracy(self) -> float:
        """Trained on the whole set."""
        return self.curve[-1].accuracy.value

    def to_mapping(self) -> dict[str, Any]:
        """As JSON values."""
        by_class = [None if each is None else round(each, 5) for each in self.by_class]
        told = {"name": self.name, "source": self.source, "samples": self.samples, "left_out": dict(self.left_out)}
        return {**told, "curve": [point.to_mapping() for point in self.curve], "by_class": by_class}


@dataclass(frozen=True)
class Curated:
    """A curated set, the random parts of the raw one beside it, and what probes say of the two.

    Attributes
    ----------
    training, random : TrainingSet
        Of the same sizes.
    linear, check : Judgement
        By the linear probe, which decides, and by the non-linear one.
    """

    training: TrainingSet
    random: TrainingSet
    linear: Judgement
    check: Judgement

    def to_mapping(self) -> dict[str, Any]:
        """As JSON values."""
        random = {"curve": [point.to_mapping() for point in self.random.curve]}
        told = {**self.training.to_mapping(), "random": random}
        return {**told, **self.linear.to_mapping(), "check": self.check.to_mapping()}


class TestSet(NamedTuple):
    """What all probes were asked about.

    Attributes
    ----------
    source : str
        A share, a subset's name or a file.
    items, groups : int
        Groups of copies.
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
    """What an evaluation found.

    Attributes
    ----------
    options : mapping
        What it was told: target, features, copies, seeds, sizes.
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
        """Whether a curated set helped, in one sentence."""
        return _sentence(one, self.raw)

    def findings(self, one: Curated) -> list[str]:
        """What else should be known of a curated set, a sentence each."""
        return _findings(one)

    def to_mapping(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "options": dict(self.options),
            "space": self.space,
            "classes": list(self.classes),
            "test": {**self.test._asdict(), "by_class": list(self.test.by_class)},
            "raw": self.raw.to_mapping(),
            "curated": [
                {"sentence": self.sentence(one), "findings": self.findings(one), **one.to_mapping()}
                for one in self.curated
            ],
        }


class Source(NamedTuple):
    """What to call a training set, where it is from, and what of it was left out."""

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
    """Score all trials, and compare.

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
    # Named tuples are equal by value, and trials are the same only where they are the same object.
    scores = dict(zip(map(id, trials), score([each.hits for each in trials], labels, groups), strict=True))

    def training(source: Source, parts: Sequence[Trials]) -> TrainingSet:
        points = (Point(each.share, each.samples, *_estimates(scores[id(each)])) for each in parts)
        found = class_accuracies(parts[-1].hits, labels, len(classes)).tolist()
        by_class = tuple(None if np.isnan(each) else each for each in found)
        return TrainingSet(*source, tuple(points), by_class)

    def judged(curated: Trials, raw: Trials, random: Trials) -> Judgement:
        mine, others = scores[id(curated)], (scores[id(raw)], scores[id(random)])
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


def _estimates(scores: Scores) -> tuple[Estimate, Estimate]:
    return scores.accuracy.estimate(), scores.balanced.estimate()


def _sentence(one: Curated, raw: TrainingSet) -> str:
    name, samples, accuracy = one.training.name, one.training.samples, one.training.accuracy
    against_raw, random = _told(one.linear.against_raw.accuracy), _told(one.linear.against_random.accuracy)
    trained = f"a classifier trained on {_amount(samples, raw.samples)} gets {accuracy:.3f} of the test set right"
    on_raw = f"{raw.accuracy:.3f} on all {raw.samples:,} raw ones"
    at_random = f"{one.random.accuracy:.3f} on as many drawn at random"
    return {
        "helped": f"{name} helped: {trained}, {on_raw} ({against_raw}) and {at_random} ({random}).",
        "saved": f"{name} saved examples: {trained}, more than the {at_random} ({random}), and no difference from the "
        f"{on_raw} can be told ({against_raw}).",
        "nothing": f"{name} won nothing: {trained}, and no difference from the {at_random} can be told ({random}); it "
        f"is {on_raw} ({against_raw}).",
        "cost": f"{name} cost accuracy: {trained}, less than the {on_raw} ({against_raw}); it is {at_random} "
        f"({random}).",
        "worse than random": f"{name} did worse than chance: {trained}, less than the {at_random} ({random}); it is "
        f"{on_raw} ({against_raw}).",
    }[one.linear.verdict]


def _findings(one: Curated) -> list[str]:
    verdict, check = one.linear.verdict, one.check.verdict
    against = one.check.against_raw.accuracy, one.check.against_random.accuracy
    told = f"{_told(against[0])} beside raw, {_told(against[1])} beside random"
    says = "says so too" if verdict == check else f"says '{check}' where the linear one says '{verdict}'"
    found = [f"The non-linear probe {says}: {told}."]
    top, balanced = one.linear.against_random
    if top.value * balanced.value < 0 and not balanced.low <= 0 <= balanced.high:
        more = "less" if balanced.value < 0 else "more"
        found.append(
            f"Over classes it is the other way round: {more} balanced accuracy than random, {_told(balanced)}."
        )
    return found


def _amount(samples: int, raw: int) -> str:
    fewer = 1 - samples / raw
    return f"{samples:,} examples" + (f" ({fewer:.0%} fewer)" if fewer >= 0.005 else "")


def _told(difference: Estimate) -> str:
    """A difference with its sign, and its interval."""
    return f"{signed(difference.value)}, 95 % from {signed(difference.low)} to {signed(difference.high)}"


def signed(value: float) -> str:
    """A difference of accuracies with its sign; what rounds to nothing has a plus."""
    return f"{round(value, 3) + 0.0:+.3f}"
