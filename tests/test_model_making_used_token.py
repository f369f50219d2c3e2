"""The last layer computes only the one token that is used, and the answers stay the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from datumaro_clip.model.making.graphs import compute_f32
from datumaro_clip.model.making.used_token import compute_used_token_only

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
    """Tokens that depend on one another."""
    return ops.matmul(ops.softmax(ops.matmul(tokens, tokens, False, True), -1), tokens, False, False)


def encoder(pool: Callable[[Any], Any], tokens: int = TOKENS) -> Any:
    pixels = ops.parameter(openvino.PartialShape([-1, tokens, WIDTH]), np.float32, name="pixels")
    pooled = pool(layer(attention(ops.multiply(pixels, constant(1, 1, WIDTH)))))
    return openvino.Model([pooled], [pixels])


def pick(tokens: Any, index: int = 0) -> Any:
    return ops.gather(tokens, ops.constant(index, dtype="int64"), ops.constant(1, dtype="int64"))


def pick_flat(tokens: Any) -> Any:
    """Tokens 3, 0 and 1 of three rows of five, by their places among all."""
    flat = ops.reshape(tokens, [-1, WIDTH], special_zero=False)
    return ops.gather(flat, ops.constant([3, 5, 11], dtype="int64"), ops.constant(0, dtype="int64"))


def mean(tokens: Any) -> Any:
    return ops.reduce_mean(tokens, ops.constant([1], dtype="int64"))


def answers(model: Any) -> np.ndarray:
    pixels = np.random.default_rng(0).standard_normal((3, TOKENS, WIDTH), dtype=np.float32)
    return compute_f32(model, {"pixels": pixels})


def widest(model: Any) -> int:
    """Return how many tokens the layer computes; -1 if that is dynamic."""
    [gelu] = [node for node in model.get_ordered_ops() if node.get_type_name() == "Gelu"]
    tokens = gelu.output(0).get_partial_shape()[1]
    return int(tokens.get_length()) if tokens.is_static else -1


@pytest.mark.parametrize("tokens", [TOKENS, -1])
@pytest.mark.parametrize(
    "pool",
    [pick, lambda tokens: pick(tokens, 2), lambda tokens: pick(tokens, -1), pick_flat],
    ids=["first", "third", "last", "each row's own"],
)
def test_only_the_token_that_is_used_passes_the_last_layer(pool: Callable[[Any], Any], tokens: int) -> None:
    plain, narrowed = encoder(pool, tokens), encoder(pool, tokens)
    assert compute_used_token_only(narrowed)
    assert (widest(plain), widest(narrowed)) == (tokens, 1)
    np.testing.assert_array_equal(answers(narrowed), answers(plain))


@pytest.mark.parametrize(
    "pool",
    [
        mean,
        lambda tokens: ops.add(pick(tokens), mean(tokens)),
        lambda tokens: ops.add(pick_flat(tokens), mean(tokens)),
        lambda tokens: pick(attention(tokens)),
    ],
    ids=["mean", "first and mean", "own and mean", "attention"],
)
def test_an_encoder_that_needs_the_other_tokens_is_left_alone(pool: Callable[[Any], Any]) -> None:
    plain, narrowed = encoder(pool), encoder(pool)
    assert not compute_used_token_only(narrowed)
    assert widest(narrowed) == TOKENS
    np.testing.assert_array_equal(answers(narrowed), answers(plain))
