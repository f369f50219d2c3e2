"""Applies decisions to items: in a transform right away, or later by ``datum-clip decisions apply``."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datumaro.components.annotation import Annotation, AnnotationType, Bbox, Caption, Label, Mask, Polygon
from datumaro.components.dataset_base import DatasetItem, IDataset
from datumaro.components.transformer import Transform

from datumaro_clip.curate.decisions import Decision, DecisionLog
from datumaro_clip.errors import DecisionError, OptionError
from datumaro_clip.host.causes import told_as_option_errors
from datumaro_clip.host.items import key_of, with_labels
from datumaro_clip.host.losses import Losses, write
from datumaro_clip.host.sources import open_dataset
from datumaro_clip.store.base import TAGS, tags_of
from datumaro_clip.vectors import ItemKey

#: The attribute of an annotation that a representative has from an item dropped for it.
MERGED = "merged"


class DecidedItems:
    """Applies the decisions of a log to a dataset's items.

    Parameters
    ----------
    log : DecisionLog
        With the option ``merge_annotations``, representatives gain what the items dropped for them had.
    categories : mapping
        The dataset's categories, for the names of labels.
    """

    def __init__(self, log: DecisionLog, categories: Mapping[Any, Any]) -> None:
        self._decisions: dict[tuple[ItemKey, int], list[Decision]] = defaultdict(list)
        for one in log.decisions:
            # Before decisions had an occurrence, only a repetition was about another item than the first of its id.
            self._decisions[one.key, one.occurrence or int(one.reason == "repeated_id")].append(one)
        merges = bool(log.options.get("merge_annotations"))
        dropped = [one for one in log.decisions if one.action == "drop" and one.representative is not None]
        self._dropped_for = {one.key: (one.representative, one.reason) for one in dropped} if merges else {}
        self._labels = categories.get(AnnotationType.label)

    def apply(self, items: Iterable[DatasetItem]) -> Iterator[DatasetItem]:
        """Return the items that stay, changed as decided; in the order of the decisions' ranks, if they have any.

        ``items`` is iterated twice where annotations are merged, so it must be a collection then.
        """
        lost = self._annotations_lost(items) if self._dropped_for else {}
        seen: Counter[ItemKey] = Counter()
        kept = []
        ranked = any(one.rank is not None for each in self._decisions.values() for one in each)
        for item in items:
            key = key_of(item)
            decided = self._decisions.get((key, seen[key]), [])
            seen[key] += 1
            if any(one.action == "drop" and one.annotation is None for one in decided):
                continue
            changed = self._changed(item, decided, lost.get(key, ()))
            if ranked:  # Items without a rank come behind the others, in their own order.
                rank = next((one.rank for one in decided if one.rank is not None), len(self._decisions))
                kept.append((rank, changed))
            else:
                yield changed
        yield from (item for _, item in sorted(kept, key=lambda pair: pair[0]))

    def require_keys(self, keys: Iterable[ItemKey]) -> None:
        """Raise :class:`DecisionError` if there are decisions about items that the dataset does not have."""
        unknown = sorted({key for key, _ in self._decisions} - set(keys))
        if unknown:
            names = ", ".join(map(str, unknown[:3]))
            raise DecisionError(f"the dataset has no item {names} ({len(unknown)} of the decided items are missing)")

    def _changed(self, item: DatasetItem, decided: list[Decision], lost: Sequence[Annotation]) -> DatasetItem:
        annotations = [*self._annotations(item, decided), *_missing_from(item, lost)]
        attributes = dict(item.attributes)
        subset = item.subset
        for decision in decided:
            if decision.annotation is None:
                attributes.update(decision.attributes)
            if decision.action == "move" and decision.subset:
                subset = decision.subset
        tags = _tagged(attributes.get(TAGS), decided)
        if tags is not None:
            attributes[TAGS] = tags
        return item.wrap(annotations=annotations, attributes=attributes, subset=subset)

    def _annotations(self, item: DatasetItem, decided: list[Decision]) -> Iterator[Annotation]:
        by_index = {one.annotation: one for one in decided if one.annotation is not None}
        dropped = [note for n, note in enumerate(item.annotations) if n in by_index and by_index[n].action == "drop"]
        gone = {note.group for note in dropped if note.group and isinstance(note, Bbox)}
        for index, annotation in enumerate(item.annotations):
            decision = by_index.get(index)
            if decision is None and annotation.group in gone and isinstance(annotation, Polygon | Mask):
                continue  # It outlines the object of a box that is dropped.
            if decision is None:
                yield annotation
            elif decision.action != "drop":
                changes: dict[str, Any] = {"attributes": {**annotation.attributes, **decision.attributes}}
                if decision.action == "label" and decision.label is not None:
                    changes["label"] = self._label_index(decision.label)
                    changes["attributes"]["clip_confidence"] = decision.score
                yield annotation.wrap(**changes)
        for decision in decided:
            if decision.action == "label" and decision.label is not None and decision.annotation is None:
                yield Label(self._label_index(decision.label), attributes={"clip_confidence": decision.score})

    def _label_index(self, name: str) -> int:
        index = None if self._labels is None else self._labels.find(name)[0]
        if index is None:
            raise DecisionError(f"the dataset has no label category {name!r}, which a decision adds")
        return int(index)

    def _annotations_lost(self, items: Iterable[DatasetItem]) -> dict[ItemKey, list[Annotation]]:
        """Return the annotations of dropped items, by the item that stays for them.

        Of an altered copy, only those that do not depend on where things are in the picture.
        """
        lost: dict[ItemKey, list[Annotation]] = defaultdict(list)
        for item in items:
            representative, reason = self._dropped_for.get(key_of(item), (None, ""))
            if representative is not None:
                is_exact = reason == "exact_duplicate"
                lost[representative] += [
                    note for note in item.annotations if is_exact or isinstance(note, Caption | Label)
                ]
        return lost


def _tagged(held: Any, decided: Sequence[Decision]) -> list[str] | None:
    """Return an item's tags after decisions; None if no decision is about tags."""
    changes = [one for one in decided if one.action in ("tag", "untag") and one.tag]
    if not changes:
        return None
    tags = dict.fromkeys(tags_of(held))
    for one in changes:
        if one.action == "tag":
            tags[str(one.tag)] = None
        else:
            tags.pop(str(one.tag), None)
    return list(tags)


