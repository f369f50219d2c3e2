"""Datumaro's categories as JSON and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from datumaro.components.annotation import (
    AnnotationType,
    Categories,
    GroupType,
    LabelCategories,
    MaskCategories,
    PointsCategories,
    TabularCategories,
)

from datumaro_clip.host.codec.values import CodecError, decode_value, encode_value


def encode_categories(categories: Mapping[AnnotationType, Categories]) -> dict[str, Any]:
    """Categories by the name of their annotation type."""
    return {kind.name: _encode(category) for kind, category in categories.items()}


def decode_categories(value: Mapping[str, Any]) -> dict[AnnotationType, Categories]:
    """The categories that were encoded."""
    return {AnnotationType[kind]: _decode(category) for kind, category in value.items()}


def _encode(category: Categories) -> dict[str, Any]:
    kind = type(category).__name__
    if kind not in _CODECS:
        raise CodecError(f"categories of the unknown class {kind}")
    fields: dict[str, Any] = {"class": kind, **_CODECS[kind][0](category)}
    if category.attributes:
        fields["attributes"] = encode_value(category.attributes)
    return fields


def _decode(value: Mapping[str, Any]) -> Categories:
    category = _CODECS[value["class"]][1](value)
    category.attributes = decode_value(value["attributes"]) if "attributes" in value else set()
    return category


def _encode_labels(labels: LabelCategories) -> dict[str, Any]:
    return {
        "items": [[label.name, label.parent, encode_value(label.attributes)] for label in labels.items],
        "groups": [[group.name, encode_value(group.labels), int(group.group_type)] for group in labels.label_groups],
    }


def _decode_labels(value: Mapping[str, Any]) -> LabelCategories:
    labels = LabelCategories()
    for name, parent, attributes in value["items"]:
        labels.add(name, parent, decode_value(attributes))
    for name, members, kind in value["groups"]:
        labels.add_label_group(name, decode_value(members), GroupType(kind))
    return labels


def _encode_colours(masks: MaskCategories) -> dict[str, Any]:
    return {"colormap": encode_value(masks.colormap), "inverse": encode_value(masks._inverse_colormap)}


def _decode_colours(value: Mapping[str, Any]) -> MaskCategories:
    masks = MaskCategories(decode_value(value["colormap"]))
    # Set afterwards: the constructor's validator refuses any value.
    masks._inverse_colormap = decode_value(value["inverse"])
    return masks


def _encode_points(points: PointsCategories) -> dict[str, Any]:
    fields = ("labels", "joints", "positions")
    return {
        "items": [[label, *(encode_value(getattr(item, f)) for f in fields)] for label, item in points.items.items()]
    }


def _decode_points(value: Mapping[str, Any]) -> PointsCategories:
    points = PointsCategories()
    for label, labels, joints, positions in value["items"]:
        item = PointsCategories.Category(decode_value(labels), decode_value(joints))
        # Set afterwards: the constructor would normalise positions that are normalised already.
        item.positions = decode_value(positions)
        points.items[label] = item
    return points


def _encode_columns(table: TabularCategories) -> dict[str, Any]:
    types = _column_types()
    return {"items": [[item.name, _type_name(item.dtype, types), encode_value(item.labels)] for item in table.items]}


def _decode_columns(value: Mapping[str, Any]) -> TabularCategories:
    table, types = TabularCategories(), _column_types()
    for name, kind, labels in value["items"]:
        table.add(name, types["CategoricalDtype"]() if kind == "category" else types[kind], decode_value(labels))
    return table


def _column_types() -> dict[str, type]:
    """The types that a table's column may have, by the name under which they are kept."""
    # Here, since it takes a third of a second, and few datasets are tables.
    from pandas.api.types import CategoricalDtype

    return {"int": int, "float": float, "str": str, "bool": bool, "CategoricalDtype": CategoricalDtype}


def _type_name(kind: Any, types: Mapping[str, type]) -> str:
    if isinstance(kind, types["CategoricalDtype"]):
        return "category"
    name = str(getattr(kind, "__name__", kind))
    if name not in types:
        raise CodecError(f"a table's column of the unknown type {name}")
    return name


_CODECS: dict[str, tuple[Callable[[Any], dict[str, Any]], Callable[[Mapping[str, Any]], Categories]]] = {
    "LabelCategories": (_encode_labels, _decode_labels),
    "MaskCategories": (_encode_colours, _decode_colours),
    "PointsCategories": (_encode_points, _decode_points),
    "TabularCategories": (_encode_columns, _decode_columns),
    "Categories": (lambda _: {}, lambda _: Categories()),
}
