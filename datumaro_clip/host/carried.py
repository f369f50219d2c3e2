"""Vectors that items carry, in an attribute."""

from __future__ import annotations

from collections.abc import Iterable

from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.errors import InvalidVectorError
from datumaro_clip.vectors import Embedding, VectorSpace

ATTRIBUTE = "clip_embedding"


def attach(item: DatasetItem, embedding: Embedding) -> DatasetItem:
    """A copy of an item that carries a vector in its attribute ``clip_embedding``."""
    return item.wrap(attributes={**item.attributes, ATTRIBUTE: embedding})


def carried(item: DatasetItem) -> Embedding | None:
    """The vector that an item carries, None where it has none.

    Raises
    ------
    InvalidVectorError
        If the attribute holds something else.
    """
    value = item.attributes.get(ATTRIBUTE)
    try:
        return None if value is None else Embedding.from_attribute(value)
    except InvalidVectorError as exc:
        raise InvalidVectorError(f"item '{item.id}' (subset '{item.subset}'): {exc}") from exc


def space_among(items: Iterable[DatasetItem]) -> VectorSpace | None:
    """The space of the first vector that an item carries, None where no item has one."""
    found = (carried(item) for item in items)
    return next((embedding.vector_space for embedding in found if embedding is not None), None)
