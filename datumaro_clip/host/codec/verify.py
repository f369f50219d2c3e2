"""Checks that each item of a store can be read, and that its medium is there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import numpy as np
from datumaro.components.annotation import Mask
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.errors import ImageError, StoreCorruptError
from datumaro_clip.host.codec.items import DatasetDescription, ItemDecoder, attach_vectors
from datumaro_clip.host.items import label_names
from datumaro_clip.host.objects import box_of, carried_objects, object_vector
from datumaro_clip.store import ArchiveMember, ObjectVector, Record, StoreReader


def verify_items(reader: StoreReader) -> Counter[str]:
    """Decode every item, its masks too, and look for its medium.

    Returns
    -------
    collections.Counter
        Items by the place of their medium: ``in the store``, ``in a file``, ``in an archive``, ``missing`` (the file
        that the store names is gone), ``none``.

    Raises
    ------
    StoreFormatError
        If the header describes no dataset of Datumaro's.
    StoreCorruptError
        At the first item that cannot be read, whose object vectors are not its annotations', or whose medium is missing
        from the store or from its archive; names it.
    """
    classes = label_names(DatasetDescription(reader).categories)
    decoder = ItemDecoder(reader.path)
    counts: Counter[str] = Counter()
    for segment in reader.segments:
        for row in segment.live.tolist():
            record = segment.record(row)
            item = decoder.decode(record.key, record.payload)
            attach_vectors(item, record, reader.header.space, segment.entry.precision)
            for problem in _problems(item, record, classes):
                raise StoreCorruptError(f"item {record.key} of the store {problem}")
            counts[_place_of_medium(item, record)] += 1
    return counts


def _problems(item: DatasetItem, record: Record, classes: list[str]) -> Iterator[str]:
    """Find faults in the masks and object vectors of an item."""
    for annotation in item.annotations:
        if isinstance(annotation, Mask):
            try:
                annotation.image  # noqa: B018 - decoded when asked for
            except (StoreCorruptError, ValueError, TypeError) as exc:
                yield f"has a mask that cannot be decoded: {exc.args[0] if exc.args else exc!r}"
    objects = {found.annotation_index: found for found in record.objects}
    for index, annotation, embedding, is_current in carried_objects(item):
        if not is_current:
            yield f"has a vector of the box {embedding.bbox}, but annotation {index} has {box_of(annotation)}"
        said = _facts(object_vector(index, annotation, embedding, classes))
        if (kept := _facts(objects[index])) != said:
            yield f"has a vector of annotation {index} with class, confidence and detector {kept}, which says {said}"


def _facts(found: ObjectVector) -> tuple[str, float | None, str]:
    """Return the facts that a store keeps of both an annotation and its vector, as the vector's columns hold them."""
    confidence = None if found.confidence is None else float(np.float32(found.confidence))
    return found.class_name, confidence, found.detector


def _place_of_medium(item: DatasetItem, record: Record) -> str:
    """Return where a medium is; :class:`StoreCorruptError` if it is missing from the store or from its archive."""
    medium = record.payload.get("media", {})
    path = getattr(item.media, "path", None)
    if "archive" in medium:
        member = item.media._data
        assert isinstance(member, ArchiveMember)
        try:
            member.check()
        except ImageError as exc:
            raise StoreCorruptError(f"item {record.key} of the store has its picture in an archive: {exc}") from exc
        return "in an archive"
    if "file" in medium:
        if path is not None and not os.path.isfile(path):
            raise StoreCorruptError(f"item {record.key} of the store has its medium at {path}, which is missing")
        return "in the store"
    if path:
        return "in a file" if os.path.exists(path) else "missing"
    return "none"
