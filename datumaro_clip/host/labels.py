"""Labels of datasets: the evidence of which mean the same, and their renaming as a person has accepted it."""

from __future__ import annotations

import difflib
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from datumaro.components.annotation import (
    Annotation,
    AnnotationType,
    LabelCategories,
    MaskCategories,
    PointsCategories,
)
from datumaro.components.dataset_base import DatasetItem
from datumaro.util.annotation_util import max_bbox

from datumaro_clip.curate.embedder import embed_columns
from datumaro_clip.curate.item import Item
from datumaro_clip.curate.mapping import NameMapping, read_mapping
from datumaro_clip.curate.run_model import RunModel
from datumaro_clip.curate.synonyms import LabelledBox, LabelSource, iou, mean_direction
from datumaro_clip.embedding.keys import content_digest
from datumaro_clip.errors import ImageError, OptionError
from datumaro_clip.host.items import label_names, neutral
from datumaro_clip.host.sources import Named
from datumaro_clip.host.transform import DeclaredTransform
from datumaro_clip.options import File, Flag, Option
from datumaro_clip.texts import fill_prompt
from datumaro_clip.vectors import FloatArray

log = logging.getLogger(__name__)

#: The attribute in which an annotation keeps the label that it had.
FORMER = "clip_label_was"

OPTIONS = (
    Option("mapping", File(), None, "mapping whose accepted entries are applied", unset="required"),
    Option("ignore-unknown", Flag(), False, "skip names that the dataset does not have"),
)

# Prompts for the vector of a name: their mean is less about the sentence and more about the thing.
_PROMPTS = ("a photo of a {}", "a photo of the {}", "a picture of a {}", "{}")


class Instance(NamedTuple):
    """The annotations of one thing: those of one group and label, or one alone; its box and its label."""

    annotations: tuple[Annotation, ...]
    box: LabelledBox


def instances_of(annotations: Sequence[Annotation], names: Sequence[str]) -> list[Instance]:
    """Find the things that boxes, polygons, masks and other shapes with a known label show, in their order."""
    grouped: dict[Any, list[Annotation]] = {}
    for place, note in enumerate(annotations):
        label = getattr(note, "label", None)
        if label is not None and 0 <= label < len(names) and hasattr(note, "get_bbox"):
            grouped.setdefault((note.group, label) if note.group else place, []).append(note)
    found = []
    for notes in grouped.values():
        x, y, width, height = map(float, max_bbox(notes))
        found.append(Instance(tuple(notes), LabelledBox((x, y, width, height), names[notes[0].label])))
    return found


def label_source(source: Named, model: RunModel | None = None) -> LabelSource:
    """Collect the evidence that a dataset has of its labels' meaning.

    Returns
    -------
    LabelSource
        The labels, the labelled boxes by the digest of their picture, and with a model the mean vector of each label's
        crops.
    """
    names = label_names(source.dataset.categories())
    pictures: dict[bytes, list[LabelledBox]] = {}
    items: list[Item] = []
    for item in source.dataset:
        one = neutral(item, names)
        try:
            digest = content_digest(one.fetch())
        except ImageError:
            continue
        pictures.setdefault(digest, []).extend(each.box for each in instances_of(item.annotations, names))
        items.append(one)
    means: dict[str, FloatArray] = {}
    if model is not None:
        columns, _ = embed_columns(items, names, "boxes", model)
        annotations = columns.texts.annotation.tolist()
        crops: dict[str, list[FloatArray]] = {}
        for row, annotation, vector in zip(columns.rows.tolist(), annotations, columns.vectors, strict=True):
            if name := items[row].label_of(annotation):
                crops.setdefault(name, []).append(vector)
        means = {name: mean_direction(np.stack(vectors)) for name, vectors in crops.items()}
    return LabelSource(source.name, tuple(names), pictures, means)


def name_vectors(names: Sequence[str], model: RunModel) -> dict[str, FloatArray]:
    """Return a unit vector (D,) for each name: the mean of its prompts."""
    prompts = [fill_prompt(prompt, name) for name in names for prompt in _PROMPTS]
    vectors = model.text_vectors(prompts).reshape(len(names), len(_PROMPTS), -1)
    return {name: mean_direction(rows) for name, rows in zip(names, vectors, strict=True)}


