"""Read what a model needs besides its weights from the files of a checkpoint or an export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers

from datumaro_clip.errors import ModelFormatError
from datumaro_clip.images import Preprocessing
from datumaro_clip.model.directory import PREPROCESSOR, TOKENIZER, read_json
from datumaro_clip.texts import TextSettings

#: Supported families, as the ``model_type`` of their transformers configurations.
FAMILIES = ("clip", "siglip")

# Defaults of transformers (CLIPTextConfig, CLIPVisionConfig, SiglipTextConfig, SiglipVisionConfig) for settings that
# change vectors although the weights are equal.
_ARCHITECTURE_DEFAULTS: dict[str, dict[str, Mapping[str, Any]]] = {
    "clip": {
        "text_config": {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "num_attention_heads": 8},
        "vision_config": {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "num_attention_heads": 12},
    },
    "siglip": {
        "text_config": {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6, "num_attention_heads": 12},
        "vision_config": {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6, "num_attention_heads": 12},
    },
}
_UNSUPPORTED = {
    "siglip2": "of any resolution (SigLIP 2 NaFlex), which takes pictures as patches; take one of a fixed resolution"
}
_CONTEXT_LENGTH = {"clip": 77, "siglip": 64}


@dataclass(frozen=True)
class Assets:
    """Everything of a model but its weights.

    Attributes
    ----------
    family : str
        ``clip`` or ``siglip``.
    tokenizer : str
        Text of ``tokenizer.json``.
    preprocessor : mapping
        The image processor's configuration.
    text : TextSettings
    architecture : mapping
        Settings of the image and text encoder that change vectors although the weights are equal.
    """

    family: str
    tokenizer: str
    preprocessor: Mapping[str, Any]
    text: TextSettings
    architecture: Mapping[str, Any]

    @property
    def preprocessing(self) -> Preprocessing:
        """The steps that the image processor's configuration describes."""
        return Preprocessing.from_config(self.preprocessor)


def read_assets(directory: Path) -> Assets:
    """Read configuration, tokenizer and image processor as transformers saves them.

    Raises
    ------
    ModelFormatError
        If a file is missing or unreadable, or the model's family is not supported.
    """
    config = read_json(directory / "config.json")
    family = config.get("model_type", "")
    if family not in FAMILIES:
        supported = f"of type {family!r}; supported are {', '.join(FAMILIES)}, and OpenCLIP checkpoints"
        raise ModelFormatError(f"{directory} holds a model {_UNSUPPORTED.get(family, supported)}")
    tokenizer = read_tokenizer(directory)
    return Assets(
        family=family,
        tokenizer=tokenizer,
        preprocessor=read_preprocessor(directory),
        text=_text_settings(directory, family, config.get("text_config") or {}, tokenizer),
        architecture=architecture_of(family, config),
    )


def architecture_of(family: str, config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the settings of both encoders in a transformers configuration, with its defaults."""
    return {
        tower: {key: (config.get(tower) or {}).get(key, default) for key, default in defaults.items()}
        for tower, defaults in _ARCHITECTURE_DEFAULTS[family].items()
    }


def read_tokenizer(directory: Path) -> str:
    """Read the text of ``tokenizer.json``; raise :class:`ModelFormatError` if there is none."""
    path = directory / TOKENIZER
    if not path.is_file():
        raise ModelFormatError(
            f"{directory} has no {TOKENIZER}; save it with transformers: "
            "AutoTokenizer.from_pretrained(...).save_pretrained(...)"
        )
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ModelFormatError(f"{path} cannot be read: {exc}; copy the model's own there") from exc


def read_preprocessor(directory: Path) -> dict[str, Any]:
    """Read the image processor's configuration, which transformers 5 writes inside ``processor_config.json``."""
    if (directory / PREPROCESSOR).is_file():
        return read_json(directory / PREPROCESSOR)
    combined = directory / "processor_config.json"
    if combined.is_file() and isinstance(values := read_json(combined).get("image_processor"), dict):
        return values
    raise ModelFormatError(f"{directory} has no {PREPROCESSOR}; copy the model's own there")


def _text_settings(directory: Path, family: str, config: Mapping[str, Any], tokenizer: str) -> TextSettings:
    """Return how the model takes its texts; SigLIP was trained on texts padded to full length, without a mask."""
    path = directory / "tokenizer_config.json"
    settings = read_json(path) if path.is_file() else {}
    return TextSettings(
        context_length=int(config.get("max_position_embeddings", _CONTEXT_LENGTH[family])),
        padding="max_length" if family == "siglip" else "longest",
        pad_id=_pad_id(settings, config, tokenizer),
        # Not in tokenizer.json; the class of SigLIP 2's tokenizer always lowercases.
        lowercase=family == "siglip"
        and (bool(settings.get("do_lower_case", False)) or settings.get("tokenizer_class") == "Siglip2Tokenizer"),
    )


def _pad_id(settings: Mapping[str, Any], config: Mapping[str, Any], tokenizer: str) -> int:
    """Return the padding token: the tokenizer's own, else the configuration's, else CLIP's end of text."""
    backend = parse_tokenizer(tokenizer)
    token = settings.get("pad_token")
    content = token.get("content") if isinstance(token, dict) else token
    for candidate in (content and backend.token_to_id(content), (backend.padding or {}).get("pad_id")):
        if candidate is not None:
            return int(candidate)
    fallback = config.get("pad_token_id", backend.token_to_id("<|endoftext|>"))
    if fallback is None:
        raise ModelFormatError("neither tokenizer nor configuration names a padding token")
    return int(fallback)


def parse_tokenizer(tokenizer: str) -> tokenizers.Tokenizer:
    """Parse the text of ``tokenizer.json``; raise :class:`ModelFormatError` if it is not a tokenizer."""
    try:
        return tokenizers.Tokenizer.from_str(tokenizer)
    except Exception as exc:  # The library raises bare Exception for every kind of unreadable text.
        raise ModelFormatError(f"{TOKENIZER} cannot be used: {exc}; copy the model's own there") from exc
