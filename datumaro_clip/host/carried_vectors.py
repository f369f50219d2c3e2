"""Vectors that items and their annotations carry, in an attribute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from datumaro.components.annotation import Annotation, Bbox
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.curate.item import carried_embedding, carried_object
from datumaro_clip.errors import InvalidVectorError
from datumaro_clip.store import ObjectVector
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE, Embedding, ItemKey, ObjectEmbedding

#: Attributes of a detector's annotations: its confidence, and its fingerprint.
SCORE, DETECTOR = "score", "clip_detector"


def attach(item: DatasetItem, embedding: Embedding) -> DatasetItem:
    """A copy of an item that carries a vector in its attribute ``clip_embedding``."""
    return item.wrap(attributes={**item.attributes, EMBEDDING_ATTRIBUTE: embedding})


def carried_vector(item: DatasetItem) -> Embedding | None:
    """The vector that an item carries, None where it has none; :class:`InvalidVectorError` if it is no vector."""
    return carried_embedding(ItemKey(item.id, item.subset), item.attributes)


def box_of(annotation: Annotation) -> tuple[float, float, float, float] | None:
    """The box around an annotation, x1, y1, x2, y2 as float32 has them; None where it has no place in the picture."""
    if isinstance(annotation, Bbox):
        corners = annotation.points
    elif hasattr(annotation, "get_bbox"):
        x, y, w, h = annotation.get_bbox()
        corners = (x, y, x + w, y + h)
    else:
        return None
    return tuple(np.asarray(corners, np.float32).tolist())


def carried_objects(item: DatasetItem) -> Iterator[tuple[int, Annotation, ObjectEmbedding, bool]]:
    """The object vectors that an item's annotations carry.

    Yields
    ------
    index : int
        The annotation's position among the item's.
    annotation : Annotation
    embedding : ObjectEmbedding
    is_its_own : bool
        Whether it was computed of the box that the annotation has now.

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
    """An annotation's vector as a store keeps it; ``classes`` are the names of the dataset's labels."""
    label, score = getattr(annotation, "label", None), annotation.attributes.get(SCORE)
    return ObjectVector(
        annotation_index=index,
        vector=embedding.vector,
        bbox=embedding.bbox,
        class_name=classes[label] if label is not None and 0 <= label < len(classes) else "",
        confidence=float(score) if isinstance(score, int | float) and 0 <= score <= 1 else None,
        detector=str(annotation.attributes.get(DETECTOR, "")),
        source=embedding.source,
    )
