"""Export OpenCLIP checkpoints, and import what optimum-cli exported of them.

OpenCLIP's vision transformers and text transformers are transformers' ``CLIPModel`` with another activation and one
matrix for query, key and value. Their checkpoints are rewritten in the format of transformers, the same weights under
other names. A model whose image encoder is of timm, such as MobileCLIP, is built by OpenCLIP itself.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datumaro_clip.errors import MissingDependencyError, ModelExportError
from datumaro_clip.model.directory import ModelManifest, Origin, read_json
from datumaro_clip.model.layouts import OPENCLIP_CONFIG, OPENCLIP_WEIGHTS, OPTIMUM_TEXT, OPTIMUM_VISION
from datumaro_clip.model.making.assets import Assets, architecture_of, parse_tokenizer, read_tokenizer
from datumaro_clip.model.making.build import build_directory
from datumaro_clip.model.making.export import export_combined, export_towers, read_combined
from datumaro_clip.model.making.graphs import PACKED, RawEncoders, cut
from datumaro_clip.model.making.used_token import users
from datumaro_clip.model.openvino import read_graph
from datumaro_clip.system.files import write_text
from datumaro_clip.texts import TextSettings

# Settings that the export follows, whatever their value.
_FREE = {
    "vision_cfg": {"image_size", "patch_size", "width", "layers", "head_width", "mlp_ratio", "patch_dropout"},
    "text_cfg": {"context_length", "vocab_size", "width", "layers", "heads", "mlp_ratio", "hf_tokenizer_name"},
}
# Settings without effect while another setting, which is checked, is off.
_IDLE = {
    "vision_cfg": {"attn_pooler_queries", "attn_pooler_heads", "timm_model_pretrained", "timm_pool", "timm_proj",
                   "timm_proj_bias", "timm_drop", "timm_drop_path"},
    "text_cfg": {"pad_id", "eos_id", "hf_model_pretrained", "hf_proj_type", "hf_pooler_type"},
}  # fmt: skip
# Settings that OpenCLIP follows when it builds the model; the tokenizer's settings are still checked here.
_BUILT = {"no_causal_mask", "proj_bias", "proj_type", "norm_kwargs", "act_kwargs", "ls_init_value"}
# Values that mean "off", besides None, False and 0 (CLIPVisionCfg and CLIPTextCfg of OpenCLIP).
_OFF = {
    "vision_cfg": {"pool_type": "tok", "pos_embed_type": "learnable"},
    "text_cfg": {"pool_type": "argmax", "proj_type": "linear"},
}
_RESAMPLE = {"bicubic": 3, "bilinear": 2}
_SQUASHED = {"shortest": False, "squash": True}

# OpenCLIP's names of weights, as patterns, and transformers' names; applied one after another. The first is for models
# that keep their text encoder one level deeper.
_NAMES = (
    (r"^text\.", ""),
    (r"^visual\.transformer\.resblocks", "vision_model.encoder.layers"),
    (r"^transformer\.resblocks", "text_model.encoder.layers"),
    (r"\.ln_([12])\.", r".layer_norm\1."),
    (r"\.attn\.", ".self_attn."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    (r"^token_embedding\.", "text_model.embeddings.token_embedding."),
    (r"^positional_embedding$", "text_model.embeddings.position_embedding.weight"),
    (r"^ln_final\.", "text_model.final_layer_norm."),
    (r"^visual\.class_embedding$", "vision_model.embeddings.class_embedding"),
    (r"^visual\.positional_embedding$", "vision_model.embeddings.position_embedding.weight"),
    (r"^visual\.conv1\.", "vision_model.embeddings.patch_embedding."),
    (r"^visual\.ln_pre\.", "vision_model.pre_layrnorm."),  # transformers' own spelling
    (r"^visual\.ln_post\.", "vision_model.post_layernorm."),
)
_TRANSPOSED = {"text_projection": "text_projection.weight", "visual.proj": "visual_projection.weight"}
_KNOWN = re.compile(
    r"logit_scale|vision_model\.embeddings\.class_embedding|(text|vision)_model\.("
    r"embeddings\.\w+|pre_layrnorm|(post|final)_layer_?norm|"
    r"encoder\.layers\.\d+\.(layer_norm[12]|self_attn\.out_proj|mlp\.fc[12]))\.(weight|bias)"
)
# The matrix for query, key and value in torch's MultiheadAttention.
_PACKED_WEIGHT = "in_proj_weight"


def export_openclip(checkpoint: Path, out: Path, origin: Origin) -> ModelManifest:
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
        If the model cannot be exported.
    """
    config = OpenClipConfig.parse(read_json(checkpoint / OPENCLIP_CONFIG), checkpoint)
    assets = config.assets(checkpoint)
    with tempfile.TemporaryDirectory(prefix="datumaro-clip-") as folder:
        if config.by_timm:
            export_towers(checkpoint / OPENCLIP_CONFIG, checkpoint / OPENCLIP_WEIGHTS, Path(folder))
            return build_directory(read_towers(Path(folder)), assets, out, origin)
        rewritten, combined = Path(folder, "rewritten"), Path(folder, "combined")
        rewritten.mkdir()
        rewrite(checkpoint, config, rewritten)
        export_combined(rewritten, combined)
        return build_directory(read_combined(combined), assets, out, origin)


