"""Checkpoints of OpenCLIP.

OpenCLIP's vision transformers and text transformers are transformers' ``CLIPModel`` with another activation and one
matrix for query, key and value: they are written anew as transformers writes a CLIP, the same weights under other
names. Image encoders of timm, MobileCLIP's among them, are not; those OpenCLIP itself builds.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datumaro_clip.errors import MissingDependencyError, ModelExportError
from datumaro_clip.model.directory import Manifest
from datumaro_clip.model.jsonfile import read_json
from datumaro_clip.model.making.build import Origin, build_directory
from datumaro_clip.model.making.export import export_combined, export_towers
from datumaro_clip.model.making.graphs import RawEncoders
from datumaro_clip.model.making.openclip_config import CONFIG, OpenClipConfig, transformers_config
from datumaro_clip.model.making.openclip_towers import read_towers
from datumaro_clip.model.making.optimum_ir import read_combined
from datumaro_clip.system.files import write_text

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
    MissingDependencyError
        Without the extra ``export``; for an image encoder of timm, without the extra ``openclip``.
    ModelExportError
        If it cannot be exported.
    """
    config = OpenClipConfig.parse(read_json(checkpoint / CONFIG), checkpoint)
    assets = config.assets(checkpoint)
    with tempfile.TemporaryDirectory(prefix="datumaro-clip-") as folder:
        export = _by_openclip if config.by_timm else _by_transformers
        return build_directory(export(checkpoint, config, Path(folder)), assets, out, origin)


def _by_openclip(checkpoint: Path, config: OpenClipConfig, folder: Path) -> RawEncoders:
    """Encoders that OpenCLIP builds."""
    export_towers(checkpoint / CONFIG, checkpoint / WEIGHTS, folder)
    return read_towers(folder)


def _by_transformers(checkpoint: Path, config: OpenClipConfig, folder: Path) -> RawEncoders:
    """Encoders that transformers builds, of the checkpoint written anew."""
    rewritten, combined = folder / "rewritten", folder / "combined"
    rewritten.mkdir()
    rewrite(checkpoint, config, rewritten)
    export_combined(rewritten, combined)
    return read_combined(combined)


def rewrite(checkpoint: Path, config: OpenClipConfig, out: Path) -> None:
    """Write weights and configuration as transformers would."""
    load_file, save_file = _safetensors()
    try:
        weights = dict(renamed(load_file(checkpoint / WEIGHTS)))
        settings = transformers_config(config)
    except (KeyError, StopIteration, TypeError, ValueError) as exc:
        raise ModelExportError(f"{checkpoint} is not such an OpenCLIP model as is known: {exc!r}") from exc
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    write_text(out / "config.json", json.dumps(settings, indent=2))


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
