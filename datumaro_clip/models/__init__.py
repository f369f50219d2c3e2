"""Models: where they come from, what they are, and what their precision costs."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from datumaro_clip.encoders.base import Encoder
from datumaro_clip.models.manifest import read_manifest

__all__ = ["load_model"]


def load_model(model: str | PathLike[str], device: str = "CPU", precision: str = "auto") -> Encoder:
    """Load a model."""
    from datumaro_clip.encoders.openvino import OpenVINOEncoder

    directory = Path(model)
    return OpenVINOEncoder(directory, read_manifest(directory), device=device, precision=precision)
