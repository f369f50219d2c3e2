"""A download is complete when it has all files that a model is made of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from datumaro_clip.model.layouts import is_complete

ASSETS = {"config.json": b"{}", "preprocessor_config.json": b"{}", "tokenizer.json": b"{}"}
ONNX = {"onnx/vision_model.onnx": b"graph", "onnx/text_model.onnx": b"graph"}
# An entry of a tensor's external_data, as protobuf writes it.
OUTSIDE = b"\x08\n\x00graph j\x22\n\x08location\x12\x16vision_model.onnx_datap\x01"
SHARDED = {"model.safetensors.index.json": json.dumps({"weight_map": {"a": "model-1-of-1.safetensors"}}).encode()}


def write(directory: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_bytes(data)
    return directory


@pytest.mark.parametrize(
    ("files", "complete"),
    [
        ({}, False),
        (ASSETS | {"model.safetensors": b""}, True),
        ({"config.json": b"{}", "model.safetensors": b""}, False),
        (ASSETS | SHARDED, False),
        (ASSETS | SHARDED | {"model-1-of-1.safetensors": b""}, True),
        (ASSETS | ONNX, True),
        (ASSETS | ONNX | {"onnx/text_model.onnx": b""}, True),
        (ASSETS | ONNX | {"onnx/vision_model.onnx": OUTSIDE}, False),
        (ASSETS | ONNX | {"onnx/vision_model.onnx": OUTSIDE, "onnx/text_model.onnx_data": b""}, False),
        (ASSETS | ONNX | {"onnx/vision_model.onnx": OUTSIDE, "onnx/vision_model.onnx_data": b""}, True),
    ],
)
def test_every_file_of_weights_that_another_names_must_be_there(
    tmp_path: Path, files: dict[str, bytes], complete: bool
) -> None:
    assert is_complete(write(tmp_path, files)) is complete
