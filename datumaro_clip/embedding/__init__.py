"""Embed pictures and texts: in bounded memory, in order, computing only what the vector cache does not hold."""

from __future__ import annotations

from datumaro_clip.embedding.images import embed_images, embed_parts
from datumaro_clip.embedding.matrix import embed
from datumaro_clip.embedding.requests import EmbedResult, ImageRequest, PartsRequest, PartsResult
from datumaro_clip.embedding.texts import embed_texts

__all__ = [
    "EmbedResult",
    "ImageRequest",
    "PartsRequest",
    "PartsResult",
    "embed",
    "embed_images",
    "embed_parts",
    "embed_texts",
]
