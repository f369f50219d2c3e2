"""Edit OpenVINO graphs: cut encoders out of a model, and build preprocessing and normalisation into them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datumaro_clip.errors import ModelFormatError
from datumaro_clip.images import Preprocessing
from datumaro_clip.model.making.used_token import compute_used_token_only
from datumaro_clip.model.request_queue import gist
from datumaro_clip.texts import TextSettings
from datumaro_clip.vectors import FloatArray

# Smaller than the length of any projected vector; only keeps a vector of zeros from becoming NaN.
_NORM_EPS = 1e-12
_COUNTER = re.compile(r"_?\d+$")

#: Suffix for the name of a constant that holds query, key and value in one, which other exporters write as three.
PACKED = ":packed"


@dataclass(frozen=True)
class RawEncoders:
    """The two encoders as an exporter leaves them.

    Attributes
    ----------
    image : openvino.Model
        Input ``pixel_values`` (B, 3, H, W), float32, normalised; one output (B, D).
    text : openvino.Model
        Input ``input_ids`` (B, L) and, where the model has one, ``attention_mask``; one output (B, D).
    """

    image: Any
    text: Any


def save_graph(model: Any, path: Path, *, half: bool = False) -> None:
    """Write an IR, ``.xml`` and ``.bin``; with ``half``, weights in float16. Equal graphs give equal bytes."""
    import openvino

    for index, node in enumerate(model.get_ordered_ops()):
        # OpenVINO appends a counter of the process to names, which would give each export other bytes.
        node.set_friendly_name(f"{_COUNTER.sub('', node.get_friendly_name())}_{index}")
    openvino.save_model(model, path, compress_to_fp16=half)


def cut(model: Any, inputs: Sequence[str], output: str) -> Any:
    """Cut out the part of a graph that computes one output from some of its inputs.

    Parameters
    ----------
    model : openvino.Model
    inputs : sequence of str
        Names; those that the graph does not have are ignored.
    output : str
        Name.

    Raises
    ------
    ModelFormatError
        If the graph has no such output, or the output depends on other inputs too.
    """
    import openvino

    names = {name: port for port in model.inputs for name in port.get_names()}
    parameters = [names[name].get_node() for name in inputs if name in names]
    try:
        source = model.output(output).get_node().input_value(0)
        return openvino.Model([source], parameters, output)
    except RuntimeError as exc:
        raise ModelFormatError(f"no encoder of {output!r} can be cut out of the model: {gist(exc)}") from exc


def finish_image(model: Any, preprocessing: Preprocessing) -> Any:
    """Build the conversion of pixels into an image encoder.

    Parameters
    ----------
    model : openvino.Model
        As :attr:`RawEncoders.image`.
    preprocessing : Preprocessing
        The graph gets its picture size, and applies its mean, deviation and rescale factor.

    Returns
    -------
    openvino.Model
        Input ``pixels``: uint8 (B, H, W, 3). Output ``embeddings``: float32 (B, D), unit rows.
    """
    from openvino import Layout, Type
    from openvino.preprocess import PrePostProcessor

    factor = preprocessing.rescale_factor
    model.reshape({model.input(0): [-1, 3, *preprocessing.size]})
    compute_used_token_only(model)
    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(Type.u8).set_layout(Layout("NHWC"))
    steps.input().model().set_layout(Layout("NCHW"))
    # (pixel * factor - mean) / std, written as (pixel - mean / factor) / (std / factor)
    steps.input().preprocess().convert_element_type(Type.f32).mean(
        [mean / factor for mean in preprocessing.mean]
    ).scale([std / factor for std in preprocessing.std])
    return _finish(steps.build(), ["pixels"], "image_encoder")


def finish_text(model: Any, settings: TextSettings) -> Any:
    """Fix the shapes and names of a text encoder.

    Returns
    -------
    openvino.Model
        Inputs ``input_ids`` and, where the model has one, ``attention_mask``: int64 (B, L). Output
        ``embeddings``: float32 (B, D), unit rows.
    """
    from openvino import Type
    from openvino.preprocess import PrePostProcessor

    length = settings.context_length if settings.padding == "max_length" else -1
    model.reshape({port: [-1, length] for port in model.inputs})
    compute_used_token_only(model)
    steps = PrePostProcessor(model)
    for port in range(len(model.inputs)):
        steps.input(port).tensor().set_element_type(Type.i64)
    return _finish(steps.build(), ["input_ids", "attention_mask"][: len(model.inputs)], "text_encoder")


def _finish(model: Any, inputs: Sequence[str], name: str) -> Any:
    """Normalise the output rows, and name the inputs, the output and the graph."""
    import openvino
    from openvino import opset13 as ops

    for port, input_name in zip(model.inputs, inputs, strict=True):
        port.get_tensor().set_names({input_name})
    rows = model.output(0).get_node().input_value(0)
    unit = ops.normalize_l2(rows, ops.constant([1], dtype="int64"), _NORM_EPS, "max")
    unit.output(0).get_tensor().set_names({"embeddings"})
    return openvino.Model([ops.result(unit)], model.get_parameters(), name)


def compute_f32(model: Any, inputs: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
    """Run an encoder on the CPU in float32, even if the CPU would choose another precision."""
    import openvino
    from openvino import Type, properties

    compiled = openvino.Core().compile_model(model, "CPU", {properties.hint.inference_precision: Type.f32})
    return np.array(compiled(dict(inputs))[compiled.output(0)])


def dimension(model: Any) -> int:
    """Return D of an encoder's output (B, D); raise :class:`ModelFormatError` if the graph does not fix it."""
    shape = model.output(0).get_partial_shape()
    if len(shape) != 2 or shape[1].is_dynamic:
        raise ModelFormatError(f"the encoder {model.get_friendly_name()!r} puts out {shape}, wanted (B, D)")
    return int(shape[1].get_length())