class Replay(Transform):
    """Applies the decisions of a log to the items of a dataset."""

    def __init__(self, extractor: IDataset, log: DecisionLog) -> None:
        super().__init__(extractor)
        self._log = log

    def categories(self) -> Any:
        """Return the dataset's categories, with the labels that decisions add."""
        told = [one.label for one in self._log.decisions if one.action == "label" and one.label]
        return with_labels(self._extractor.categories(), told)

    def __iter__(self) -> Iterator[DatasetItem]:
        yield from DecidedItems(self._log, self.categories()).apply(self._extractor)


def replay(
    log: DecisionLog, pathspec: str, output: Path, form: str | None, *, save_media: bool = False
) -> tuple[int, Losses]:
    """Apply decisions to a dataset, and write it.

    Parameters
    ----------
    log : DecisionLog
    pathspec : str
        ``PATH[:FORMAT]``.
    output : Path
    form : str, optional
        Name of the format to write; the source's where omitted.

    Returns
    -------
    count : int
        Number of items written.
    losses : Losses
        What the format does not keep of them.

    Raises
    ------
    OptionError
        If the dataset cannot be read, or not be written so or there.
    DecisionError
        If it lacks an item that was decided about.
    """
    dataset = open_dataset(pathspec)
    form = form or dataset.format
    if form not in dataset.env.exporters:
        raise OptionError(f"no dataset can be written as {form}; name another format with -f: datum convert --help")
    if output.is_dir() and any(output.iterdir()):
        raise OptionError(f"{output} is not empty; name a new directory")
    with told_as_option_errors(pathspec):
        DecidedItems(log, dataset.categories()).require_keys(key_of(item) for item in dataset)
        dataset.transform(Replay, log=log)
        lost = write(dataset, output, form, save_media=save_media)
        return len(dataset), lost


def _missing_from(item: DatasetItem, lost: Sequence[Annotation]) -> Iterator[Annotation]:
    """Return those of ``lost`` that say what neither the item's annotations nor earlier ones of ``lost`` say."""
    known = {_content(annotation) for annotation in item.annotations} if lost else set()
    for annotation in lost:
        if _content(annotation) not in known:
            known.add(_content(annotation))
            yield annotation.wrap(attributes={**annotation.attributes, MERGED: True})


def _content(annotation: Annotation) -> str:
    """Return what an annotation says, without its id and group, as text."""
    if isinstance(annotation, Caption):
        return f"caption {annotation.caption}"
    if isinstance(annotation, Label):
        return f"label {annotation.label}"
    return repr(annotation.wrap(id=0, group=0, attributes={}))
