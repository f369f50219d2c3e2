"""The vector cache: what was computed once for a picture or a text is not computed again."""

from __future__ import annotations

from datumaro_clip.cache.keys import content_digest, text_digest, vector_key
from datumaro_clip.cache.vectors import CacheInfo, VectorCache, cache_directory

__all__ = ["CacheInfo", "VectorCache", "cache_directory", "content_digest", "text_digest", "vector_key"]
