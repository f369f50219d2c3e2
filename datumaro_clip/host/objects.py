"""Objects in pictures: read from Datumaro's annotations, and written back to them with what was found and computed.

An annotation keeps what belongs to its object in attributes: the vector in ``clip_embedding``; of a detector's box
also the confidence, the detector, and what the detector said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from datumaro.components.annotation import Annotation, Bbox, Ellipse, Mask, Polygon, RotatedBbox
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.curate.item import ItemBox, carried_object
from datumaro_clip.errors import ImageError, InvalidVectorError
from datumaro_clip.images.regions import Mask as Pixels
from datumaro_clip.objects.detector import same_name
from datumaro_clip.store import ObjectVector
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE, ObjectEmbedding

#: Attributes of a detector's box: its confidence; the detector's fingerprint; the class and corners that the detector
#: gave, which tell whether somebody has changed the box since.
SCORE, DETECTOR, DETECTED = "score", "clip_detector", "clip_detected"

_SHAPES = (Bbox, RotatedBbox, Polygon, Mask, Ellipse)


def class_of(note: Annotation, classes: Sequence[str]) -> str | int | None:
    """Return the name of an annotation's class; its number where no class has it, None where it has no label."""
    number = getattr(note, "label", None)
    return None if number is None else classes[number] if 0 <= number < len(classes) else int(number)


def box_of(annotation: Annotation) -> tuple[float, float, float, float] | None:
    """Return the box (x1, y1, x2, y2) around an annotation, rounded to float32; None where it has no place."""
    if isinstance(annotation, Bbox):
        corners = annotation.points
    elif hasattr(annotation, "get_bbox"):
        x, y, w, h = annotation.get_bbox()
        corners = (x, y, x + w, y + h)
    else:
        return None
    return tuple(np.asarray(corners, np.float32).tolist())


def carried_objects(item: DatasetItem) -> Iterator[tuple[int, Annotation, ObjectEmbedding, bool]]:
    """Find the object vectors that an item's annotations carry.

    Yields
    ------
    index : int
        The annotation's position among the item's.
    annotation : Annotation
    embedding : ObjectEmbedding
    is_current : bool
        Whether the annotation still has the box that the vector was computed from.

    Raises
    ------
    InvalidVectorError
        If the attribute holds something else.
    """
    for index, annotation in enumerate(item.annotations):
        try:
            embedding = carried_object(annotation.attributes.get(EMBEDDING_ATTRIBUTE), index)
        except InvalidVectorError as exc:
            raise InvalidVectorError(f"item '{item.id}' (subset '{item.subset}'), {exc}") from exc
        if embedding is not None:
            yield index, annotation, embedding, embedding.bbox == box_of(annotation)


def object_vector(
    index: int, annotation: Annotation, embedding: ObjectEmbedding, classes: Sequence[str]
) -> ObjectVector:
    """Return an annotation's vector as a store keeps it; ``classes`` are the names of the dataset's labels."""
    name, score = class_of(annotation, classes), annotation.attributes.get(SCORE)
    return ObjectVector(
        annotation_index=index,
        vector=embedding.vector,
        bbox=embedding.bbox,
        class_name=name if isinstance(name, str) else "",
        confidence=float(score) if isinstance(score, int | float) and 0 <= score <= 1 else None,
        detector=str(annotation.attributes.get(DETECTOR, "")),
        source=embedding.source,
    )


def objects_of(item: DatasetItem, classes: Sequence[str]) -> Iterator[ItemBox]:
    """Find the objects that an item's annotations show, in their order.

    Each box, rotated box, polygon, mask and ellipse is one, except crowds. Polygons and masks of a group that has a box
    are the outline of the box's object, and no objects themselves.
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
            yield _object(index, note, parts, classes)


def _object(index: int, note: Annotation, parts: Sequence[Annotation], classes: Sequence[str]) -> ItemBox:
    corners = box_of(note)
    assert corners is not None
    x1, y1, x2, y2 = corners
    box, angle = (x1, y1, x2 - x1, y2 - y1), 0.0
    if isinstance(note, RotatedBbox):
        box, angle = (note.cx - note.w / 2, note.cy - note.h / 2, note.w, note.h), float(note.r)
    label = class_of(note, classes)
    score = note.attributes.get(SCORE)
    masks = [part for part in parts if isinstance(part, Mask)]
    is_as_detected = note.attributes.get(DETECTED) == _detected(label, corners)
    return ItemBox(
        box,
        label,
        float(score) if isinstance(score, int | float) else None,
        index,
        angle,
        tuple(tuple(map(float, part.points)) for part in parts if isinstance(part, Polygon)),
        partial(_union, masks) if masks else None,
        note.attributes.get(EMBEDDING_ATTRIBUTE),
        corners,
        str(note.attributes.get(DETECTOR, "")) if is_as_detected else "",
        note.attributes.get(DETECTOR),
    )


def _union(masks: Sequence[Mask]) -> Pixels:
    """Return the union of masks, (H, W), bool."""
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
    """Return a copy of an item whose annotations carry their objects' vectors, with a detector's boxes replaced.

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
        is_found_before = isinstance(note, Bbox) and note.attributes.get(DETECTOR) == detector
        # Boxes that somebody has changed since stay.
        if (
            detected is not None
            and is_found_before
            and note.attributes.get(DETECTED) == _detected(classes.get(note.label), box_of(note))
        ):
            continue
        if objects is not None and (index in vectors or EMBEDDING_ATTRIBUTE in note.attributes):
            others = {name: value for name, value in note.attributes.items() if name != EMBEDDING_ATTRIBUTE}
            own = {EMBEDDING_ATTRIBUTE: vectors[index]} if index in vectors else {}
            note = note.wrap(attributes={**others, **own})
        annotations.append(note)
    for found in detected or ():
        label = str(found.label)
        note = Bbox(*found.box, label=numbers[label], attributes={SCORE: found.confidence, DETECTOR: detector})
        note.attributes[DETECTED] = _detected(label, box_of(note))
        if found.embedding is not None:
            note.attributes[EMBEDDING_ATTRIBUTE] = found.embedding
        annotations.append(note)
    return item.wrap(annotations=annotations)


def _detected(label: str | int | None, corners: tuple[float, ...] | None) -> str:
    """Return what the attribute ``clip_detected`` says: class and corners, to the .01 pixel that formats keep."""
    return f"{label} " + " ".join(f"{value:.2f}" for value in corners or ())


def class_numbers(classes: Sequence[str], labels: Sequence[str]) -> dict[str, int]:
    """Return the number of each label's class: of exactly its name, else of the name in another spelling."""
    alike = {same_name(name): number for number, name in reversed(list(enumerate(classes)))}
    exact = {name: number for number, name in enumerate(classes)}
    found = {label: exact.get(label, alike.get(same_name(label))) for label in labels}
    return {label: number for label, number in found.items() if number is not None}
