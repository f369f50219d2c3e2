"""Encoders: pictures and texts in, unit vectors of one space out."""

from __future__ import annotations

from datumaro_clip.encoders.base import Encoder
from datumaro_clip.texts import TokenBatch

__all__ = ["Encoder", "TokenBatch"]
