"""Pictures: from anything that holds one to the pixels that an encoder takes."""

from __future__ import annotations

from datumaro_clip.images.decoding import Box, ImageLike, decode
from datumaro_clip.images.preprocess import Preprocessing

__all__ = ["Box", "ImageLike", "Preprocessing", "decode"]
