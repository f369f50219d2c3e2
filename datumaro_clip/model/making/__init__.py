"""Make model directories: export models, convert their precision, compute fingerprints and certificates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from datumaro_clip.model.directory import ModelManifest, Origin
from datumaro_clip.model.layouts import OPTIMUM_COMBINED
from datumaro_clip.model.making.export import export_checkpoint, import_onnx, import_optimum
from datumaro_clip.model.making.openclip import export_openclip, import_towers


def _of_optimum(directory: Path, out: Path, origin: Origin) -> ModelManifest:
    whole = (directory / OPTIMUM_COMBINED).is_file()
    return (import_optimum if whole else import_towers)(directory, out, origin)


#: The function that makes a model directory from each other kind of :data:`datumaro_clip.model.layouts.LAYOUTS`.
MAKERS: Mapping[str, Callable[[Path, Path, Origin], ModelManifest]] = MappingProxyType(
    {"optimum": _of_optimum, "onnx": import_onnx, "checkpoint": export_checkpoint, "openclip": export_openclip}
)
