"""Compute the end of an encoder only for the one token that becomes the vector, instead of for all tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_TOKEN_AXIS = 1
# Operations that compute each token independently of the others.
_POINTWISE = {"Add", "Divide", "Gelu", "Multiply", "Relu", "Sigmoid", "Subtract", "Swish", "Tanh"}


def compute_used_token_only(model: Any) -> bool:
    """Move the choice of the one token that becomes the vector to just after the last attention.

    A CLIP vector is made from one token: a picture's class token, a text's last one (Radford et al., 2021). The
    operations after the last attention compute each token independently, so the token can be picked before them. That
    saves three quarters of a layer.

    Parameters
    ----------
    model : openvino.Model
        One output; changed in place, its answers stay the same.

    Returns
    -------
    bool
        Whether the graph was changed; an encoder that pools its tokens in another way stays as it is.
    """
    pick = next(_picks(model), None)
    if pick is None:
        return False
    inside = _computed_for(pick, model)
    for node in inside.values():
        _pick_what_comes_from_outside(node, inside, pick)
    if inside:
        pick.replace_by_its_only_token()
        model.validate_nodes_and_infer_types()
    return bool(inside)


@dataclass(frozen=True)
class _Pick:
    """A Gather that takes one token of each row of (B, T, C), by its index in the row or among all B·T tokens.

    Attributes
    ----------
    node : openvino.Node
        The Gather; its output is (B, C).
    user : openvino.Node
        The node that takes the tokens: the Gather itself, or a reshape to (B·T, C) before it.
    """

    node: Any
    user: Any

    @property
    def tokens(self) -> Any:
        """The output (B, T, C) from which one token is taken."""
        return self.user.input_value(0)

    def of(self, source: Any) -> Any:
        """Take the same token from another output (B, T, C), as (B, 1, C)."""
        from openvino import opset13 as ops

        index, axis = self.node.input_value(1), ops.constant(_TOKEN_AXIS, dtype="int64")
        if self.user == self.node:
            return ops.gather(source, ops.reshape(index, [1], special_zero=False), axis).output(0)
        flat = ops.reshape(source, [-1, _width(source)], special_zero=False)
        rows = ops.gather(flat, index, ops.constant(0, dtype="int64"))
        return ops.unsqueeze(rows, axis).output(0)

    def replace_by_its_only_token(self) -> None:
        """Replace the Gather by a reshape, once :attr:`tokens` are (B, 1, C)."""
        from openvino import opset13 as ops

        rows = ops.reshape(self.tokens, [-1, _width(self.tokens)], special_zero=False)
        self.node.output(0).replace(rows.output(0))


def _picks(model: Any) -> Iterator[_Pick]:
    """Yield the Gathers that take one token of each row, the last in the graph first."""
    for node in reversed(model.get_ordered_ops()):
        if node.get_type_name() != "Gather":
            continue
        axis, source = _value(node.input_value(2)), node.input_value(0).get_node()
        if axis == _TOKEN_AXIS and _value(node.input_value(1)) is not None and _has_tokens(node.input_value(0)):
            yield _Pick(node, node)
        elif axis == 0 and source.get_type_name() == "Reshape" and _flattens(source):
            yield _Pick(node, source)


def _computed_for(pick: _Pick, model: Any) -> dict[str, Any]:
    """Return the operations, by name, that compute tokens independently and whose results only the pick needs."""
    inside: dict[str, Any] = {}
    if users(pick.user) != [pick.node] and pick.user != pick.node:
        return inside
    for node in reversed(model.get_ordered_ops()):
        wanted = [user.get_friendly_name() in inside or user == pick.user for user in users(node)]
        if wanted and all(wanted) and _keeps_tokens_apart(node):
            inside[node.get_friendly_name()] = node
    return inside


def _keeps_tokens_apart(node: Any) -> bool:
    kind = node.get_type_name()
    if not all(_has_tokens(output) for output in node.outputs()):
        return False
    if kind == "MatMul":
        return not node.get_attributes()["transpose_a"] and len(node.input_value(1).get_partial_shape()) == 2
    if kind == "MVN":
        return _value(node.input_value(1)) in (-1, 2)
    return kind in _POINTWISE


def _pick_what_comes_from_outside(node: Any, inside: dict[str, Any], pick: _Pick) -> None:
    for port in node.inputs():
        source = port.get_source_output()
        if source.get_node().get_friendly_name() not in inside and _has_tokens(source):
            port.replace_source_output(pick.of(source))


def users(node: Any) -> list[Any]:
    """Return the nodes that take a node's outputs."""
    return [port.get_node() for output in node.outputs() for port in output.get_target_inputs()]


def _has_tokens(output: Any) -> bool:
    """Return whether an output is (B, T, C) with T other than 1, and C known."""
    shape = output.get_partial_shape()
    return len(shape) == 3 and shape[1] != 1 and shape[2].is_static


def _flattens(node: Any) -> bool:
    """Return whether a reshape turns (B, T, C) into (B·T, C)."""
    return _has_tokens(node.input_value(0)) and len(node.output(0).get_partial_shape()) == 2


def _width(output: Any) -> int:
    return int(output.get_partial_shape()[2].get_length())


def _value(output: Any) -> int | None:
    """Return the one integer of a constant; None for anything else."""
    node = output.get_node()
    if node.get_type_name() != "Constant" or node.get_data().size != 1:
        return None
    return int(node.get_data().reshape(()))
