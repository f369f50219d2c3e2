"""From pictures and texts to vectors: bounded, in order, nothing computed that the cache holds."""

from __future__ import annotations

from datumaro_clip.embed.images import embed_images
from datumaro_clip.embed.requests import EmbedResult, ImageRequest
from datumaro_clip.embed.texts import embed_texts

__all__ = ["EmbedResult", "ImageRequest", "embed_images", "embed_texts"]
