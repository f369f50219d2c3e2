"""Labels of a dataset called otherwise: categories, colours, skeletons and annotations together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

from datumaro.components.annotation import (
    Annotation,
    AnnotationType,
    LabelCategories,
    MaskCategories,
    PointsCategories,
)

from datumaro_clip.curate.synonyms import LabelledBox, iou
from datumaro_clip.host.items import label_names

#: The attribute in which an annotation keeps the label that it had.
FORMER = "clip_label_was"


class Instance(NamedTuple):
    """The annotations of one thing: those of one group and label, or one alone; its box and its label."""

    annotations: tuple[Annotation, ...]
    box: LabelledBox


def instances_of(annotations: Sequence[Annotation], names: Sequence[str]) -> list[Instance]:
    """The things that boxes, polygons, masks and other shapes with a known label show, in their order."""
    grouped: dict[Any, list[Annotation]] = {}
    for place, note in enumerate(annotations):
        label = getattr(note, "label", None)
        if label is None or not 0 <= label < len(names) or not hasattr(note, "get_bbox"):
            continue
        grouped.setdefault((note.group, label) if note.group else place, []).append(note)
    return [Instance(tuple(notes), LabelledBox(_around(notes), names[notes[0].label])) for notes in grouped.values()]


def _around(notes: Sequence[Any]) -> tuple[float, float, float, float]:
    boxes = [note.get_bbox() for note in notes]
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
    return float(left), float(top), float(right - left), float(bottom - top)


class Renaming:
    """Labels of one dataset as indices of another's.

    Parameters
    ----------
    categories : mapping
        The dataset's.
    renames : mapping
        From a label to what it is called instead.
    target : LabelCategories, optional
        Labels that are there already; this dataset's are added behind them.
    """

    def __init__(
        self, categories: Mapping[Any, Any], renames: Mapping[str, str], target: LabelCategories | None = None
    ) -> None:
        self._old = categories
        self._names = label_names(categories)
        self.labels = LabelCategories() if target is None else target
        known = {label.name for label in self.labels.items}
        source = categories.get(AnnotationType.label, LabelCategories())
        new = [renames.get(name, name) for name in self._names]
        for place, name in enumerate(new):
            if name not in known:
                known.add(name)
                own = source.items[place]
                parent = renames.get(own.parent, own.parent)
                self.labels.add(name, parent if parent != name else "", set(own.attributes))
        self.index = [self.labels.find(name)[0] for name in new]

    def categories(self) -> dict[Any, Any]:
        """The dataset's categories for the new labels: of labels that became one, the first that has any counts."""
        told = {kind: deepcopy(value) for kind, value in self._old.items() if kind != AnnotationType.label}
        told[AnnotationType.label] = self.labels
        if masks := self._old.get(AnnotationType.mask):
            told[AnnotationType.mask] = MaskCategories(self._moved(masks.colormap))
        if points := self._old.get(AnnotationType.points):
            told[AnnotationType.points] = PointsCategories(self._moved(points.items))
        return told

    def _moved(self, by_label: Mapping[int, Any]) -> dict[int, Any]:
        moved: dict[int, Any] = {}
        for label, value in by_label.items():
            if 0 <= label < len(self.index):
                moved.setdefault(self.index[label], deepcopy(value))
        return moved

    def annotation(self, note: Annotation, **changes: Any) -> Annotation:
        """A copy of an annotation with its new label; it remembers another former name."""
        label = getattr(note, "label", None)
        attributes = dict(note.attributes)
        if label is not None and 0 <= label < len(self.index):
            index = self.index[label]
            changes["label"] = index
            if self.labels[index].name != self._names[label]:
                attributes[FORMER] = self._names[label]
        return note.wrap(attributes=attributes, **changes)


def without_doubles(notes: Sequence[Annotation]) -> list[Annotation]:
    """Annotations without those that renaming made equal to another: of two, that which kept its name, or the first."""
    return [
        note
        for place, note in enumerate(notes)
        if FORMER not in note.attributes
        or not any(
            note.attributes[FORMER] != other.attributes.get(FORMER)
            and (n < place or FORMER not in other.attributes)
            and _is_double(note, other)
            for n, other in enumerate(notes)
            if n != place
        )
    ]


def _is_double(one: Any, other: Any) -> bool:
    """Whether two annotations of one kind and label are the same shape, to a hundredth of their area."""
    if type(one) is not type(other) or getattr(one, "label", None) != getattr(other, "label", None):
        return False
    if not hasattr(one, "get_bbox"):
        return bool(getattr(one, "label", None) is not None)
    if one.type == AnnotationType.bbox:
        return iou(tuple(one.get_bbox()), tuple(other.get_bbox())) > 0.99
    return bool(one.wrap(attributes={}, id=0, group=0) == other.wrap(attributes={}, id=0, group=0))