def import_towers(directory: Path, out: Path, origin: Origin) -> ModelManifest:
    """Make a model directory from an export of ``optimum-cli export openvino --library open_clip``.

    Raises
    ------
    ModelExportError
        If the model does not tokenise its texts as tokenizer.json says.
    ModelFormatError
        If the graphs are not an image and a text encoder.
    """
    config = OpenClipConfig.parse(read_json(directory / "config.json"), directory)
    return build_directory(read_towers(directory), config.assets(directory), out, origin)


def read_towers(directory: Path) -> RawEncoders:
    """Read the two encoders of optimum-cli's two graphs; raises as :func:`import_towers`."""
    text = read_graph(directory / OPTIMUM_TEXT)
    for node in list(_packed(text)):
        node.set_friendly_name(node.get_friendly_name() + PACKED)
    vision = cut(read_graph(directory / OPTIMUM_VISION), ["x"], "image_features")
    return RawEncoders(image=vision, text=cut(text, ["text"], "text_features"))


def _packed(model: Any) -> Iterator[Any]:
    """Yield the constants that hold query, key and value in one: the matrices, and the biases of their products."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Constant" and node.get_friendly_name().endswith(_PACKED_WEIGHT):
            yield node
            for product in users(node):
                for total in users(product):
                    sources = (value.get_node() for value in total.input_values())
                    yield from (source for source in sources if source.get_type_name() == "Constant")


def rewrite(checkpoint: Path, config: OpenClipConfig, out: Path) -> None:
    """Write weights and configuration in the format of transformers."""
    try:
        from safetensors.numpy import load_file, save_file
    except ImportError as exc:
        raise MissingDependencyError("safetensors", "export", "exporting an OpenCLIP checkpoint") from exc
    try:
        weights = dict(renamed(load_file(checkpoint / OPENCLIP_WEIGHTS)))
        settings = transformers_config(config)
    except (KeyError, TypeError, ValueError) as exc:
        raise ModelExportError(f"{checkpoint} is not such an OpenCLIP model as is known: {exc!r}") from exc
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    write_text(out / "config.json", json.dumps(settings, indent=2))


def renamed(state: Mapping[str, npt.NDArray[Any]]) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Yield the weights, float32, with the names and in the orientation of transformers.

    Raises
    ------
    KeyError
        For a weight that is no part of a CLIP.
    """
    for theirs, value in state.items():
        array = np.asarray(value, dtype=np.float32)
        name = theirs
        for pattern, ours in _NAMES:
            name = re.sub(pattern, ours, name)
        if name in _TRANSPOSED:
            yield _TRANSPOSED[name], np.ascontiguousarray(array.T)
        elif ".self_attn.in_proj_" in name:
            for projection, part in zip(("q_proj", "k_proj", "v_proj"), np.split(array, 3), strict=True):
                yield name.replace("in_proj_", f"{projection}."), np.ascontiguousarray(part)
        elif _KNOWN.fullmatch(name):
            yield name, array
        elif name != "attn_mask":
            raise KeyError(theirs)


