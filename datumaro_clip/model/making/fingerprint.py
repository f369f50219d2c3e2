"""The fingerprint of a vector space: equal for every form of one model, different for any other model.

It is a SHA-256 over a canonical JSON text of these parts:

``weights``
    For each encoder, the sorted SHA-256 of each floating-point constant of the graph as the exporter wrote it: before
    normalisation is built in, before compression, before quantisation. A constant is taken in float32, without its
    unit dimensions, and a matrix in whichever of its two orientations hashes lower, so that names, order, transposing
    and broadcasting do not matter. One that is marked as holding query, key and value counts as three. Scalars
    (epsilons, scales), constants that are all zero or all one (which optimisers drop), and masks (which stand for minus
    infinity) do not count.
``tokenizer``
    Vocabulary, merges, and the tokens of some difficult texts. Its file does not count, because each version of
    transformers writes it differently.
``preprocessing``, ``text``, ``architecture``
    Resizing, cropping, normalisation; padding and context length; activation, heads and epsilon of both encoders.
    Whether the graph takes an attention mask is the exporter's choice, and does not count.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers

from datumaro_clip.model.making.assets import Assets
from datumaro_clip.model.making.graphs import PACKED, RawEncoders
from datumaro_clip.texts import Tokenizer

# Exporters write the smallest float32 or float16, or minus infinity.
_MASK = -6e4
_PROBES = (
    "",
    "a photo of a cat",
    "A Photo  of\ta CAT.\n",
    "can't won't I'm they'll we've he'd",
    "naïve café, Ångström, Straße, İstanbul",
    "12,345.67 km/h @ 50% — “quoted” (x²)",
    "写真の猫 고양이 кошка γάτα قطة",
    "👩‍👩‍👧 ☕️ é e\u0301 ﬁ \u00a0\u200b",
    "<|startoftext|> <|endoftext|> </s> <pad> <eos>",
    "word " * 200,
)


def fingerprint(encoders: RawEncoders, assets: Assets) -> str:
    """Compute the fingerprint of a model.

    Parameters
    ----------
    encoders : RawEncoders
        Graphs before anything is built in, compressed or quantised.
    assets : Assets
        Tokenizer, preprocessing, text settings and architecture.

    Returns
    -------
    str
        ``sha256:`` and 64 hexadecimal digits.
    """
    steps, text = assets.preprocessing, assets.text
    # Key by key, because a field that a later release adds must not change fingerprints.
    preprocessing: dict[str, Any] = {
        "resize": steps.resize,
        "crop": steps.crop,
        "resample": int(steps.resample),
        "rescale_factor": steps.rescale_factor,
        "mean": steps.mean,
        "std": steps.std,
    }
    if steps.crop_rounding != "down":
        preprocessing["crop_rounding"] = steps.crop_rounding
    parts = {
        "weights": {"image": weight_digests(encoders.image), "text": weight_digests(encoders.text)},
        "tokenizer": _tokenizer_digest(assets),
        "preprocessing": preprocessing,
        "text": {key: getattr(text, key) for key in ("context_length", "padding", "pad_id", "lowercase")},
        "architecture": assets.architecture,
    }
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def weight_digests(model: Any) -> list[str]:
    """Return the sorted digests of a graph's constants that hold learnt weights."""
    constants = (node for node in model.get_ordered_ops() if node.get_type_name() == "Constant")
    real = (node for node in constants if node.get_element_type().is_real())
    return sorted({digest for node in real for part in _parts(node) if (digest := tensor_digest(part))})


def _parts(node: Any) -> list[npt.NDArray[Any]]:
    """Return the tensors that a constant holds: one, or query, key and value."""
    if not node.get_friendly_name().endswith(PACKED):
        return [node.data]
    return np.split(np.squeeze(node.data), 3)


def tensor_digest(values: npt.NDArray[Any]) -> str | None:
    """Return the digest of one constant, or None if it does not count (see the module's docstring)."""
    tensor = np.squeeze(np.asarray(values, dtype=np.float32))
    if tensor.ndim == 0 or tensor.size == 0 or float(tensor.min()) < _MASK:
        return None
    first = float(tensor.flat[0])
    if first in (0.0, 1.0) and np.all(tensor == first):
        return None  # Adding zeros, or multiplying by ones, changes nothing.
    orientations = [tensor, tensor.T] if tensor.ndim == 2 else [tensor]
    return min(_digest(np.ascontiguousarray(orientation)) for orientation in orientations)


def _digest(tensor: npt.NDArray[np.float32]) -> str:
    """Return the SHA-256 over shape and little-endian values."""
    state = hashlib.sha256(json.dumps(tensor.shape).encode())
    state.update(tensor.astype("<f4", copy=False).data)
    return state.hexdigest()


def _tokenizer_digest(assets: Assets) -> str:
    """Return the SHA-256 over vocabulary, merges and the tokens of the probes."""
    backend = tokenizers.Tokenizer.from_str(assets.tokenizer)
    model = json.loads(assets.tokenizer)["model"]
    merges = [pair.split(" ", 1) if isinstance(pair, str) else pair for pair in model.get("merges", [])]
    parts = {
        "vocabulary": sorted(backend.get_vocab(with_added_tokens=True).items(), key=lambda entry: entry[1]),
        "merges": merges,
        "probes": Tokenizer(backend, assets.text).encode(_PROBES).ids,
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
