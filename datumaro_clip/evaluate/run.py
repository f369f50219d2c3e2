"""Evaluate datasets: find target, test set, groups of copies and vectors, and run the trials."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datumaro_clip.curate.decisions import read_exceptions
from datumaro_clip.curate.embedder import embed_columns
from datumaro_clip.curate.groups import equal_groups
from datumaro_clip.curate.item import Item
from datumaro_clip.curate.run_model import RunModel
from datumaro_clip.curate.split import copy_groups, split_groups
from datumaro_clip.embedding.keys import content_digest
from datumaro_clip.errors import ImageError, OptionError
from datumaro_clip.evaluate.evaluation import Evaluation, Source, TestSet, conclude
from datumaro_clip.evaluate.probe import IntArray
from datumaro_clip.evaluate.trials import BoolArray, Examples, count_trainings, run_trials
from datumaro_clip.options import Choice, File, Number, Option, Several, Text, Values, Whole
from datumaro_clip.system.terminal import progress
from datumaro_clip.vectors import FloatArray, ItemKey, unit_rows

log = logging.getLogger(__name__)

_ATTRIBUTE = "attribute:"


def _target_problem(text: str) -> str | None:
    known = text == "label" or (text.startswith(_ATTRIBUTE) and len(text) > len(_ATTRIBUTE))
    return None if known else "must be label or attribute:NAME"


OPTIONS = (
    Option(
        "target",
        Text(metavar="{label,attribute:NAME}", check=_target_problem),
        "label",
        "what the classifier learns",
    ),
    Option(
        "test",
        Text(metavar="SHARE|SUBSET|FILE"),
        "0.2",
        "the test set: a share of the items, a subset, or a file with lines id@subset",
    ),
    Option("copies", Choice(names=("near", "exact")), "near", "copies that must not lie on both sides of the split"),
    Option(
        "features",
        Choice(names=("pictures", "texts", "both")),
        None,
        "what the classifier sees",
        unset="both where most items have captions",
    ),
    Option("seeds", Whole(at_least=1, metavar="N"), 5, "number of random draws"),
    Option(
        "sizes",
        Several(of=Number(at_least=0, at_most=1, above=True, metavar="SHARE")),
        (0.05, 0.2, 0.5, 1.0),
        "shares of each training set to train on, for the curve",
    ),
    Option("min-items", Whole(at_least=2, metavar="N"), 2, "leave out classes with fewer items in RAW"),
    Option("report", File(metavar="DIR"), None, "write report.html, evaluation.json and test.txt there"),
)


@dataclass(frozen=True, eq=False)
class ComparedSet:
    """A dataset to compare.

    Attributes
    ----------
    name, source : str
        Its name for people, and its origin.
    items : sequence of Item
    moved : mapping, optional
        Of a set that decisions made from the raw one: the former keys of the items that got others. None for a dataset
        of its own, whose items are matched with the raw ones.
    """

    name: str
    source: str
    items: Sequence[Item]
    moved: Mapping[ItemKey, ItemKey] | None = None


def evaluate(
    raw: ComparedSet, curated: Sequence[ComparedSet], values: Values, model: RunModel
) -> tuple[Evaluation, list[ItemKey]]:
    """Compare classifiers trained on curated datasets, on the raw one, and on random parts of it.

    Parameters
    ----------
    raw : ComparedSet
    curated : sequence of ComparedSet
        At least one.
    values : Values
        Of :data:`OPTIONS`.
    model : RunModel
        Computes the vectors that items do not carry.

    Returns
    -------
    evaluation : Evaluation
    test : list of ItemKey
        The items of the test set, in the order of the raw dataset.

    Raises
    ------
    OptionError
        If there are fewer than two classes, or nothing to train on or to test.
    """
    return _Run(raw, curated, values, model).run()


class _Prepared(NamedTuple):
    """The items of a dataset that can be examples.

    Attributes
    ----------
    items : list of Item
    labels : numpy.ndarray
        Shape (N,), int64.
    left_out : collections.Counter
        Numbers of the others, by reason.
    """

    items: list[Item]
    labels: IntArray
    left_out: Counter[str]


class _Run:
    def __init__(self, raw: ComparedSet, curated: Sequence[ComparedSet], values: Values, model: RunModel) -> None:
        self._raw, self._curated, self._values, self._model = raw, curated, values, model
        self._target = _target(values.target)

    def run(self) -> tuple[Evaluation, list[ItemKey]]:
        values, classes = self._values, self._classes()
        sets = [self._labelled(each.items, classes) for each in (self._raw, *self._curated)]
        pool, rows = self._pooled(sets[0], sets[1:])
        features, vectors, has_vector = self._vectors(pool, rows, sets)
        # Copies share a group; items with equal vectors too, since no probe tells them apart.
        keys: list[list[Hashable]] = [
            [group] for group in copy_groups(pool, near=values.copies == "near")[rows].tolist()
        ]
        for row in np.flatnonzero(has_vector).tolist():
            keys[row].append(hashlib.blake2b(vectors[row].tobytes(), digest_size=16).digest())
        labels = np.concatenate([each.labels for each in sets])
        examples = Examples(vectors, labels, equal_groups(range(len(keys)), keys))
        is_test, parts, sources = self._split(sets, examples, has_vector)
        test, (raw, *curated) = examples.at(is_test), [examples.at(part) for part in parts]
        with progress(count_trainings(curated, raw, values.sizes, values.seeds), "probe", "Training") as bar:
            outcome = run_trials(
                raw, curated, test, len(classes), sizes=values.sizes, seeds=values.seeds, on_trained=bar.update
            )
        tested = [sets[0].items[row].key for row in np.flatnonzero(is_test)]
        lines = "\n".join(sorted(map(str, tested))).encode(errors="surrogateescape")
        about = TestSet(
            str(values.test),
            len(test),
            len(np.unique(test.groups)),
            f"sha256:{hashlib.sha256(lines).hexdigest()}",
            tuple(np.bincount(test.labels, minlength=len(classes)).tolist()),
        )
        options = {name: getattr(values, name) for name in ("target", "copies", "seeds")}
        options |= {"features": features, "sizes": [trials.share for trials in outcome.raw]}
        found = conclude(outcome, sources, test.labels, test.groups, about, classes, options, self._model.fingerprint)
        return found, tested

    def _split(
        self, sets: Sequence[_Prepared], examples: Examples, has_vector: BoolArray
    ) -> tuple[BoolArray, list[IntArray], list[Source]]:
        """Return which examples are the test set, (N,), the rows of each training set, and its source."""
        starts = np.cumsum([0, *(len(each.items) for each in sets)])
        parts = [np.arange(one, other) for one, other in pairwise(starts)]
        is_test = np.zeros(len(examples), np.bool_)
        is_test[parts[0]] = self._is_test(sets[0].items, examples.groups[parts[0]]) & has_vector[parts[0]]
        if not is_test.any():
            raise OptionError(f"--test {self._values.test}: none of its items has the target and a vector")
        leaks = np.isin(examples.groups, examples.groups[is_test])
        training, sources = [], []
        for dataset, each, part in zip((self._raw, *self._curated), sets, parts, strict=True):
            training.append(part[(has_vector & ~leaks)[part]])
            left = each.left_out + Counter({"no vector": int((~has_vector[part]).sum())})
            reason = "copy of a test item" if dataset is self._raw else "test item, or copy of one"
            left += Counter({reason: int((has_vector & leaks & ~is_test)[part].sum())})
            sources.append(Source(dataset.name, dataset.source, dict(left)))
            if not len(training[-1]):
                reasons = ", ".join(f"{reason} {count}" for reason, count in left.items()) or "it is empty"
                raise OptionError(f"{dataset.name} has no item to train on: {reasons}")
        return is_test, training, sources

    def _classes(self) -> list[str]:
        """Return the classes of the raw dataset that have enough items."""
        counts = Counter(name for item in self._raw.items if (name := self._target(item)) is not None)
        classes = sorted(name for name, count in counts.items() if count >= self._values.min_items)
        if len(classes) < 2:
            what = self._values.target
            raise OptionError(
                f"{self._raw.name} has {len(classes)} classes of at least {self._values.min_items} items by --target "
                f"{what} ({len(counts)} classes in all), and two are needed; name another target, or lower --min-items"
            )
        return classes

    def _labelled(self, items: Sequence[Item], classes: Sequence[str]) -> _Prepared:
        number = {name: n for n, name in enumerate(classes)}
        kept, labels, left = [], [], Counter[str]()
        for item in items:
            name = self._target(item)
            if name in number:
                kept.append(item)
                labels.append(number[name])
            else:
                left["no target" if name is None else "small or unknown class"] += 1
        return _Prepared(kept, np.array(labels, np.int64), left)

    def _pooled(self, raw: _Prepared, curated: Sequence[_Prepared]) -> tuple[list[Item], IntArray]:
        """Collect the different items of all sets; return them, and the row of every set's every item among them.

        A curated item equals a raw one if both have the same key, or else the same id, and the same picture.
        """
        pool, rows = list(raw.items), list(range(len(raw.items)))
        place = {item.key: n for n, item in reversed(list(enumerate(raw.items)))}
        ids = Counter(item.key.id for item in raw.items)
        by_id = {item.key.id: n for n, item in enumerate(raw.items) if ids[item.key.id] == 1}
        for dataset, prepared in zip(self._curated, curated, strict=True):
            for item in prepared.items:
                if dataset.moved is not None:
                    found = place.get(dataset.moved.get(item.key, item.key))
                else:
                    found = place.get(item.key, by_id.get(item.key.id))
                    found = found if found is not None and _same_picture(pool[found], item) else None
                if found is None:
                    found = len(pool)
                    pool.append(item)
                rows.append(found)
        return pool, np.array(rows, np.int64)

    def _vectors(
        self, pool: Sequence[Item], rows: IntArray, sets: Sequence[_Prepared]
    ) -> tuple[str, FloatArray, BoolArray]:
        """Return the features that the classifier sees: their kind, vectors (N, D), and which items have any, (N,)."""
        raw, items = sets[0].items, [item for each in sets for item in each.items]
        captioned = sum(bool(item.captions) for item in raw) * 2 >= len(raw)
        features = self._values.features or ("both" if captioned else "pictures")
        blocks = []
        if features != "texts":
            columns, _ = embed_columns(pool, (), "pictures", self._model)
            place = np.full(len(pool), -1)
            place[columns.rows] = np.arange(len(columns.rows))
            blocks.append(_block(columns.vectors, place[rows]))
            space = self._model.fingerprint or ""
            if features == "both" and self._values.features is None and space.startswith("name:"):
                log.info("vectors computed elsewhere have no text encoder: the classifier sees pictures alone")
                features = "pictures"
        if features != "pictures":
            blocks.append(self._text_block(items))
        has_vector = np.any([has for _, has in blocks], axis=0)
        # Both sides get the same weight, however far their vectors are apart; a missing side counts as the average.
        sides = [_even(vectors, has, len(raw)) for vectors, has in blocks]
        return features, np.concatenate(sides, axis=1), has_vector

    def _text_block(self, items: Sequence[Item]) -> tuple[FloatArray, BoolArray]:
        """Return the mean direction of each item's captions."""
        captions = [[text for text in item.texts("captions", "") if text.text.strip()] for item in items]
        unknown = list(dict.fromkeys(each.text for texts in captions for each in texts if each.vector is None))
        known = dict(zip(unknown, self._model.text_vectors(unknown) if unknown else (), strict=True))
        rows = [n for n, texts in enumerate(captions) if texts]
        if not rows:
            raise OptionError("no item has a caption: --features pictures")
        means = [
            np.mean([known[each.text] if each.vector is None else each.vector for each in captions[n]], axis=0)
            for n in rows
        ]
        place = np.full(len(items), -1)
        place[rows] = np.arange(len(rows))
        return _block(unit_rows(np.stack(means)), place)

    def _is_test(self, items: Sequence[Item], groups: IntArray) -> BoolArray:
        """Return which of the raw items are the test set, as ``--test`` says: a subset, a file, or a share."""
        named = str(self._values.test)
        subsets = {item.key.subset for item in items}
        if named in subsets:
            return np.array([item.key.subset == named for item in items], np.bool_)
        if (path := Path(named)).is_file():
            wanted = read_exceptions(path)
            found = np.array([item.key in wanted for item in items], np.bool_)
            if not found.any():
                raise OptionError(f"{path} names no item of the dataset; a line is id@subset")
            return found
        try:
            share = float(named)
        except ValueError:
            share = 0.0
        if not 0 < share < 1:
            names = ", ".join(sorted(subsets))
            raise OptionError(f"--test wants a share between 0 and 1, a file, or a subset ({names}); got {named!r}")
        return split_groups(groups, share)


