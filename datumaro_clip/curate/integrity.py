"""Check that ids, labels, captions, boxes, media and vectors of a dataset are sound and consistent."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from datumaro_clip.curate.item import Item, ItemBox
from datumaro_clip.curate.objects import CROP_OPTIONS, CropOptions
from datumaro_clip.embedding.keys import content_digest, source_digest
from datumaro_clip.errors import ImageError, InvalidVectorError
from datumaro_clip.images import decode
from datumaro_clip.options import Flag, Option, Several, Text
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE, Embedding, FloatArray, ItemKey, VectorSpace, is_unit_rows

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
    "VectorOfAnotherBox": ERROR,
    "VectorOfAnotherPicture": ERROR,
    "BadConfidence": ERROR,
    "BadDetector": ERROR,
}

OPTIONS = (
    Option("subsets", Several(of=Text(metavar="NAME")), None, "allowed names of subsets", unset="any"),
    Option("no-decode", Flag(), False, "do not decode the pictures"),
    *CROP_OPTIONS,
)

_FINGERPRINT = re.compile("sha256:[0-9a-f]{64}")

# Annotation tools round boxes outwards to whole pixels.
_BOX_SLACK = 1.0


class Fault(NamedTuple):
    """A fault: its kind (a key of ``SEVERITIES``), the item, and a sentence."""

    kind: str
    key: ItemKey
    message: str


class Look(NamedTuple):
    """The facts about a picture.

    Attributes
    ----------
    size : tuple of int or None
        Width and height in pixels.
    error : tuple of str or None
        The reason why it cannot be decoded, and a sentence.
    digest : bytes or None
        Of its content, where objects carry vectors.
    """

    size: tuple[int, int] | None = None
    error: tuple[str, str] | None = None
    digest: bytes | None = None


def look_at(item: Item) -> Look:
    """Decode an item's picture."""
    try:
        image = item.fetch()
        digest = content_digest(image) if any(box.carried for box in item.boxes) else None
        return Look(decode(image).size, digest=digest)
    except ImageError as exc:
        return Look(error=(exc.reason, str(exc)))


def find_faults(
    items: Iterable[Item],
    class_count: int,
    subsets: Iterable[str] | None = None,
    look: Callable[[Item], Look] = look_at,
    crop: CropOptions | None = None,
) -> list[Fault]:
    """Find all faults: of each item, then those that only the whole dataset shows.

    Parameters
    ----------
    items : iterable of Item
        Read one by one; little is kept of each.
    class_count : int
        Number of the dataset's classes.
    subsets : iterable of str, optional
        Names that subsets may have; any where omitted.
    look : callable
        Looks at an item's picture.
    crop : CropOptions, optional
        The options with which objects' vectors were made.
    """
    known = None if subsets is None else frozenset(subsets)
    found: list[Fault] = []
    seen: Counter[ItemKey] = Counter()
    vectors: list[tuple[ItemKey, bool, VectorSpace | None]] = []
    of_objects: list[tuple[ItemKey, int, VectorSpace]] = []
    crop = crop or CropOptions()
    captioned, bare = 0, []
    for item in items:
        vector, space = _stored_vector(item.attributes.get(EMBEDDING_ATTRIBUTE))
        seen_picture = Look() if item.picture is None else look(item)
        found += _of_item(item, seen_picture, vector, class_count, known)
        for box in item.boxes:
            found += _of_object(item.key, box, seen_picture, crop)
            _, box_space = _stored_vector(box.carried)
            if box_space is not None:
                of_objects.append((item.key, box.annotation, box_space))
        seen[item.key] += 1
        captioned += bool(item.captions)
        bare += [] if item.captions else [item.key]
        vectors.append((item.key, item.picture is not None, space))
    found += [Fault("RepeatedId", key, f"{count} items have this id") for key, count in seen.items() if count > 1]
    if captioned:
        found += [Fault("MissingCaption", key, "others have captions, this item has none") for key in bare]
    return found + list(_across_vectors(vectors, of_objects))


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
        elif look.size is not None:
            right, bottom = (side + _BOX_SLACK for side in look.size)
            if min(x, y) < -_BOX_SLACK or x + width > right or y + height > bottom:
                size = "x".join(map(str, look.size))
                yield Fault("BoxOutsidePicture", key, f"{where} reaches outside the picture of {size}")
    if vector is not None:
        yield from _of_vector(key, vector, "clip_embedding")


