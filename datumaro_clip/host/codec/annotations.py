"""Datumaro's annotations of every kind as JSON and back.

An annotation is written as the name of its class and the fields of its class. It is read field by field without the
constructors: those round, convert and recompute, and what comes back must be what was stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attr
import numpy as np
from datumaro.components import annotation as datumaro_annotations
from datumaro.components.annotation import Annotation, ExtractedMask, Points, RleMask
from datumaro.components.media import Image

from datumaro_clip.host.codec.masks import decode_mask, decode_rle, encode_mask
from datumaro_clip.host.codec.media import MediaReader, MediaWriter
from datumaro_clip.host.codec.values import CodecError, decode_value, encode_value
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE

_KINDS = (
    "Bbox Caption Cuboid2D Cuboid3d DepthAnnotation Ellipse Label Mask Points Polygon PolyLine RleMask RotatedBbox "
    "SuperResolutionAnnotation Tabular"
)
ANNOTATIONS: dict[str, Any] = {name: getattr(datumaro_annotations, name) for name in _KINDS.split()}

# The fields of each class; an RleMask has no pixels beside its run lengths.
_FIELDS: dict[str, tuple[str, ...]] = {
    name: tuple(field.name for field in attr.fields(kind) if (name, field.name) != ("RleMask", "_image"))
    for name, kind in ANNOTATIONS.items()
}

_DEFAULTS: dict[str, Any] = {"id": 0, "attributes": {}, "group": 0, "object_id": -1, "z_order": 0, "label": None}


def encode_annotation(annotation: Annotation, media: MediaWriter, name: str) -> dict[str, Any]:
    """Return an annotation as JSON.

    Parameters
    ----------
    annotation : Annotation
    media : MediaWriter
        Keeps the picture of an annotation that is one.
    name : str
        What to call such a picture.

    Raises
    ------
    CodecError
        If it is of a class, or holds a value, that is not Datumaro's.
    """
    kind = _kind_of(type(annotation))
    known: dict[str, Any] = {}
    if kind == "Mask":
        known = {"_image": encode_mask(annotation.image)}
    elif isinstance(annotation, RleMask):
        known = {"_rle": encode_value(annotation.rle)}
    elif isinstance(annotation, Points):
        known = {"visibility": [int(visible) for visible in annotation.visibility]}
    elif isinstance(getattr(annotation, "image", None), Image):
        known = {"image": media.encode_annotation_image(annotation.image, name)}
    encoded: dict[str, Any] = {"type": kind}
    for field in _FIELDS[kind]:
        public_name = field.lstrip("_")
        if field in known:
            encoded[public_name] = known[field]
            continue
        value = getattr(annotation, field)
        if field == "attributes":  # The object's vector has columns of its own.
            value = {key: part for key, part in value.items() if key != EMBEDDING_ATTRIBUTE}
        if field not in _DEFAULTS or type(value) is not type(_DEFAULTS[field]) or value != _DEFAULTS[field]:
            encoded[public_name] = encode_value(value)
    return encoded


def decode_annotation(value: Mapping[str, Any], media: MediaReader) -> Annotation:
    """Return the annotation that was encoded.

    Raises
    ------
    CodecError
        If it was not made by :func:`encode_annotation`.
    """
    kind = ANNOTATIONS.get(value.get("type", ""))
    if kind is None:
        raise CodecError(f"an annotation of the unknown kind {value.get('type')!r}")
    annotation = kind.__new__(kind)
    for field in _FIELDS[kind.__name__]:
        found = _decode_field(field, value, media)
        if not _CHECKS.get(field, lambda value: True)(found):
            raise CodecError(f"a {kind.__name__} whose {field.lstrip('_')} is {found!r:.99}")
        setattr(annotation, field, found)
    wanted = _COORDINATES.get(kind.__name__)
    if wanted is not None and len(annotation.points) != wanted:
        raise CodecError(f"a {kind.__name__} of {len(annotation.points)} coordinates, wanted {wanted}")
    return annotation


def _decode_field(field: str, value: Mapping[str, Any], media: MediaReader) -> Any:
    name = field.lstrip("_")
    if name not in value:
        default = _DEFAULTS.get(name)
        return dict(default) if isinstance(default, dict) else default
    decode = _FIELD_DECODERS.get(field)
    if decode is not None:
        return decode(value[name])
    is_medium = field == "image" and isinstance(value[name], dict) and "type" in value[name]
    return media.decode(value[name]) if is_medium else decode_value(value[name])


_FIELD_DECODERS: dict[str, Callable[[Any], Any]] = {
    "_image": decode_mask,
    "_rle": decode_rle,
    "visibility": lambda value: [Points.Visibility(visible) for visible in value],
}


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer)


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list | tuple | np.ndarray) and all(isinstance(n, int | float | np.number) for n in value)


# What a field must be for Datumaro to work with it.
_CHECKS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("id", "group", "object_id", "z_order"), _is_whole),
    "label": lambda value: value is None or _is_whole(value),
    "attributes": lambda value: isinstance(value, dict),
    "caption": lambda value: isinstance(value, str),
    **dict.fromkeys(("points", "_points"), lambda value: _is_numbers(value) or all(map(_is_numbers, value))),
    "image": lambda value: isinstance(value, Image | np.ndarray),
    "values": lambda value: isinstance(value, dict),
}
_COORDINATES = {"Bbox": 4, "Ellipse": 4, "RotatedBbox": 5}


def _kind_of(cls: type) -> str:
    """Return the name under which a class's annotations are kept: its own, or that of its nearest base in Datumaro."""
    if issubclass(cls, ExtractedMask):
        return "Mask"
    name: str | None = next((base.__name__ for base in cls.__mro__ if ANNOTATIONS.get(base.__name__) is base), None)
    if name is not None:
        return name
    raise CodecError(f"an annotation of the class {cls.__name__}, which is not Datumaro's")
