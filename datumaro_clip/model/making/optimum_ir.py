"""Directories made by ``optimum-cli export openvino``: one combined graph, cut into the two encoders."""

from __future__ import annotations

from pathlib import Path

from datumaro_clip.model.directory import Manifest
from datumaro_clip.model.making.assets import read_assets
from datumaro_clip.model.making.build import Origin, build_directory
from datumaro_clip.model.making.graphs import RawEncoders, cut, read_graph

COMBINED = "openvino_model.xml"


def import_optimum(directory: Path, out: Path, origin: Origin) -> Manifest:
    """Make a model directory out of optimum-cli's.

    Raises
    ------
    ModelFormatError
        If the graph is not that of a model with an image and a text encoder.
    """
    return build_directory(read_combined(directory), read_assets(directory), out, origin)


def read_combined(directory: Path) -> RawEncoders:
    """The two encoders of optimum-cli's one graph; raises as :func:`import_optimum`."""
    model = read_graph(directory / COMBINED)
    return RawEncoders(
        image=cut(model, ["pixel_values"], "image_embeds"),
        text=cut(model, ["input_ids", "attention_mask"], "text_embeds"),
    )