def _of_object(key: ItemKey, box: ItemBox, look: Look, crop: CropOptions) -> Iterator[Fault]:
    """Find faults of an object's score, detector and vector."""
    which = f"annotation {box.annotation}"
    if box.confidence is not None and not 0 <= box.confidence <= 1:
        yield Fault("BadConfidence", key, f"{which} has the score {box.confidence:g}, wanted one from 0 to 1")
    if box.detector is not None and not (isinstance(box.detector, str) and _FINGERPRINT.fullmatch(box.detector)):
        yield Fault("BadDetector", key, f"{which} has the clip_detector {box.detector!r}, which is no fingerprint")
    vector, _ = _stored_vector(box.carried)
    if vector is None:
        return
    yield from _of_vector(key, vector, f"clip_embedding of {which}")
    try:
        embedding = box.embedding
    except InvalidVectorError:
        return  # a fault of the vector, found above
    if embedding is not None and embedding.bbox != tuple(np.asarray(box.bbox, np.float32).tolist()):
        yield Fault("VectorOfAnotherBox", key, f"the vector of {which} was computed of the box {embedding.bbox}")
    elif embedding is not None and embedding.source and look.digest is not None:
        region = crop.region(box)
        if region is None or source_digest(look.digest, region) != embedding.source:
            cure = "embed again, or give --margin, --mask and --max-side as they were then"
            yield Fault("VectorOfAnotherPicture", key, f"the vector of {which} is of another picture or part: {cure}")


def _of_vector(key: ItemKey, vector: FloatArray, name: str) -> Iterator[Fault]:
    if not np.isfinite(vector).all():
        yield Fault("NonFiniteVector", key, f"{name} has values that are not finite")
    elif not is_unit_rows(vector[None]):
        yield Fault("VectorNotUnitLength", key, f"{name} has length {float(np.linalg.norm(vector)):.4g}, wanted 1")


def _stored_vector(value: Any) -> tuple[FloatArray | None, VectorSpace | None]:
    """Read the vector in an attribute, of unit length or not, and its space."""
    if value is None or isinstance(value, Embedding):
        return (None, None) if value is None else (value.vector, value.vector_space)
    mapping = value if isinstance(value, dict) else {}
    try:
        vector = np.asarray(mapping.get("vector") if mapping else value, dtype=np.float32).ravel()
    except (TypeError, ValueError):  # Reported as a vector that is not finite.
        vector = np.array([np.nan], np.float32)
    return vector, VectorSpace(str(mapping.get("space", "unknown")), len(vector), str(mapping.get("model", "")))


def _across_vectors(
    found: list[tuple[ItemKey, bool, VectorSpace | None]], of_objects: list[tuple[ItemKey, int, VectorSpace]]
) -> Iterator[Fault]:
    """Find items without a vector where others have one, and vectors that are not of the most frequent space."""
    spaces = Counter(space for *_, space in (*found, *of_objects) if space is not None)
    if not spaces:
        return
    usual = spaces.most_common(1)[0][0]
    have = any(space is not None for *_, space in found)
    for key, has_picture, space in found:
        if space is None and has_picture and have:
            yield Fault("MissingVector", key, "others have a clip_embedding, this item has none")
        elif space not in (None, usual):
            yield Fault("MixedVectorSpaces", key, f"its vector is of {space}, most are of {usual}")
    for key, annotation, space in of_objects:
        if space != usual:
            which = f"the vector of annotation {annotation}"
            yield Fault("MixedVectorSpaces", key, f"{which} is of {space}, most of {usual}")
