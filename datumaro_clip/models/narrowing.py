"""The last layer's work for the one token that becomes the vector, instead of for all of them."""

from __future__ import annotations

from typing import Any

_FIRST = 0
_TOKEN_AXIS = 1
# Operations that compute each token for itself, where they meet the conditions below.
_POINTWISE = {"Add", "Divide", "Gelu", "Multiply", "Relu", "Sigmoid", "Subtract", "Swish", "Tanh"}


def narrow_to_first_token(model: Any) -> bool:
    """Let an image encoder that keeps the first token alone compute nothing of the others after its last attention.

    A vision transformer's vector is made from its class token (Dosovitskiy et al., 2021). All that follows the last
    attention treats each token for itself, so that token can be picked before it. That is three quarters of a layer.

    Parameters
    ----------
    model : openvino.Model
        Pictures of a fixed size; changed in place, its answers are the same.

    Returns
    -------
    bool
        Whether there was anything to save: an encoder may pool its tokens otherwise.
    """
    pick = _pick_of_first_token(model)
    if pick is None:
        return False
    inside = _computed_for_the_pick_alone(model, pick)
    for node in inside.values():
        _take_first_tokens(node, inside)
    model.validate_nodes_and_infer_types()
    return bool(inside)


def _pick_of_first_token(model: Any) -> Any | None:
    """The last operation that takes the first of several tokens."""
    picks = [node for node in model.get_ordered_ops() if node.get_type_name() == "Gather" and _picks_first_token(node)]
    return picks[-1] if picks else None


def _picks_first_token(node: Any) -> bool:
    index, axis = (_value(node.input_value(port).get_node()) for port in (1, 2))
    return index == _FIRST and axis == _TOKEN_AXIS and _has_tokens(node.input_value(0))


def _computed_for_the_pick_alone(model: Any, pick: Any) -> dict[str, Any]:
    """Operations, by name, that compute each token for itself and whose results only the pick needs."""
    inside: dict[str, Any] = {}
    for node in reversed(model.get_ordered_ops()):
        users = [port.get_node() for output in node.outputs() for port in output.get_target_inputs()]
        wanted = [user.get_friendly_name() in inside or user == pick for user in users]
        if wanted and all(wanted) and _keeps_tokens_apart(node):
            inside[node.get_friendly_name()] = node
    return inside


def _keeps_tokens_apart(node: Any) -> bool:
    kind = node.get_type_name()
    if not all(_has_tokens(output) for output in node.outputs()):
        return False
    if kind == "MatMul":
        attributes = node.get_attributes()
        return not attributes["transpose_a"] and len(node.input_value(1).get_partial_shape()) == 2
    if kind == "MVN":
        return _value(node.input_value(1).get_node()) in (-1, 2)
    return kind in _POINTWISE


def _take_first_tokens(node: Any, inside: dict[str, Any]) -> None:
    """Pick the first token of whatever comes from outside."""
    from openvino import opset13 as ops

    for port in node.inputs():
        source = port.get_source_output()
        if source.get_node().get_friendly_name() not in inside and _has_tokens(source):
            first = ops.gather(source, ops.constant([_FIRST], dtype="int64"), ops.constant(_TOKEN_AXIS, dtype="int64"))
            port.replace_source_output(first.output(0))


def _has_tokens(output: Any) -> bool:
    """Whether something is (B, T, C) with T above 1."""
    shape = output.get_partial_shape()
    return len(shape) == 3 and shape[1].is_static and shape[1].get_length() > 1


def _value(node: Any) -> int | None:
    """A constant's one integer; None if it is none."""
    if node.get_type_name() != "Constant" or node.get_data().size != 1:
        return None
    return int(node.get_data().reshape(()))
