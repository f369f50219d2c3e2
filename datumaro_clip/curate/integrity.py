"""Whether ids, labels, captions, boxes, media and vectors of a dataset agree with one another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from datumaro_clip.curate.item import EMBEDDING_ATTRIBUTE, Item
from datumaro_clip.curate.options import Flag, Option, Several, Text
from datumaro_clip.errors import ImageError
from datumaro_clip.images import Box, decode
from datumaro_clip.vectors import Embedding, FloatArray, ItemKey, VectorSpace, is_unit_rows

ERROR, WARNING, INFO = "error", "warning", "info"

SEVERITIES = {
    "RepeatedId": ERROR,
    "UnknownSubset": WARNING,
    "MissingMedia": ERROR,
    "UndecodableMedia": ERROR,
    "LabelOutsideCategories": ERROR,
    "EmptyCaption": WARNING,
    "UndecodableCaption": WARNING,
    "MissingCaption": INFO,
    "EmptyBox": ERROR,
    "BoxOutsidePicture": ERROR,
    "MissingVector": WARNING,
    "NonFiniteVector": ERROR,
    "VectorNotUnitLength": ERROR,
    "MixedVectorSpaces": ERROR,
}

OPTIONS = (
    Option("subsets", Several(of=Text(metavar="NAME")), None, "names that subsets may have", unset="any"),
    Option("no-decode", Flag(), False, "do not decode the pictures"),
)

# Annotation tools round boxes outwards to whole pixels.
_BOX_SLACK = 1.0


class Fault(NamedTuple):
    """One thing that does not agree: its kind (a key of ``SEVERITIES``), the item, and a sentence."""

    kind: str
    key: ItemKey
    message: str

    @property
    def severity(self) -> str:
        """``error``, ``warning`` or ``info``."""
        return SEVERITIES[self.kind]


class Look(NamedTuple):
    """What decoding a picture showed: its width and height in pixels, or a reason and a sentence why it cannot be."""

    size: tuple[int, int] | None = None
    error: tuple[str, str] | None = None


def look_at(item: Item) -> Look:
    """Decode an item's picture."""
    try:
        return Look(decode(item.request().fetch()).size)
    except ImageError as exc:
        return Look(error=(exc.reason, str(exc)))


def find_faults(
    items: Iterable[Item],
    class_count: int,
    subsets: Iterable[str] | None = None,
    look: Callable[[Item], Look] = look_at,
) -> list[Fault]:
    """Everything that does not agree, item by item, then what only the whole dataset shows.

    Parameters
    ----------
    items : iterable of Item
        Taken one by one; little is kept of each.
    class_count : int
        Number of the dataset's classes.
    subsets : iterable of str, optional
        Names that subsets may have; any where omitted.
    look : callable
        What is known of an item's picture.
    """
    known = None if subsets is None else frozenset(subsets)
    found: list[Fault] = []
    seen: Counter[ItemKey] = Counter()
    vectors: list[tuple[ItemKey, bool, VectorSpace | None]] = []
    captioned, bare = 0, []
    for item in items:
        vector, space = _stored_vector(item.attributes.get(EMBEDDING_ATTRIBUTE))
        seen_picture = Look() if item.picture is None else look(item)
        found += _of_item(item, seen_picture, vector, class_count, known)
        seen[item.key] += 1
        captioned += bool(item.captions)
        bare += [] if item.captions else [item.key]
        vectors.append((item.key, item.picture is not None, space))
    found += [Fault("RepeatedId", key, f"{count} items have this id") for key, count in seen.items() if count > 1]
    if captioned:
        found += [Fault("MissingCaption", key, "others have captions, this item has none") for key in bare]
    return found + list(_across_vectors(vectors))


def _of_item(
    item: Item, look: Look, vector: FloatArray | None, class_count: int, subsets: frozenset[str] | None
) -> Iterator[Fault]:
    key = item.key
    if subsets is not None and key.subset not in subsets:
        yield Fault("UnknownSubset", key, f"subset '{key.subset}' is none of {', '.join(sorted(subsets))}")
    if item.picture is None:
        yield Fault("MissingMedia", key, "the item has no picture")
    elif look.error is not None:
        reason, message = look.error
        yield Fault("MissingMedia" if reason == "missing" else "UndecodableMedia", key, message)
    for label in item.labels:
        if not isinstance(label.name, str):
            text = f"annotation {label.annotation} has label {label.name}, but there are {class_count} categories"
            yield Fault("LabelOutsideCategories", key, text)
    for text, annotation, _ in item.captions:
        if not text.strip():
            yield Fault("EmptyCaption", key, f"annotation {annotation} is an empty caption")
        elif "\ufffd" in text or any(0xD800 <= ord(char) <= 0xDFFF for char in text):
            yield Fault("UndecodableCaption", key, f"annotation {annotation} has lost characters: {text!r}")
    for each in item.boxes:
        x, y, width, height = each.box
        where = f"annotation {each.annotation}, box ({x:g}, {y:g}, {width:g}, {height:g})"
        if not np.isfinite(each.box).all() or width <= 0 or height <= 0:
            yield Fault("EmptyBox", key, f"{where} has no area")
        elif look.size is not None and not _is_inside(each.box, *look.size):
            yield Fault(
                "BoxOutsidePicture", key, f"{where} reaches outside the picture of {look.size[0]}x{look.size[1]}"
            )
    if vector is not None and not np.isfinite(vector).all():
        yield Fault("NonFiniteVector", key, "clip_embedding has values that are not finite")
    elif vector is not None and not is_unit_rows(vector[None]):
        length = float(np.linalg.norm(vector))
        yield Fault("VectorNotUnitLength", key, f"clip_embedding has length {length:.4g}, wanted 1")


def _is_inside(box: Box, width: int, height: int) -> bool:
    x, y, w, h = box
    return min(x, y) >= -_BOX_SLACK and x + w <= width + _BOX_SLACK and y + h <= height + _BOX_SLACK


def _stored_vector(value: Any) -> tuple[FloatArray | None, VectorSpace | None]:
    """A vector as an attribute has it, unit vector or not, and the space that it claims to be of."""
    if value is None or isinstance(value, Embedding):
        return (None, None) if value is None else (value.vector, value.vector_space)
    said = value if isinstance(value, dict) else {}
    try:
        vector = np.asarray(said.get("vector") if said else value, dtype=np.float32).ravel()
    except (TypeError, ValueError):  # What is no vector is a fault, too: it has no finite values.
        vector = np.array([np.nan], np.float32)
    return vector, VectorSpace(str(said.get("space", "unknown")), len(vector), str(said.get("model", "")))


def _across_vectors(found: list[tuple[ItemKey, bool, VectorSpace | None]]) -> Iterator[Fault]:
    """Items without a vector where others have one; vectors that are not of the most frequent space."""
    spaces = Counter(space for _, _, space in found if space is not None)
    if not spaces:
        return
    usual = spaces.most_common(1)[0][0]
    for key, has_picture, space in found:
        if space is None and has_picture:
            yield Fault("MissingVector", key, "others have a clip_embedding, this item has none")
        elif space is not None and space != usual:
            yield Fault("MixedVectorSpaces", key, f"its vector is of {space}, most are of {usual}")
