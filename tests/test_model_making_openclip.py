"""OpenCLIP checkpoints compute what OpenCLIP computes: compared with its architecture, written down independently."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers

from datumaro_clip.errors import MissingDependencyError, ModelExportError, ModelFormatError
from datumaro_clip.model.directory import Origin, read_json
from datumaro_clip.model.golden import GOLDEN_TEXTS, golden_pixels
from datumaro_clip.model.layouts import OPENCLIP_CONFIG
from datumaro_clip.model.making.openclip import OpenClipConfig, export_openclip
from datumaro_clip.model.openvino import OpenVINOEncoder
from datumaro_clip.vectors import FloatArray, unit_rows

pytestmark = pytest.mark.export

MODEL = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 16, "layers": 2, "mlp_ratio": 3},
    "text_cfg": {"context_length": 77, "vocab_size": 650, "width": 48, "heads": 3, "layers": 2},
}
STEPS = {"mean": [0.5, 0.4, 0.3], "std": [0.25, 0.3, 0.35], "interpolation": "bicubic", "resize_mode": "shortest"}


def reference(model: dict[str, Any]) -> Any:
    """OpenCLIP's class CLIP, without weights: module names and order of operations are its own."""
    import torch
    from torch import nn

    vision, text = model["vision_cfg"], model["text_cfg"]

    class Block(nn.Module):
        def __init__(self, width: int, heads: int, ratio: int) -> None:
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
            self.mlp = nn.Sequential()
            self.mlp.add_module("c_fc", nn.Linear(width, ratio * width))
            self.mlp.add_module("gelu", nn.GELU())
            self.mlp.add_module("c_proj", nn.Linear(ratio * width, width))

        def forward(self, x: Any, mask: Any = None) -> Any:
            h = self.ln_1(x)
            x = x + self.attn(h, h, h, need_weights=False, attn_mask=mask)[0]
            return x + self.mlp(self.ln_2(x))

    class Blocks(nn.Module):
        def __init__(self, layers: int, *settings: int) -> None:
            super().__init__()
            self.resblocks = nn.ModuleList(Block(*settings) for _ in range(layers))

        def forward(self, x: Any, mask: Any = None) -> Any:
            for block in self.resblocks:
                x = block(x, mask)
            return x

    class Visual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            width, patch = vision["width"], vision["patch_size"]
            self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
            self.class_embedding = nn.Parameter(torch.randn(width))
            self.positional_embedding = nn.Parameter(torch.randn((vision["image_size"] // patch) ** 2 + 1, width))
            self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
            heads = width // vision["head_width"]
            self.transformer = Blocks(vision["layers"], width, heads, vision["mlp_ratio"])
            self.proj = nn.Parameter(torch.randn(width, model["embed_dim"]))

        def forward(self, pixels: Any) -> Any:
            x = self.conv1(pixels).flatten(2).transpose(1, 2)
            x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], 1) + self.positional_embedding
            return self.ln_post(self.transformer(self.ln_pre(x))[:, 0]) @ self.proj

    class Clip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            width = text["width"]
            self.visual = Visual()
            self.token_embedding = nn.Embedding(text["vocab_size"], width)
            self.positional_embedding = nn.Parameter(torch.randn(text["context_length"], width))
            self.transformer = Blocks(text["layers"], width, text["heads"], 4)
            self.ln_final = nn.LayerNorm(width)
            self.text_projection = nn.Parameter(torch.randn(width, model["embed_dim"]))
            self.logit_scale = nn.Parameter(torch.tensor(2.66))

        def encode_text(self, ids: Any) -> Any:
            mask = torch.full((ids.shape[1],) * 2, float("-inf")).triu(1)
            x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
            x = self.ln_final(self.transformer(x, mask))
            return x[torch.arange(len(x)), ids.argmax(-1)] @ self.text_projection

    torch.manual_seed(0)
    clip = Clip().eval()
    with torch.no_grad():
        for name, weight in clip.named_parameters():
            if name.endswith("bias"):
                weight.add_(torch.randn_like(weight) * 0.05)
    return clip


@pytest.fixture(scope="module")
def checkpoint(random_clip_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("openclip")
    shutil.copy(random_clip_checkpoint / "tokenizer.json", folder)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": MODEL, "preprocess_cfg": STEPS}))
    save_file(reference(MODEL).state_dict(), folder / "open_clip_model.safetensors")
    return folder


def by_reference(encoder: OpenVINOEncoder) -> tuple[FloatArray, FloatArray]:
    """Golden pictures and texts by the reference, texts padded with 0 as OpenCLIP's tokenizer pads them."""
    import torch

    clip = reference(MODEL)
    pixels = (golden_pixels((32, 32)) / 255 - np.array(STEPS["mean"])) / np.array(STEPS["std"])
    ids = np.zeros((len(GOLDEN_TEXTS), 77), np.int64)
    for row, tokens in zip(ids, encoder.tokenizer.encode(GOLDEN_TEXTS).ids, strict=True):
        row[: len(tokens)] = tokens
    with torch.no_grad():
        images = clip.visual(torch.tensor(pixels.transpose(0, 3, 1, 2), dtype=torch.float32))
        texts = clip.encode_text(torch.tensor(ids))
    return unit_rows(images.numpy()), unit_rows(texts.numpy())


def test_vectors_are_those_of_openclip(checkpoint: Path, tmp_path: Path) -> None:
    manifest = export_openclip(checkpoint, tmp_path / "model", Origin("random/openclip", "openclip"))
    encoder = OpenVINOEncoder(tmp_path / "model", manifest, precision="f32")
    images, texts = by_reference(encoder)
    ours = encoder.submit_pixels(golden_pixels((32, 32))).result()
    assert np.min(np.einsum("nd,nd->n", images, ours)) >= 0.99999
    assert np.min(np.einsum("nd,nd->n", texts, encoder.embed_texts(GOLDEN_TEXTS))) >= 0.99999


def changed(checkpoint: Path, tmp_path: Path, part: str, setting: dict[str, Any]) -> Path:
    """The checkpoint with other settings of a tower, or other steps."""
    other = shutil.copytree(checkpoint, tmp_path / "other")
    settings: dict[str, Any] = {"model_cfg": MODEL, "preprocess_cfg": STEPS}
    if part == "steps":
        settings["preprocess_cfg"] = STEPS | setting
    else:
        settings["model_cfg"] = MODEL | {part: MODEL[part] | setting}  # type: ignore[operator]
    (other / "open_clip_config.json").write_text(json.dumps(settings))
    return other


@pytest.mark.parametrize(
    ("part", "setting", "complaint"),
    [
        ("vision_cfg", {"no_ln_pre": True}, "no_ln_pre True.*make ONNX encoders"),
        ("vision_cfg", {"pool_type": "avg"}, "pool_type 'avg'"),
        ("vision_cfg", {"norm_kwargs": {"eps": 1e-6}}, "norm_kwargs"),
        ("text_cfg", {"hf_model_name": "xlm-roberta-base"}, "hf_model_name"),
        ("text_cfg", {"tokenizer_kwargs": {"clean": "canonicalize"}}, "tokenizer_kwargs"),
        ("text_cfg", {"width": None}, "is not such an OpenCLIP model"),
        ("text_cfg", {"vocab_size": 49408}, "ends texts with token 649, the model looks for 49407"),
        ("steps", {"resize_mode": "longest"}, "is not such an OpenCLIP model.*longest"),
    ],
)
def test_what_would_be_exported_wrongly_is_refused(
    checkpoint: Path, tmp_path: Path, part: str, setting: dict[str, Any], complaint: str
) -> None:
    other = changed(checkpoint, tmp_path, part, setting)
    with pytest.raises(ModelExportError, match=complaint):
        export_openclip(other, tmp_path / "out", Origin("", "openclip"))


def test_settings_that_are_off_are_passed_over(checkpoint: Path, tmp_path: Path) -> None:
    off = {
        "ls_init_value": None,
        "attentional_pool": False,
        "patch_dropout": 0.5,
        "pool_type": "tok",
        "timm_pool": "avg",
    }
    config = read_json(changed(checkpoint, tmp_path, "vision_cfg", off) / OPENCLIP_CONFIG)
    assert not OpenClipConfig.parse(config, tmp_path).by_timm


def test_an_image_encoder_of_timm_needs_openclip(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    other = changed(checkpoint, tmp_path, "vision_cfg", {"timm_model_name": "fastvit_mci0"})
    with pytest.raises(MissingDependencyError, match=r"needs open_clip: pip install 'datumaro-clip\[openclip\]'"):
        export_openclip(other, tmp_path / "out", Origin("", "openclip"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b'{"model": null}'])
def test_a_damaged_tokenizer_is_refused_by_its_name(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(text)
    config = OpenClipConfig.parse({"model_cfg": MODEL, "preprocess_cfg": STEPS}, tmp_path)
    with pytest.raises(ModelFormatError, match=r"tokenizer.json cannot be .*copy the model's own"):
        config.assets(tmp_path)


def test_a_tokenizer_that_knows_no_word_is_not_the_models_own(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(tokenizers.Tokenizer(tokenizers.models.BPE()).to_str())
    config = OpenClipConfig.parse({"model_cfg": MODEL, "preprocess_cfg": STEPS}, tmp_path)
    with pytest.raises(ModelExportError, match="ends texts with token None, the model looks for 649"):
        config.assets(tmp_path)


def test_a_configuration_of_something_else_is_refused(tmp_path: Path) -> None:
    for values in ({}, {"model_cfg": {"vision_cfg": {}}}, {"model_cfg": None}):
        with pytest.raises(ModelExportError, match="is no OpenCLIP model"):
            OpenClipConfig.parse(values, tmp_path)
