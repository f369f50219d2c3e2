"""Checkpoints of OpenCLIP, written anew as transformers writes a CLIP: the same weights under other names.

OpenCLIP's vision transformers and text transformers are transformers' ``CLIPModel`` with another activation and one
matrix for query, key and value. Image encoders of timm (MobileCLIP's among them) are not.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datumaro_clip.errors import MissingDependencyError, ModelExportError
from datumaro_clip.files import write_text
from datumaro_clip.models.build import Origin
from datumaro_clip.models.export import export_checkpoint
from datumaro_clip.models.jsonfile import read_json
from datumaro_clip.models.manifest import PREPROCESSOR, TOKENIZER, Manifest

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"

Array = npt.NDArray[np.float32]

_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_RENAMED = {
    "logit_scale": "logit_scale",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",  # transformers' own spelling
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
}
_TRANSPOSED = {"text_projection": "text_projection.weight", "visual.proj": "visual_projection.weight"}
_TOWERS = {"visual.transformer.resblocks.": "vision_model", "transformer.resblocks.": "text_model"}

# Settings of which transformers' CLIPModel has only this value.
_ONLY = {
    "vision_cfg": {"timm_model_name": None, "attentional_pool": False, "pool_type": "tok", "no_ln_pre": False},
    "text_cfg": {"hf_model_name": None, "no_causal_mask": False, "embed_cls": False, "pool_type": "argmax"},
}
_RESAMPLE = {"bicubic": 3, "bilinear": 2}


def export_openclip(checkpoint: Path, out: Path, origin: Origin) -> Manifest:
    """Export an OpenCLIP checkpoint to a model directory of precision f32.

    Parameters
    ----------
    checkpoint : Path
        A directory with ``open_clip_config.json``, ``open_clip_model.safetensors`` and ``tokenizer.json``.
    out : Path
        A new or empty directory.
    origin : Origin

    Raises
    ------
    ModelExportError
        If its encoders are not such as transformers' CLIP has.
    """
    with tempfile.TemporaryDirectory(prefix="datumaro-clip-") as folder:
        rewrite(checkpoint, Path(folder))
        return export_checkpoint(Path(folder), out, origin)


def rewrite(checkpoint: Path, out: Path) -> None:
    """Write an OpenCLIP checkpoint as transformers would."""
    settings = read_json(checkpoint / CONFIG)
    model = settings.get("model_cfg", {})
    _require_plain(checkpoint, model)
    load_file, save_file = _safetensors()
    try:
        weights = dict(renamed(load_file(checkpoint / WEIGHTS)))
        config = transformers_config(model)
        processor = image_processor(model, settings.get("preprocess_cfg", {}))
    except (KeyError, TypeError, ValueError) as exc:
        raise ModelExportError(f"{checkpoint} is not such an OpenCLIP checkpoint as is known: {exc!r}") from exc
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    write_text(out / "config.json", json.dumps(config, indent=2))
    write_text(out / PREPROCESSOR, json.dumps(processor, indent=2))
    for name in (TOKENIZER, "tokenizer_config.json", "special_tokens_map.json"):
        if (checkpoint / name).is_file():
            shutil.copyfile(checkpoint / name, out / name)


def _require_plain(checkpoint: Path, model: Mapping[str, Any]) -> None:
    """Raise ModelExportError for encoders that transformers' CLIP does not have."""
    for tower, only in _ONLY.items():
        for key, value in only.items():
            if model.get(tower, {}).get(key, value) != value:
                raise ModelExportError(
                    f"{checkpoint} has {key} {model[tower][key]!r}, which can be exported neither as a transformers "
                    "CLIP nor here; make ONNX encoders of it: onnx/vision_model.onnx, onnx/text_model.onnx"
                )


def _safetensors() -> tuple[Any, Any]:
    """Reading and writing weights as arrays."""
    try:
        from safetensors.numpy import load_file, save_file
    except ImportError as exc:
        raise MissingDependencyError("safetensors", "export", "exporting an OpenCLIP checkpoint") from exc
    return load_file, save_file


def renamed(state: Mapping[str, npt.NDArray[Any]]) -> Iterator[tuple[str, Array]]:
    """Weights under the names, and in the orientation, of transformers; float32."""
    for name, value in state.items():
        # Models with a text encoder of their own class keep it one level deeper.
        plain = name.removeprefix("text.")
        array = np.asarray(value, dtype=np.float32)
        if plain in _RENAMED:
            yield _RENAMED[plain], array
        elif plain in _TRANSPOSED:
            yield _TRANSPOSED[plain], np.ascontiguousarray(array.T)
        elif plain != "attn_mask":
            yield from _layer(plain, array)


def _layer(name: str, array: Array) -> Iterator[tuple[str, Array]]:
    """One weight of a transformer's layer."""
    prefix = next(prefix for prefix in _TOWERS if name.startswith(prefix))
    number, _, rest = name.removeprefix(prefix).partition(".")
    stem = f"{_TOWERS[prefix]}.encoder.layers.{number}"
    if rest.startswith("attn.in_proj_"):
        kind = rest.removeprefix("attn.in_proj_")
        for projection, part in zip(("q_proj", "k_proj", "v_proj"), np.split(array, 3), strict=True):
            yield f"{stem}.self_attn.{projection}.{kind}", np.ascontiguousarray(part)
    else:
        part_name, _, kind = rest.rpartition(".")
        yield f"{stem}.{_LAYER[part_name]}.{kind}", array


def transformers_config(model: Mapping[str, Any]) -> dict[str, Any]:
    """``config.json`` of the same architecture; defaults are OpenCLIP's own (CLIPVisionCfg, CLIPTextCfg)."""
    vision, text = model["vision_cfg"], model["text_cfg"]
    vision_width, text_width = vision.get("width", 768), text.get("width", 512)
    shared = {
        "hidden_act": "quick_gelu" if model.get("quick_gelu") else "gelu",
        "projection_dim": model["embed_dim"],
    }
    end = text.get("vocab_size", 49408) - 1
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": model["embed_dim"],
        "vision_config": shared
        | {
            "hidden_size": vision_width,
            "intermediate_size": int(vision_width * vision.get("mlp_ratio", 4)),
            "num_hidden_layers": vision.get("layers", 12),
            "num_attention_heads": vision_width // vision.get("head_width", 64),
            "image_size": vision.get("image_size", 224),
            "patch_size": vision.get("patch_size", 16),
        },
        "text_config": shared
        | {
            "hidden_size": text_width,
            "intermediate_size": int(text_width * text.get("mlp_ratio", 4)),
            "num_hidden_layers": text.get("layers", 12),
            "num_attention_heads": text.get("heads", 8),
            "max_position_embeddings": text.get("context_length", 77),
            "vocab_size": end + 1,
            "bos_token_id": end - 1,
            "eos_token_id": end,
            "pad_token_id": end,
        },
    }


def image_processor(model: Mapping[str, Any], steps: Mapping[str, Any]) -> dict[str, Any]:
    """``preprocessor_config.json``; defaults are OpenCLIP's own, which are OpenAI's."""
    size = model["vision_cfg"].get("image_size", 224)
    exact = {"height": size, "width": size}
    squashed = steps.get("resize_mode", "shortest") == "squash"
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": exact if squashed else {"shortest_edge": size},
        "resample": _RESAMPLE[steps.get("interpolation", "bicubic")],
        "do_center_crop": not squashed,
        "crop_size": exact,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": steps.get("mean", [0.48145466, 0.4578275, 0.40821073]),
        "image_std": steps.get("std", [0.26862954, 0.26130258, 0.27577711]),
    }
