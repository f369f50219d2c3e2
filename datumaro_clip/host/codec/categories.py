"""Datumaro's categories as JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
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
    """Return categories as JSON, by the name of their annotation type."""
    return {kind.name: _encode(category) for kind, category in categories.items()}


def decode_categories(value: Mapping[str, Any]) -> dict[AnnotationType, Categories]:
    """Return the categories that were encoded."""
    return {AnnotationType[kind]: _decode(category) for kind, category in value.items()}


def _encode(category: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"class": type(category).__name__}
    match fields["class"]:
        case "LabelCategories":
            fields["items"] = [[label.name, label.parent, encode_value(label.attributes)] for label in category.items]
            groups = category.label_groups
            fields["groups"] = [[group.name, encode_value(group.labels), int(group.group_type)] for group in groups]
        case "MaskCategories":
            fields["colormap"] = encode_value(category.colormap)
            fields["inverse"] = encode_value(category._inverse_colormap)
        case "PointsCategories":
            fields["items"] = [
                [label, *(encode_value(part) for part in (item.labels, item.joints, item.positions))]
                for label, item in category.items.items()
            ]
        case "TabularCategories":
            columns = category.items
            fields["items"] = [[each.name, _type_name(each.dtype), encode_value(each.labels)] for each in columns]
        case "Categories":
            pass
        case unknown:
            raise CodecError(f"categories of the unknown class {unknown}")
    if category.attributes:
        fields["attributes"] = encode_value(category.attributes)
    return fields


def _decode(value: Mapping[str, Any]) -> Categories:
    category: Any
    match value["class"]:
        case "LabelCategories":
            category = LabelCategories()
            for name, parent, attributes in value["items"]:
                category.add(name, parent, decode_value(attributes))
            for name, members, kind in value["groups"]:
                category.add_label_group(name, decode_value(members), GroupType(kind))
        case "MaskCategories":
            category = MaskCategories(decode_value(value["colormap"]))
            # Set afterwards: the constructor's validator refuses any value.
            category._inverse_colormap = decode_value(value["inverse"])
        case "PointsCategories":
            category = PointsCategories()
            for label, labels, joints, positions in value["items"]:
                item = PointsCategories.Category(decode_value(labels), decode_value(joints))
                # Set afterwards: the constructor would normalise positions that are normalised already.
                item.positions = decode_value(positions)
                category.items[label] = item
        case "TabularCategories":
            category, types = TabularCategories(), _column_types()
            for name, kind, labels in value["items"]:
                category.add(name, types[kind], decode_value(labels))
        case "Categories":
            category = Categories()
        case unknown:
            raise CodecError(f"categories of the unknown class {unknown}")
    category.attributes = decode_value(value["attributes"]) if "attributes" in value else set()
    return category


def _column_types() -> dict[str, Any]:
    """Return the types that a table's column may have, by the names under which they are kept."""
    # Here, since it takes a third of a second, and few datasets are tables.
    from pandas.api.types import CategoricalDtype

    plain = {"int": int, "float": float, "str": str, "bool": bool}
    # Datumaro's tables have an instance, but a column may have the class as well.
    return {**plain, "category": CategoricalDtype(), "CategoricalDtype": CategoricalDtype}


def _type_name(kind: Any) -> str:
    types = _column_types()
    if isinstance(kind, types["CategoricalDtype"]):
        return "category"
    name = str(getattr(kind, "__name__", kind))
    if name not in types:
        raise CodecError(f"a table's column of the unknown type {name}")
    return name