def _target(target: str) -> Callable[[Item], str | None]:
    """Return a function that reads the class of an item; None for an item without one."""
    if target == "label":
        return lambda item: item.label
    name = target.removeprefix(_ATTRIBUTE)

    def read(item: Item) -> str | None:
        value: Any = item.attributes.get(name)
        return None if value is None or value == "" else str(value)

    return read


def _same_picture(one: Item, other: Item) -> bool:
    """Whether two items have the same file as picture; True where one cannot be read, since their names agree."""
    if one.picture is None or other.picture is None:
        return True
    try:
        return content_digest(one.fetch()) == content_digest(other.fetch())
    except ImageError:
        return True


def _block(vectors: FloatArray, place: IntArray) -> tuple[FloatArray, BoolArray]:
    """Return the rows of vectors at the places, zeros for the place -1; and which places are others."""
    has = place >= 0
    found = np.zeros((len(place), vectors.shape[1]), np.float32)
    found[has] = vectors[place[has]]
    return found, has


def _even(vectors: FloatArray, has: BoolArray, raw: int) -> FloatArray:
    """Centre and scale vectors, so that the raw ones have mean 0 and mean squared length 1; others get zeros."""
    known = vectors[:raw][has[:raw]] if has[:raw].any() else vectors[has]
    mean = known.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = np.sqrt(max(float(((known - mean) ** 2).sum(axis=1).mean()), np.finfo(np.float32).tiny))
    return np.where(has[:, None], (vectors - mean) / np.float32(scale), 0)
