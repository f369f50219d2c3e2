"""Between records of tables and Datumaro's items."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

from datumaro.components.annotation import AnnotationType, Caption, Label, LabelCategories
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image

from datumaro_clip.store import ArchiveMember
from datumaro_clip.tables.records import Record, Said
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE

#: The attribute of a caption or label that names the column it came from.
COLUMN = "column"


def categories_of(labels: Mapping[str, Any]) -> dict[AnnotationType, LabelCategories]:
    """Label categories of names; none where there are no names."""
    return {AnnotationType.label: LabelCategories.from_iterable(labels)} if labels else {}


def item_of(record: Record, labels: Mapping[str, int]) -> DatasetItem:
    """The item that a record says; ``labels`` are indices by name."""
    captions = [Caption(said.text, attributes={COLUMN: said.column}) for said in record.captions]
    named = [Label(labels[said.text], attributes={COLUMN: said.column}) for said in record.labels]
    return DatasetItem(
        id=record.id,
        subset=record.subset,
        media=_media(record),
        annotations=[*captions, *named],
        attributes=dict(record.attributes),
    )


def _media(record: Record) -> Image | None:
    picture = record.picture
    if picture is None:
        return None
    if isinstance(picture, str):
        return Image.from_file(picture)
    if isinstance(picture, ArchiveMember):
        name = picture.member
    else:
        told = record.attributes.get(picture.column)
        name = str(told.get("path") or "") if isinstance(told, dict) else ""
    return Image.from_bytes(picture, ext=os.path.splitext(name)[1] or None)


def record_of(item: DatasetItem, categories: Mapping[Any, Any]) -> tuple[Record, Counter[str]]:
    """What a table can say of an item, and the numbers of ``annotations`` and ``attributes`` that it cannot."""
    names = categories.get(AnnotationType.label)
    captions, labels, lost = [], [], Counter[str]()
    for note in item.annotations:
        column = str(note.attributes.get(COLUMN, ""))
        if isinstance(note, Caption):
            captions.append(Said(column, note.caption))
        elif isinstance(note, Label) and names is not None and 0 <= note.label < len(names):
            labels.append(Said(column, names[note.label].name))
        else:
            lost["annotations"] += 1
            continue
        lost["attributes"] += sum(name != COLUMN for name in note.attributes)
    attributes = {str(name): value for name, value in item.attributes.items() if name != EMBEDDING_ATTRIBUTE}
    return Record(str(item.id), str(item.subset), None, tuple(captions), tuple(labels), attributes), lost
