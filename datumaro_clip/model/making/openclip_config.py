"""What the configuration of an OpenCLIP model says, in the words of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers

from datumaro_clip.errors import ModelExportError
from datumaro_clip.model.making.assets import Assets, architecture_of, parse_tokenizer, read_tokenizer
from datumaro_clip.texts import TextSettings

CONFIG = "open_clip_config.json"

# Whatever these say, what is made of the model follows it.
_FREE = {
    "vision_cfg": {"image_size", "patch_size", "width", "layers", "head_width", "mlp_ratio", "patch_dropout"},
    "text_cfg": {"context_length", "vocab_size", "width", "layers", "heads", "mlp_ratio", "hf_tokenizer_name"},
}
# Of no effect while another setting, which is looked at, is off.
_IDLE = {
    "vision_cfg": {"attn_pooler_queries", "attn_pooler_heads", "timm_model_pretrained", "timm_pool", "timm_proj",
                   "timm_proj_bias", "timm_drop", "timm_drop_path"},
    "text_cfg": {"pad_id", "eos_id", "hf_model_pretrained", "hf_proj_type", "hf_pooler_type"},
}  # fmt: skip
# What open_clip itself builds, where it is the one that exports; how texts become tokens is still to be known here.
_BUILT = {"no_causal_mask", "proj_bias", "proj_type", "norm_kwargs", "act_kwargs", "ls_init_value"}
# Settings that are not off when they say nothing (CLIPVisionCfg and CLIPTextCfg of OpenCLIP).
_OFF = {
    "vision_cfg": {"pool_type": "tok", "pos_embed_type": "learnable"},
    "text_cfg": {"pool_type": "argmax", "proj_type": "linear"},
}
_RESAMPLE = {"bicubic": 3, "bilinear": 2}
_SQUASHED = {"shortest": False, "squash": True}


@dataclass(frozen=True)
class OpenClipConfig:
    """The two parts of ``open_clip_config.json``.

    Attributes
    ----------
    model : mapping
        ``model_cfg``: the architecture.
    steps : mapping
        ``preprocess_cfg``: what is done to pictures.
    where : Path
        The directory, for errors.
    """

    model: Mapping[str, Any]
    steps: Mapping[str, Any]
    where: Path

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: Path) -> OpenClipConfig:
        """Read the file's values; raise :class:`ModelExportError` for a model that would be exported wrongly."""
        config = cls(values.get("model_cfg") or {}, values.get("preprocess_cfg") or {}, where)
        if not isinstance(config.model.get("vision_cfg"), dict) or not isinstance(config.model.get("text_cfg"), dict):
            raise ModelExportError(f"{where} is no OpenCLIP model with an image and a text encoder")
        if not config.by_timm:
            config._require_known("vision_cfg", _FREE["vision_cfg"])
        config._require_known("text_cfg", _FREE["text_cfg"] | (_BUILT if config.by_timm else set()))
        return config

    @property
    def by_timm(self) -> bool:
        """Whether the image encoder is one of timm's, which transformers' CLIP cannot be."""
        return bool(self.model["vision_cfg"].get("timm_model_name"))

    def _require_known(self, tower: str, free: set[str]) -> None:
        """Raise ModelExportError for a setting that would be passed over."""
        for key, value in self.model[tower].items():
            off = value in (None, False, 0) or value == _OFF[tower].get(key)
            if key not in free | _IDLE[tower] and not off:
                raise ModelExportError(
                    f"{self.where} has {key} {value!r}, which cannot be exported here; "
                    "make ONNX encoders of it: onnx/vision_model.onnx, onnx/text_model.onnx"
                )

    def assets(self, directory: Path) -> Assets:
        """The model without its weights; ``tokenizer.json`` is read from the directory.

        Raises
        ------
        ModelFormatError
            If there is no tokenizer that can be used.
        ModelExportError
            If texts do not end where the model looks for their end, or the configuration cannot be used.
        """
        tokenizer = read_tokenizer(directory)
        backend = parse_tokenizer(tokenizer)
        try:
            self._require_end(backend)
            return Assets("clip", tokenizer, image_processor(self), text_settings(self), _architecture(self))
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise ModelExportError(f"{self.where} is not such an OpenCLIP model as is known: {exc!r}") from exc

    def _require_end(self, tokenizer: tokenizers.Tokenizer) -> None:
        """Raise ModelExportError unless texts end with the highest token, whose vector is the text's."""
        last = next(reversed(tokenizer.encode("a").ids), None)
        if last != end_token(self):
            raise ModelExportError(
                f"{self.where}: its tokenizer ends texts with token {last}, the model looks for {end_token(self)}; "
                "tokenizer.json has to be the model's own"
            )


def end_token(config: OpenClipConfig) -> int:
    """The token that ends a text: the highest."""
    return int(config.model["text_cfg"].get("vocab_size", 49408)) - 1


def text_settings(config: OpenClipConfig) -> TextSettings:
    """How the model wants its texts. OpenCLIP fills with 0, which only models without a causal mask see."""
    text = config.model["text_cfg"]
    length = int(text.get("context_length", 77))
    if text.get("no_causal_mask"):
        return TextSettings(length, "max_length", 0)
    return TextSettings(length, "longest", end_token(config))


def _architecture(config: OpenClipConfig) -> Mapping[str, Any]:
    """Settings that change vectors although the weights are equal."""
    if config.by_timm:
        return {"vision_config": config.model["vision_cfg"], "text_config": config.model["text_cfg"]}
    return architecture_of("clip", transformers_config(config))


def transformers_config(config: OpenClipConfig) -> dict[str, Any]:
    """``config.json`` of the same architecture; defaults are OpenCLIP's own (CLIPVisionCfg, CLIPTextCfg)."""
    model = config.model
    vision, text = model["vision_cfg"], model["text_cfg"]
    vision_width, text_width = vision.get("width", 768), text.get("width", 512)
    shared = {
        "hidden_act": "quick_gelu" if model.get("quick_gelu") else "gelu",
        "projection_dim": model["embed_dim"],
    }
    end = end_token(config)
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
    """``preprocessor_config.json``; defaults are OpenCLIP's own, which are OpenAI's."""
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
