"""ONNX encoders in the layout of transformers.js, read without torch."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datumaro_clip.errors import ModelFormatError
from datumaro_clip.model.directory import Origin, read_manifest
from datumaro_clip.model.golden import GOLDEN_TEXTS, GoldenVectors
from datumaro_clip.model.making.export import import_onnx
from datumaro_clip.model.openvino import OpenVINOEncoder

pytestmark = pytest.mark.export

ORIGIN = Origin("random/small", "onnx")


@pytest.fixture(scope="module")
def onnx_encoders(random_clip_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint's two encoders as torch exports them to ONNX, beside its configuration."""
    folder = tmp_path_factory.mktemp("onnx")
    for path in random_clip_checkpoint.glob("*.json"):
        shutil.copy(path, folder)
    (folder / "onnx").mkdir()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export_onnx(random_clip_checkpoint, folder / "onnx", patch)
    return folder


def export_onnx(checkpoint: Path, out: Path, patch: pytest.MonkeyPatch) -> None:
    import torch
    from torch.onnx._internal.torchscript_exporter import onnx_proto_utils
    from transformers import CLIPModel
    from transformers.models.clip import modeling_clip

    def causal_mask(inputs_embeds: Any, **_: Any) -> Any:
        """What transformers makes, in operations that this exporter can trace."""
        steps = torch.arange(inputs_embeds.shape[1])
        return torch.where(steps[None, :] <= steps[:, None], 0.0, torch.finfo(torch.float32).min)[None, None]

    class Images(torch.nn.Module):
        def forward(self, pixel_values: Any) -> Any:
            return model.visual_projection(model.vision_model(pixel_values).pooler_output)

    class Texts(torch.nn.Module):
        def forward(self, input_ids: Any) -> Any:
            return model.text_projection(model.text_model(input_ids).pooler_output)

    patch.setattr(modeling_clip, "create_causal_mask", causal_mask)
    # Only models with operators written in Python need the package onnx here.
    patch.setattr(onnx_proto_utils, "_add_onnxscript_fn", lambda model_bytes, _: model_bytes)
    model = CLIPModel.from_pretrained(checkpoint, attn_implementation="eager").eval()
    images, texts = Images(), Texts()
    images.model = texts.model = model
    for module, example, name, output, axes in (
        (images, torch.zeros(2, 3, 32, 32), "pixel_values", "image_embeds", {0: "batch"}),
        (texts, torch.zeros(2, 9, dtype=torch.long), "input_ids", "text_embeds", {0: "batch", 1: "length"}),
    ):
        path = out / ("vision_model.onnx" if name == "pixel_values" else "text_model.onnx")
        torch.onnx.export(
            module, (example,), path, input_names=[name], output_names=[output], dynamic_axes={name: axes},
            dynamo=False, opset_version=17,
        )  # fmt: skip


def test_onnx_encoders_are_of_the_same_space_with_the_same_vectors(
    onnx_encoders: Path, random_clip: Path, tmp_path: Path
) -> None:
    """They come without an attention mask, transposed, and with other names: none of that matters."""
    manifest = import_onnx(onnx_encoders, tmp_path / "model", ORIGIN)
    assert manifest.vector_space == read_manifest(random_clip).vector_space
    assert not manifest.text.attention_mask
    ours, theirs = GoldenVectors.load(random_clip), GoldenVectors.load(tmp_path / "model")
    np.testing.assert_allclose(theirs.images, ours.images, atol=1e-5)
    np.testing.assert_allclose(theirs.texts, ours.texts, atol=1e-5)
    encoder = OpenVINOEncoder(tmp_path / "model", manifest, precision="f32")
    np.testing.assert_allclose(encoder.embed_texts(GOLDEN_TEXTS), ours.texts, atol=1e-5)


@pytest.mark.parametrize(("name", "other"), [("vision_model.onnx", "text_model.onnx"), ("text_model.onnx", None)])
def test_what_is_no_encoder_is_refused(onnx_encoders: Path, tmp_path: Path, name: str, other: str | None) -> None:
    damaged = shutil.copytree(onnx_encoders, tmp_path / "damaged")
    (damaged / "onnx" / name).write_bytes((damaged / "onnx" / other).read_bytes() if other else b"nonsense")
    with pytest.raises(ModelFormatError, match=name):
        import_onnx(damaged, tmp_path / "model", ORIGIN)
    assert not (tmp_path / "model").exists()