@dataclass(frozen=True)
class OpenClipConfig:
    """The two parts of ``open_clip_config.json``.

    Attributes
    ----------
    model : mapping
        ``model_cfg``: the architecture.
    steps : mapping
        ``preprocess_cfg``: the preprocessing of pictures.
    where : Path
        The directory, for errors.
    """

    model: Mapping[str, Any]
    steps: Mapping[str, Any]
    where: Path

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: Path) -> OpenClipConfig:
        """Check the file's values; raise :class:`ModelExportError` for a model that would be exported wrongly."""
        config = cls(values.get("model_cfg") or {}, values.get("preprocess_cfg") or {}, where)
        if not all(isinstance(config.model.get(tower), dict) for tower in _FREE):
            raise ModelExportError(f"{where} is no OpenCLIP model with an image and a text encoder")
        built = {"text_cfg": _BUILT} if config.by_timm else {"vision_cfg": set[str](), "text_cfg": set[str]()}
        for tower, more in built.items():
            for key, value in config.model[tower].items():
                off = value in (None, False, 0) or value == _OFF[tower].get(key)
                if key not in _FREE[tower] | _IDLE[tower] | more and not off:
                    raise ModelExportError(
                        f"{where} has {key} {value!r}, which cannot be exported here; "
                        "make ONNX encoders of it: onnx/vision_model.onnx, onnx/text_model.onnx"
                    )
        return config

    @property
    def by_timm(self) -> bool:
        """Whether the image encoder is one of timm's, which transformers' CLIP does not support."""
        return bool(self.model["vision_cfg"].get("timm_model_name"))

    @property
    def end_token(self) -> int:
        """The token that ends a text: the highest."""
        return int(self.model["text_cfg"].get("vocab_size", 49408)) - 1

    def assets(self, directory: Path) -> Assets:
        """Return everything of the model but its weights; reads ``tokenizer.json`` from the directory.

        Raises
        ------
        ModelFormatError
            If there is no usable tokenizer.
        ModelExportError
            If the tokenizer ends texts with another token than the model expects, or the configuration is unusable.
        """
        tokenizer = read_tokenizer(directory)
        backend = parse_tokenizer(tokenizer)
        vision, text = self.model["vision_cfg"], self.model["text_cfg"]
        try:
            last = next(reversed(backend.encode("a").ids), None)
            if last != self.end_token:
                raise ModelExportError(
                    f"{self.where}: its tokenizer ends texts with token {last}, the model looks for {self.end_token}; "
                    "tokenizer.json has to be the model's own"
                )
            length = int(text.get("context_length", 77))
            # OpenCLIP pads with 0, which only models without a causal mask see.
            whole = TextSettings(length, "max_length", 0)
            settings = whole if text.get("no_causal_mask") else TextSettings(length, "longest", self.end_token)
            by_timm = {"vision_config": vision, "text_config": text}
            architecture = by_timm if self.by_timm else architecture_of("clip", transformers_config(self))
            return Assets("clip", tokenizer, image_processor(self), settings, architecture)
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise ModelExportError(f"{self.where} is not such an OpenCLIP model as is known: {exc!r}") from exc


def transformers_config(config: OpenClipConfig) -> dict[str, Any]:
    """Return transformers' ``config.json``; defaults are OpenCLIP's own (CLIPVisionCfg, CLIPTextCfg)."""
    model = config.model
    vision, text = model["vision_cfg"], model["text_cfg"]
    vision_width, text_width = vision.get("width", 768), text.get("width", 512)
    shared = {"hidden_act": "quick_gelu" if model.get("quick_gelu") else "gelu", "projection_dim": model["embed_dim"]}
    end = config.end_token
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


def image_processor(config: OpenClipConfig) -> dict[str, Any]:
    """Return ``preprocessor_config.json``; defaults are OpenCLIP's own, which are OpenAI's."""
    steps = config.steps
    size = config.model["vision_cfg"].get("image_size", 224)
    exact = {"height": size, "width": size}
    squashed = _SQUASHED[steps.get("resize_mode", "shortest")]
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": exact if squashed else {"shortest_edge": size},
        "resample": _RESAMPLE[steps.get("interpolation", "bicubic")],
        "do_center_crop": not squashed,
        "crop_size": exact,
        **({} if squashed else {"crop_rounding": "half_to_even"}),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": steps.get("mean", [0.48145466, 0.4578275, 0.40821073]),
        "image_std": steps.get("std", [0.26862954, 0.26130258, 0.27577711]),
    }
