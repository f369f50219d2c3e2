"""Encoders: pictures and texts in, unit vectors of one space out."""

from __future__ import annotations

import sys

from datumaro_clip.encoders.base import Encoder
from datumaro_clip.texts import TokenBatch

__all__ = ["Encoder", "TokenBatch"]

# OpenVINO's converter and NNCF tell their makers of each use, unless the module that does so cannot be imported. This
# package sends nothing anywhere, and everything of it that imports either library imports this module first.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
