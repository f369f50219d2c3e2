"""Datumaro's annotations as objects of the neutral item, and what was found of them as annotations again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from datumaro.components.annotation import Annotation, Bbox, Ellipse, Mask, Polygon, RotatedBbox
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.curate.item import ItemBox
from datumaro_clip.curate.objects import Objects
from datumaro_clip.errors import ImageError
from datumaro_clip.host.carried_vectors import DETECTOR, SCORE, box_of
from datumaro_clip.images.regions import Mask as Pixels
from datumaro_clip.objects.detector import same_name
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE

#: Attribute of a detector's box: what the detector said, by which it is known whether somebody changed the box since.
DETECTED = "clip_detected"

_SHAPES = (Bbox, RotatedBbox, Polygon, Mask, Ellipse)


def class_of(note: Annotation, classes: Sequence[str]) -> str | int | None:
    """The name of an annotation's class; its number, where no class has it."""
    number = getattr(note, "label", None)
    return None if number is None else classes[number] if 0 <= number < len(classes) else int(number)


def objects_of(item: DatasetItem, classes: Sequence[str]) -> Iterator[ItemBox]:
    """The objects that an item's annotations show, in their order.

    Each box, rotated box, polygon, mask and ellipse is one, but for crowds, and for the polygons and masks of a group
    that has a box, which are the box's.
    """
    boxed: dict[int, list[Annotation]] = defaultdict(list)
    for note in item.annotations:
        if note.group and isinstance(note, Bbox):
            boxed[note.group] = []
    for note in item.annotations:
        if note.group in boxed and isinstance(note, Polygon | Mask):
            boxed[note.group].append(note)
    for index, note in enumerate(item.annotations):
        is_part = note.group in boxed and not isinstance(note, Bbox)
        if isinstance(note, _SHAPES) and not is_part and not note.attributes.get("is_crowd"):
            parts = boxed.get(note.group, []) if isinstance(note, Bbox) else [note]
            yield _object(item, index, note, parts, classes)


def _object(
    item: DatasetItem, index: int, note: Annotation, parts: Sequence[Annotation], classes: Sequence[str]
) -> ItemBox:
    corners = box_of(note)
    assert corners is not None
    x1, y1, x2, y2 = corners
    box, angle = (x1, y1, x2 - x1, y2 - y1), 0.0
    if isinstance(note, RotatedBbox):
        box, angle = (note.cx - note.w / 2, note.cy - note.h / 2, note.w, note.h), float(note.r)
    label = class_of(note, classes)
    score = note.attributes.get(SCORE)
    masks = [part for part in parts if isinstance(part, Mask)]
    return ItemBox(
        box,
        label,
        float(score) if isinstance(score, int | float) else None,
        index,
        angle,
        tuple(tuple(map(float, part.points)) for part in parts if isinstance(part, Polygon)),
        partial(_pixels, masks) if masks else None,
        note.attributes.get(EMBEDDING_ATTRIBUTE),
        corners,
        str(note.attributes.get(DETECTOR, "")) if note.attributes.get(DETECTED) == _told(label, corners) else "",
        note.attributes.get(DETECTOR),
    )


def _pixels(masks: Sequence[Mask]) -> Pixels:
    """The union of masks, (H, W)."""
    try:
        union: Pixels = np.logical_or.reduce([np.asarray(mask.image, bool) for mask in masks])
        return union
    except Exception as exc:  # A mask may be any function's result.
        raise ImageError("unreadable", f"the mask cannot be had: {exc}") from exc


def with_objects(
    item: DatasetItem,
    objects: Sequence[ItemBox] | None,
    detected: Sequence[ItemBox] | None,
    detector: str,
    numbers: Mapping[str, int],
) -> DatasetItem:
    """A copy of an item whose annotations carry their objects' vectors, and a detector's new boxes instead of its old.

    Parameters
    ----------
    item : DatasetItem
    objects : sequence of ItemBox or None
        Those of :func:`objects_of` that have a vector now; None leaves the vectors that the annotations carry.
    detected : sequence of ItemBox or None
        What the detector found; None leaves the boxes that it found before.
    detector : str
        Its fingerprint.
    numbers : mapping
        The number of the class of each label of the detector.
    """
    vectors = {found.annotation: found.embedding for found in objects or () if found.embedding is not None}
    classes = {number: name for name, number in numbers.items()}
    annotations = []
    for index, note in enumerate(item.annotations):
        if detected is not None and _is_of(note, detector, classes):
            continue
        if objects is not None and (index in vectors or EMBEDDING_ATTRIBUTE in note.attributes):
            others = {name: value for name, value in note.attributes.items() if name != EMBEDDING_ATTRIBUTE}
            own = {EMBEDDING_ATTRIBUTE: vectors[index]} if index in vectors else {}
            note = note.wrap(attributes={**others, **own})
        annotations.append(note)
    return item.wrap(annotations=[*annotations, *(_box(found, detector, numbers) for found in detected or ())])


def _is_of(note: Annotation, detector: str, classes: Mapping[int, str]) -> bool:
    """Whether a detector made an annotation, and nobody has changed it since."""
    if not isinstance(note, Bbox) or note.attributes.get(DETECTOR) != detector:
        return False
    return bool(note.attributes.get(DETECTED) == _told(classes.get(note.label), box_of(note)))


def _box(found: ItemBox, detector: str, numbers: Mapping[str, int]) -> Bbox:
    """The annotation of what a detector found."""
    label = str(found.label)
    attributes: dict[str, Any] = {SCORE: found.confidence, DETECTOR: detector}
    note = Bbox(*found.box, label=numbers[label], attributes=attributes)
    corners = box_of(note)
    attributes[DETECTED] = _told(label, corners)
    if found.embedding is not None:
        attributes[EMBEDDING_ATTRIBUTE] = found.embedding
    return note.wrap(attributes=attributes)


def _told(label: str | int | None, corners: tuple[float, ...] | None) -> str:
    """What a detector said of a box: its class, and its corners to the hundredth of a pixel that formats keep."""
    return f"{label} " + " ".join(f"{value:.2f}" for value in corners or ())


def missing_labels(classes: Sequence[str], objects: Objects) -> list[str]:
    """The labels that a detector may give and that no class of a dataset is called by."""
    assert objects.detector is not None
    wanted = objects.detector.indices_of(objects.detection.classes) or range(len(objects.detector.labels))
    known = {same_name(name) for name in classes}
    return [name for name in (objects.detector.labels[index] for index in wanted) if same_name(name) not in known]


def class_numbers(classes: Sequence[str], labels: Sequence[str]) -> dict[str, int]:
    """The number of the class of each label that has one: the class of just that name, else of the same name."""
    alike = {same_name(name): number for number, name in reversed(list(enumerate(classes)))}
    exact = {name: number for number, name in enumerate(classes)}
    found = {label: exact.get(label, alike.get(same_name(label))) for label in labels}
    return {label: number for label, number in found.items() if number is not None}
