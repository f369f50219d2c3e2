"""A fingerprint is equal if and only if two vectors may be compared."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from openvino import opset13 as ops

from datumaro_clip.model.making.assets import Assets
from datumaro_clip.model.making.fingerprint import fingerprint, tensor_digest
from datumaro_clip.model.making.graphs import RawEncoders
from datumaro_clip.texts import TextSettings

GOLDEN = "sha256:67fc001b9f8525c75f9fcee899b519335aba0d052f1ea0355de55d68dcd57ba9"
WEIGHTS = np.arange(12, dtype=np.float32).reshape(3, 4) / 7


def graph(*weights: np.ndarray) -> Any:
    """An encoder that does nothing but hold its weights."""
    node = start = ops.parameter([-1, 3], np.float32)
    for weight in weights:
        node = ops.matmul(node, ops.constant(weight), False, node is not start)
    return ov.Model([node], [start], "encoder")


def encoders(weight: np.ndarray = WEIGHTS) -> RawEncoders:
    return RawEncoders(graph(weight), graph(WEIGHTS + 1))


def tokenizer(**changes: Any) -> str:
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}
    return json.dumps({"version": "1.0", "added_tokens": [], "model": model, **changes})


ASSETS = Assets(
    family="clip",
    tokenizer=tokenizer(),
    preprocessor={"size": {"height": 8, "width": 8}, "do_center_crop": False, "do_normalize": False},
    text=TextSettings(77, "longest", 0),
    architecture={"text_config": {"hidden_act": "quick_gelu"}},
)
ORIGINAL = fingerprint(encoders(), ASSETS)


def test_it_is_a_sha256_and_stays_what_it_is() -> None:
    """Golden: another value means that every store and cache of version 1 becomes useless."""
    assert ORIGINAL == GOLDEN


@pytest.mark.parametrize(
    "assets",
    [
        replace(ASSETS, tokenizer=tokenizer(truncation=None, padding=None)),
        replace(
            ASSETS, tokenizer=tokenizer(model={"type": "BPE", "vocab": {"ab": 2, "b": 1, "a": 0}, "merges": ["a b"]})
        ),
        replace(ASSETS, preprocessor={**ASSETS.preprocessor, "processor_class": "CLIPProcessor"}),
        replace(ASSETS, preprocessor={**ASSETS.preprocessor, "crop_rounding": "down"}),
        replace(ASSETS, text=replace(ASSETS.text, attention_mask=False)),
    ],
)
def test_another_way_of_writing_the_same_is_the_same_space(assets: Assets) -> None:
    assert fingerprint(encoders(), assets) == ORIGINAL


@pytest.mark.parametrize(
    "assets",
    [
        replace(ASSETS, tokenizer=tokenizer(normalizer={"type": "Lowercase"})),
        replace(ASSETS, tokenizer=tokenizer(model={"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": []})),
        replace(ASSETS, preprocessor={**ASSETS.preprocessor, "resample": 2}),
        replace(ASSETS, preprocessor={**ASSETS.preprocessor, "rescale_factor": 1.0}),
        replace(ASSETS, preprocessor={**ASSETS.preprocessor, "crop_rounding": "half_to_even"}),
        replace(ASSETS, text=replace(ASSETS.text, padding="max_length")),
        replace(ASSETS, text=replace(ASSETS.text, lowercase=True)),
        replace(ASSETS, architecture={"text_config": {"hidden_act": "gelu"}}),
    ],
)
def test_whatever_changes_vectors_is_another_space(assets: Assets) -> None:
    assert fingerprint(encoders(), assets) != ORIGINAL


def test_one_weight_that_differs_by_one_bit_is_another_space() -> None:
    weight = WEIGHTS.copy()
    weight[1, 2] = np.nextafter(weight[1, 2], np.float32(9))
    assert fingerprint(encoders(weight), ASSETS) != ORIGINAL


def test_pictures_and_texts_do_not_change_places() -> None:
    swapped = RawEncoders(encoders().text, encoders().image)
    assert fingerprint(swapped, ASSETS) != ORIGINAL


@given(arrays.arrays(np.float32, arrays.array_shapes(min_dims=2, max_dims=2), elements=st.floats(-9, 9, width=32)))
def test_an_exporter_may_transpose_and_broadcast(weight: np.ndarray) -> None:
    digest = tensor_digest(weight)
    assert tensor_digest(weight.T) == digest
    assert tensor_digest(weight[None, :, None]) == digest


@pytest.mark.parametrize("constant", [np.float32(0.125), np.zeros((2, 3)), np.ones(4), np.full((3, 3), -1e9)])
def test_what_exporters_add_or_drop_does_not_count(constant: np.ndarray) -> None:
    assert tensor_digest(constant) is None


def test_half_precision_weights_count_as_what_they_are_in_float32() -> None:
    half = WEIGHTS.astype(np.float16)
    assert tensor_digest(half) == tensor_digest(half.astype(np.float32))
