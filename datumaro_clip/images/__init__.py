"""Pictures: decoding, cutting out parts, resizing to the pixels that an encoder takes, and small ones for pages."""

from __future__ import annotations

from datumaro_clip.images.decoding import ImageLike, decode
from datumaro_clip.images.preprocess import Preprocessing
from datumaro_clip.images.regions import Box, Region

__all__ = ["Box", "ImageLike", "Preprocessing", "Region", "decode"]
