"""The last layer works for the one token that is used, and the answers stay the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from datumaro_clip.models.graphs import compute_f32
from datumaro_clip.models.narrowing import narrow_to_first_token

TOKENS, WIDTH = 5, 8


def constant(*shape: int) -> Any:
    return ops.constant(np.random.default_rng(len(shape)).standard_normal(shape, dtype=np.float32))


def layer(tokens: Any) -> Any:
    """What follows an attention in a transformer: a normalisation and two products, around both a short cut."""
    last = ops.constant([-1], dtype="int64")
    normal = ops.mvn(tokens, last, normalize_variance=True, eps=1e-5, eps_mode="INSIDE_SQRT")
    wide = ops.matmul(ops.multiply(normal, constant(1, 1, WIDTH)), constant(WIDTH, 9), False, False)
    wide = ops.gelu(ops.add(wide, constant(9)), "ERF")
    return ops.add(tokens, ops.matmul(wide, constant(9, WIDTH), False, False))


def attention(tokens: Any) -> Any:
    """Tokens that know of one another."""
    return ops.matmul(ops.softmax(ops.matmul(tokens, tokens, False, True), -1), tokens, False, False)


def encoder(pool: Callable[[Any], Any]) -> Any:
    pixels = ops.parameter(openvino.PartialShape([-1, TOKENS, WIDTH]), np.float32, name="pixels")
    pooled = pool(layer(attention(ops.add(pixels, constant(1, TOKENS, WIDTH)))))
    return openvino.Model([pooled], [pixels])


def pick(tokens: Any, index: int = 0) -> Any:
    return ops.gather(tokens, ops.constant(index, dtype="int64"), ops.constant(1, dtype="int64"))


def mean(tokens: Any) -> Any:
    return ops.reduce_mean(tokens, ops.constant([1], dtype="int64"))


def answers(model: Any) -> np.ndarray:
    pixels = np.random.default_rng(0).standard_normal((3, TOKENS, WIDTH), dtype=np.float32)
    return compute_f32(model, {"pixels": pixels})


def widest(model: Any, kind: str) -> int:
    """The most tokens that an operation of a kind works for."""
    shapes = [node.output(0).get_partial_shape() for node in model.get_ordered_ops() if node.get_type_name() == kind]
    return max(int(shape[1].get_length()) for shape in shapes)


def test_only_the_first_token_passes_the_last_layer() -> None:
    plain, narrowed = encoder(pick), encoder(pick)
    assert narrow_to_first_token(narrowed)
    assert (widest(plain, "Gelu"), widest(narrowed, "Gelu")) == (TOKENS, 1)
    np.testing.assert_array_equal(answers(narrowed), answers(plain))


@pytest.mark.parametrize(
    "pool",
    [
        mean,
        lambda tokens: pick(tokens, index=2),
        lambda tokens: ops.add(pick(tokens), mean(tokens)),
        lambda tokens: pick(attention(tokens)),
    ],
    ids=["mean", "another token", "first and mean", "attention"],
)
def test_an_encoder_that_needs_the_other_tokens_is_left_alone(pool: Callable[[Any], Any]) -> None:
    plain, narrowed = encoder(pool), encoder(pool)
    narrow_to_first_token(narrowed)
    assert widest(narrowed, "Gelu") == TOKENS
    np.testing.assert_array_equal(answers(narrowed), answers(plain))
