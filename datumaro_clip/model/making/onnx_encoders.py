"""Directories in the layout of transformers.js: two ONNX encoders, read by OpenVINO without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datumaro_clip.errors import ModelFormatError
from datumaro_clip.model.directory import Manifest
from datumaro_clip.model.making.assets import read_assets
from datumaro_clip.model.making.build import Origin, build_directory
from datumaro_clip.model.making.graphs import RawEncoders, cut, read_graph

VISION = "onnx/vision_model.onnx"
TEXT = "onnx/text_model.onnx"

# SigLIP has no projection after its pooling, so that its exports give the pooled output.
_IMAGE_OUTPUTS = ("image_embeds", "pooler_output")
_TEXT_OUTPUTS = ("text_embeds", "pooler_output")


def import_onnx(directory: Path, out: Path, origin: Origin) -> Manifest:
    """Make a model directory out of a pair of ONNX encoders.

    Raises
    ------
    ModelFormatError
        If the graphs are not an image and a text encoder.
    """
    encoders = RawEncoders(
        image=_encoder(directory / VISION, ["pixel_values"], _IMAGE_OUTPUTS),
        text=_encoder(directory / TEXT, ["input_ids", "attention_mask"], _TEXT_OUTPUTS),
    )
    return build_directory(encoders, read_assets(directory), out, origin)


def _encoder(path: Path, inputs: list[str], outputs: tuple[str, ...]) -> Any:
    """The graph of one file, up to the first of the outputs that it has."""
    model = read_graph(path)
    names = {name for port in model.outputs for name in port.get_names()}
    found = [name for name in outputs if name in names]
    if not found:
        raise ModelFormatError(f"{path} puts out {', '.join(sorted(names))}, wanted {' or '.join(outputs)}")
    return cut(model, inputs, found[0])
