"""Turning decisions into items: by a transform right away, or later by ``datum-clip decisions apply``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from datumaro.components.annotation import Annotation, AnnotationType, Caption, Label
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.curate.decisions import Decision, DecisionLog
from datumaro_clip.errors import DecisionError
from datumaro_clip.vectors import ItemKey

MERGED = "merged"


def key_of(item: DatasetItem) -> ItemKey:
    """What identifies an item."""
    return ItemKey(str(item.id), str(item.subset))


class DecidedItems:
    """A dataset's items as decisions leave them.

    Parameters
    ----------
    log : DecisionLog
        With the option ``merge_annotations``, representatives gain what the items dropped for them had.
    categories : mapping
        The dataset's categories, for the names of labels.
    """

    def __init__(self, log: DecisionLog, categories: Mapping[Any, Any]) -> None:
        self._decisions: dict[ItemKey, list[Decision]] = defaultdict(list)
        for decision in log.decisions:
            self._decisions[decision.key].append(decision)
        self._merges = bool(log.options.get("merge_annotations"))
        self._members = self._dropped_for(log.decisions) if self._merges else {}
        self._labels = categories.get(AnnotationType.label)

    def apply(self, items: Iterable[DatasetItem]) -> Iterator[DatasetItem]:
        """The items that stay, changed as decided; in the order of the decisions' ranks, where they have any.

        ``items`` is iterated twice where annotations are merged, so it must be a collection then.
        """
        lost = self._annotations_lost(items) if self._members else {}
        kept = self._kept(items, lost)
        if any(decision.rank is not None for each in self._decisions.values() for decision in each):
            kept = iter(sorted(kept, key=self._rank))
        yield from kept

    def require_keys(self, keys: Iterable[ItemKey]) -> None:
        """Raise :class:`DecisionError` if there are decisions about items that the dataset does not have."""
        unknown = sorted(set(self._decisions) - set(keys))
        if unknown:
            names = ", ".join(map(str, unknown[:3]))
            raise DecisionError(f"the dataset has no item {names} ({len(unknown)} of the decided items are missing)")

    def _kept(
        self, items: Iterable[DatasetItem], lost: Mapping[ItemKey, Sequence[Annotation]]
    ) -> Iterator[DatasetItem]:
        seen: set[ItemKey] = set()
        for item in items:
            key = key_of(item)
            decided = [one for one in self._decisions.get(key, ()) if one.reason != "repeated_id" or key in seen]
            seen.add(key)
            if not any(one.action == "drop" and one.annotation is None for one in decided):
                yield self._changed(item, decided, lost.get(key, ()))

    def _changed(self, item: DatasetItem, decided: list[Decision], lost: Sequence[Annotation]) -> DatasetItem:
        annotations = [*self._annotations(item, decided), *_missing_from(item, lost)]
        attributes = dict(item.attributes)
        subset = item.subset
        for decision in decided:
            if decision.annotation is None:
                attributes.update(decision.attributes)
            if decision.action == "move" and decision.subset:
                subset = decision.subset
        return item.wrap(annotations=annotations, attributes=attributes, subset=subset)

    def _annotations(self, item: DatasetItem, decided: list[Decision]) -> Iterator[Annotation]:
        by_index = {one.annotation: one for one in decided if one.annotation is not None}
        for index, annotation in enumerate(item.annotations):
            decision = by_index.get(index)
            if decision is None:
                yield annotation
            elif decision.action != "drop":
                yield annotation.wrap(attributes={**annotation.attributes, **decision.attributes})
        for decision in decided:
            if decision.action == "label" and decision.label is not None:
                yield Label(self._label_index(decision.label), attributes={"clip_confidence": decision.score})

    def _label_index(self, name: str) -> int:
        index = None if self._labels is None else self._labels.find(name)[0]
        if index is None:
            raise DecisionError(f"the dataset has no label category {name!r}, which a decision adds")
        return int(index)

    def _rank(self, item: DatasetItem) -> int:
        """Place in the result; items that no rank was given to keep their place behind the others."""
        decided = self._decisions.get(key_of(item), ())
        return next((one.rank for one in decided if one.rank is not None), len(self._decisions))

    @staticmethod
    def _dropped_for(decisions: Iterable[Decision]) -> dict[ItemKey, Decision]:
        return {one.key: one for one in decisions if one.action == "drop" and one.representative is not None}

    def _annotations_lost(self, items: Iterable[DatasetItem]) -> dict[ItemKey, list[Annotation]]:
        """What dropped items had, by the item that stays for them."""
        lost: dict[ItemKey, list[Annotation]] = defaultdict(list)
        for item in items:
            decision = self._members.get(key_of(item))
            if decision is not None and decision.representative is not None:
                lost[decision.representative] += _transferable(item, decision.reason)
        return lost


def _transferable(item: DatasetItem, reason: str) -> list[Annotation]:
    """All annotations of an exact copy; of an altered one, those that do not depend on where things are."""
    if reason == "exact_duplicate":
        return list(item.annotations)
    return [annotation for annotation in item.annotations if isinstance(annotation, Caption | Label)]


def _missing_from(item: DatasetItem, lost: Sequence[Annotation]) -> Iterator[Annotation]:
    """Those annotations that neither the item nor an earlier one of ``lost`` has."""
    known = {_content(annotation) for annotation in item.annotations}
    for annotation in lost:
        if _content(annotation) not in known:
            known.add(_content(annotation))
            yield annotation.wrap(attributes={**annotation.attributes, MERGED: True})


def _content(annotation: Annotation) -> str:
    """What an annotation says, without its id and group."""
    if isinstance(annotation, Caption):
        return f"caption {annotation.caption}"
    if isinstance(annotation, Label):
        return f"label {annotation.label}"
    return repr(annotation.wrap(id=0, group=0, attributes={}))
