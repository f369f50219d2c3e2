"""Items as the service shows them, read from records' payloads without Datumaro."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, NamedTuple

from datumaro_clip.index.filters import parse_date
from datumaro_clip.store.base import ADDED, TAGS, tags_of

#: The attribute of an item that was stored although something is wrong with it: what is wrong.
REASONS = "clip_reasons"
_TITLES = ("title", "name", "product_name")
# The attribute of a box with the detector's confidence, by Datumaro's convention.
_CONFIDENCE = "score"


class Caption(NamedTuple):
    """A caption, and the index of its annotation."""

    annotation: int
    text: str


class Object(NamedTuple):
    """A box: x, y, width, height in pixels; its class, and its confidence from 0 to 1 where a detector gave one."""

    annotation: int
    bbox: tuple[float, float, float, float]
    class_name: str
    confidence: float | None
    attributes: Mapping[str, Any]

    @property
    def certainty(self) -> float:
        """The confidence; 1 for a box that a person drew."""
        return 1.0 if self.confidence is None else self.confidence


@dataclass(frozen=True)
class Described:
    """An item as the service shows it.

    Attributes
    ----------
    labels : tuple of str
        Labels of the whole picture and of everything in it, each once, in the order of the annotations.
    captions : tuple of Caption
    objects : tuple of Object
    attributes : mapping
        The item's own, without tags.
    tags : tuple of str
    added : float or None
        When the item was added, seconds since 1970.
    media : mapping
        As the store has it: type, path, file, size.
    annotations : sequence of mapping
        As the store has them.
    """

    labels: tuple[str, ...]
    captions: tuple[Caption, ...]
    objects: tuple[Object, ...]
    attributes: Mapping[str, Any]
    tags: tuple[str, ...]
    added: float | None
    media: Mapping[str, Any]
    annotations: Sequence[Mapping[str, Any]]

    @property
    def title(self) -> str | None:
        """The item's title: an attribute, or else the first caption."""
        named = (self.attributes.get(name) for name in _TITLES)
        title = next((value for value in named if isinstance(value, str) and value), None)
        return title or (self.captions[0].text if self.captions else None)

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the picture in pixels; None where they are not known."""
        size = self.media.get("size")
        return (int(size[0]), int(size[1])) if isinstance(size, list) and len(size) == 2 else None


def describe(payload: Mapping[str, Any], class_names: Sequence[str]) -> Described:
    """Read a payload.

    Parameters
    ----------
    payload : mapping
        As ``docs/storage-format.md`` describes it; a part of another form is left out.
    class_names : sequence of str
        The store's.
    """
    annotations = payload.get("annotations", ())
    attributes = dict(payload.get("attributes", {}))
    tags = tags_of(attributes.pop(TAGS, ()))
    added = parse_date(attributes.get(ADDED))
    labels = dict.fromkeys(name for a in annotations if (name := class_of(a, class_names)) is not None)
    return Described(
        labels=tuple(labels),
        captions=tuple(
            Caption(index, text)
            for index, annotation in enumerate(annotations)
            if annotation.get("type") == "Caption" and isinstance(text := annotation.get("caption"), str)
        ),
        objects=tuple(_objects(annotations, class_names)),
        attributes=attributes,
        tags=tuple(tags),
        added=None if added is None else added.timestamp(),
        media=payload.get("media", {}),
        annotations=annotations,
    )


def iso(time: float | None) -> str | None:
    """Write seconds since 1970 as ISO 8601 in UTC."""
    return None if time is None else datetime.fromtimestamp(time, timezone.utc).isoformat().replace("+00:00", "Z")


def _objects(annotations: Sequence[Mapping[str, Any]], class_names: Sequence[str]) -> Iterator[Object]:
    for index, annotation in enumerate(annotations):
        points = annotation.get("points")
        if annotation.get("type") != "Bbox" or not isinstance(points, list) or len(points) != 4:
            continue
        x1, y1, x2, y2 = map(float, points)
        attributes = annotation.get("attributes", {})
        confidence = attributes.get(_CONFIDENCE)
        is_number = isinstance(confidence, int | float)
        name = class_of(annotation, class_names) or ""
        yield Object(index, (x1, y1, x2 - x1, y2 - y1), name, float(confidence) if is_number else None, attributes)


def class_of(annotation: Mapping[str, Any], class_names: Sequence[str]) -> str | None:
    """Return the name of an annotation's class; None where it has none, or a number that no class has."""
    number = annotation.get("label")
    return class_names[number] if isinstance(number, int) and 0 <= number < len(class_names) else None