class Renaming:
    """Labels of one dataset as indices of another's.

    Parameters
    ----------
    categories : mapping
        The dataset's.
    renames : mapping
        New names, by the labels that get them.
    target : LabelCategories, optional
        Labels that are there already; this dataset's are added behind them.

    Attributes
    ----------
    names : list of str
        The dataset's labels.
    labels : LabelCategories
        The new ones.
    index : list of int
        The index of each of ``names`` in ``labels``.
    """

    def __init__(
        self, categories: Mapping[Any, Any], renames: Mapping[str, str], target: LabelCategories | None = None
    ) -> None:
        self._old = categories
        self.names = label_names(categories)
        self.labels = LabelCategories() if target is None else target
        known = {label.name for label in self.labels.items}
        source = categories.get(AnnotationType.label, LabelCategories())
        new = [renames.get(name, name) for name in self.names]
        for place, name in enumerate(new):
            if name not in known:
                known.add(name)
                own = source.items[place]
                parent = renames.get(own.parent, own.parent)
                self.labels.add(name, parent if parent != name else "", set(own.attributes))
        self.index = [self.labels.find(name)[0] for name in new]

    def categories(self) -> dict[Any, Any]:
        """Return the categories for the new labels; of labels that became one, the first that has any counts."""
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
        """Return a copy of an annotation with its new label; it keeps the former name, if that was another."""
        label = getattr(note, "label", None)
        attributes = dict(note.attributes)
        if label is not None and 0 <= label < len(self.index):
            index = self.index[label]
            changes["label"] = index
            if self.labels[index].name != self.names[label]:
                attributes[FORMER] = self.names[label]
        return note.wrap(attributes=attributes, **changes)


def without_doubles(notes: Sequence[Annotation]) -> list[Annotation]:
    """Drop annotations that renaming made equal to another; of two, the one that kept its name stays, or the first."""
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
        return getattr(one, "label", None) is not None
    if one.type == AnnotationType.bbox:
        return iou(tuple(one.get_bbox()), tuple(other.get_bbox())) > 0.99
    return bool(one.wrap(attributes={}, id=0, group=0) == other.wrap(attributes={}, id=0, group=0))


def require_known(mapping: NameMapping, names: list[str]) -> None:
    """Refuse a mapping of labels that a dataset does not have."""
    for name in mapping.named:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            meant = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(names[:10])}"
            raise OptionError(f"{mapping.path}: there is no label {name!r}{meant} (--ignore-unknown passes over it)")


def set_parents(labels: Any, mapping: NameMapping) -> None:
    """Set the parents that a mapping gives to labels, where both are there."""
    for child, parent in mapping.parents.items():
        index = labels.find(mapping.renames.get(child, child))[0]
        name = mapping.renames.get(parent, parent)
        if index is not None and labels.find(name)[0] is not None:
            labels[index].parent = name


class ClipLabels(DeclaredTransform):
    """
    Renames and merges labels by the accepted entries of a mapping.|n
    |n
    The former name stays in the attribute 'clip_label_was'. Boxes that become equal are merged; mask colours and
    skeletons follow their label.|n
    |n
    Example:|n
    |s|sdatum transform -t clip_labels -o OUT path/to/voc:voc -- --mapping mapping.yaml
    """

    NAME = "clip_labels"

    @classmethod
    def options(cls) -> Sequence[Option]:
        """Return the mapping."""
        return OPTIONS

    @cached_property
    def mapping(self) -> NameMapping:
        """The mapping, read on first use; :class:`OptionError` if it does not fit the dataset."""
        values = self.values
        if values.mapping is None:
            raise OptionError("clip_labels needs --mapping FILE; 'datum-clip labels propose' writes one")
        mapping = read_mapping(values.mapping)
        if not values.ignore_unknown:
            require_known(mapping, label_names(self._extractor.categories()))
        return mapping

    @cached_property
    def _renaming(self) -> Renaming:
        renaming = Renaming(self._extractor.categories(), self.mapping.renames)
        set_parents(renaming.labels, self.mapping)
        return renaming

    def categories(self) -> Any:
        """Return the dataset's categories, with the new names."""
        return self._renaming.categories()

    def infos(self) -> Any:
        """Return the dataset's infos, and a record of the mapping."""
        return {**(self._extractor.infos() or {}), "clip_labels": self.mapping.record()}

    def __iter__(self) -> Iterator[DatasetItem]:
        counts: Counter[str] = Counter()
        for item in self._extractor:
            notes = [self._renaming.annotation(note) for note in item.annotations]
            counts.update(f"{note.attributes[FORMER]} renamed" for note in notes if FORMER in note.attributes)
            kept = without_doubles(notes)
            counts["joined"] += len(notes) - len(kept)
            yield item.wrap(annotations=kept)
        told = ", ".join(f"{what} {count}" for what, count in sorted(counts.items()) if count) or "nothing to rename"
        log.info("clip_labels: %s; mapping %s", told, self.mapping.sha256)
