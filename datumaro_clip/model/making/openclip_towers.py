"""Directories made by ``optimum-cli export openvino --library open_clip``: a graph for each of the two encoders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datumaro_clip.model.directory import Manifest
from datumaro_clip.model.jsonfile import read_json
from datumaro_clip.model.making.build import Origin, build_directory
from datumaro_clip.model.making.graphs import PACKED, RawEncoders, cut, read_graph
from datumaro_clip.model.making.openclip_config import OpenClipConfig

VISION = "openvino_model_vision.xml"
TEXT = "openvino_model_text.xml"

# torch's MultiheadAttention keeps query, key and value so.
_PACKED_WEIGHT = "in_proj_weight"


def import_towers(directory: Path, out: Path, origin: Origin) -> Manifest:
    """Make a model directory out of optimum-cli's.

    Raises
    ------
    ModelExportError
        If its texts are not made into tokens as tokenizer.json says.
    ModelFormatError
        If the graphs are not an image and a text encoder.
    """
    config = OpenClipConfig.parse(read_json(directory / "config.json"), directory)
    return build_directory(read_towers(directory), config.assets(directory), out, origin)


def read_towers(directory: Path) -> RawEncoders:
    """The two encoders; raises as :func:`import_towers`."""
    text = read_graph(directory / TEXT)
    for node in list(_packed(text)):
        node.set_friendly_name(node.get_friendly_name() + PACKED)
    return RawEncoders(
        image=cut(read_graph(directory / VISION), ["x"], "image_features"), text=cut(text, ["text"], "text_features")
    )


def _packed(model: Any) -> Iterator[Any]:
    """Constants that hold query, key and value in one: the matrices, and what is added to each's product."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Constant" and node.get_friendly_name().endswith(_PACKED_WEIGHT):
            yield node
            for product in _consumers(node):
                for total in _consumers(product):
                    yield from (source for source in _sources(total) if source.get_type_name() == "Constant")


def _consumers(node: Any) -> list[Any]:
    """Nodes that take what a node puts out."""
    return [port.get_node() for port in node.output(0).get_target_inputs()]


def _sources(node: Any) -> list[Any]:
    """Nodes whose output a node takes."""
    return [value.get_node() for value in node.input_values()]
