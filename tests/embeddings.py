"""Datumaro's items with their vectors, for tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.curate.vector_options import EmbeddingOptions
from datumaro_clip.host.embedding import Embedder, ItemEmbedding


def with_embeddings(
    items: Iterable[DatasetItem], options: EmbeddingOptions, categories: Mapping[Any, Any] | None = None
) -> Iterator[ItemEmbedding]:
    """The items in their order, each with its vectors."""
    return Embedder(options, categories or {}).run(items)
