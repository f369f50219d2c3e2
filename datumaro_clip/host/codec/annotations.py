"""Datumaro's annotations, every kind of them, as JSON and back.

An annotation is its class's name and its class's fields. It is put together again field by field, past the
constructors: those round, convert and recompute, and what comes back must be what was stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attr
import numpy as np
from datumaro.components.annotation import (
    Annotation,
    Bbox,
    Caption,
    Cuboid2D,
    Cuboid3d,
    DepthAnnotation,
    Ellipse,
    ExtractedMask,
    Label,
    Mask,
    Points,
    Polygon,
    PolyLine,
    RleMask,
    RotatedBbox,
    SuperResolutionAnnotation,
    Tabular,
)
from datumaro.components.media import Image

from datumaro_clip.host.codec.masks import decode_mask, decode_rle, encode_mask
from datumaro_clip.host.codec.media_reader import MediaReader
from datumaro_clip.host.codec.media_writer import MediaWriter
from datumaro_clip.host.codec.values import CodecError, decode_value, encode_value
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE

ANNOTATIONS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        Bbox,
        Caption,
        Cuboid2D,
        Cuboid3d,
        DepthAnnotation,
        Ellipse,
        Label,
        Mask,
        Points,
        Polygon,
        PolyLine,
        RleMask,
        RotatedBbox,
        SuperResolutionAnnotation,
        Tabular,
    )
}

# The fields of each class; a mask of run lengths has no other pixels.
_FIELDS: dict[str, tuple[str, ...]] = {
    name: tuple(field.name for field in attr.fields(kind) if (name, field.name) != ("RleMask", "_image"))
    for name, kind in ANNOTATIONS.items()
}

_DEFAULTS: dict[str, Any] = {"id": 0, "attributes": {}, "group": 0, "object_id": -1, "z_order": 0, "label": None}


def encode_annotation(annotation: Annotation, media: MediaWriter, name: str) -> dict[str, Any]:
    """An annotation as JSON.

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
    fields: dict[str, Any] = {}
    if kind == "Mask":
        fields = {"_image": encode_mask(annotation.image)}
    elif isinstance(annotation, RleMask):
        fields = {"_rle": encode_value(annotation.rle)}
    elif isinstance(annotation, Points):
        fields = {"visibility": [int(visible) for visible in annotation.visibility]}
    elif isinstance(getattr(annotation, "image", None), Image):
        fields = {"image": media.encode_annotation_image(annotation.image, name)}
    return {"type": kind, **_plain_fields(kind, annotation, fields)}


def decode_annotation(value: Mapping[str, Any], media: MediaReader) -> Annotation:
    """The annotation that was encoded.

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


def _plain_fields(kind: str, annotation: Annotation, known: dict[str, Any]) -> dict[str, Any]:
    """Each field under its public name, without defaults and the object's vector, which has columns of its own."""
    encoded = {}
    for field in _FIELDS[kind]:
        name = field.lstrip("_")
        if field in known:
            encoded[name] = known[field]
            continue
        value = getattr(annotation, field)
        if field == "attributes":
            value = {key: part for key, part in value.items() if key != EMBEDDING_ATTRIBUTE}
        if field not in _DEFAULTS or type(value) is not type(_DEFAULTS[field]) or value != _DEFAULTS[field]:
            encoded[name] = encode_value(value)
    return encoded


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
    """The name under which a class's annotations are kept: its own, or the nearest that is Datumaro's."""
    if issubclass(cls, ExtractedMask):
        return "Mask"
    name: str | None = next((base.__name__ for base in cls.__mro__ if ANNOTATIONS.get(base.__name__) is base), None)
    if name is not None:
        return name
    raise CodecError(f"an annotation of the class {cls.__name__}, which is not Datumaro's")
