"""Python and NumPy values as JSON and back, exactly."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

# The key that marks an object as a value of a type that JSON does not have.
TAG = "$"

_LARGEST = 2**63
# How deep containers may be nested: deeper than data is, and not so deep that Python's recursion could fail on reading.
_DEEPEST = 50
# NumPy's kinds of plain numbers, dates, strings and bytes.
_KINDS = "biufcmMSU"


class CodecError(ValueError):
    """A value that a store cannot keep, or a payload that means nothing; the caller names the item."""


def encode_value(value: Any, deepest: int = _DEEPEST) -> Any:
    """Return a JSON value from which :func:`decode_value` makes an equal value of the same type.

    Raises
    ------
    CodecError
        If the value is of a type that is not data, as a function or an object of a foreign class, or holds values in
        values more than ``deepest`` deep.
    """
    if isinstance(value, list | tuple | dict | set | frozenset):
        if not deepest:
            raise CodecError(f"values in values, more than {_DEEPEST} deep")
        return _encode_container(value, lambda element: encode_value(element, deepest - 1))
    encode = _ENCODERS.get(type(value)) or _encoder_by_base(value)
    return encode(value)


def decode_value(value: Any, deepest: int = _DEEPEST) -> Any:
    """Return the value that was encoded.

    Raises
    ------
    CodecError
        If it was not made by :func:`encode_value`.
    """
    if not isinstance(value, list | dict):
        return value
    if not deepest:
        raise CodecError(f"values in values, more than {_DEEPEST} deep")

    def inside(element: Any) -> Any:
        return decode_value(element, deepest - 1)

    if isinstance(value, list):
        return [inside(element) for element in value]
    if TAG not in value:
        return {key: inside(element) for key, element in value.items()}
    kind = value[TAG]
    try:
        if kind in ("tuple", "set"):
            elements = (inside(element) for element in value["v"])
            return tuple(elements) if kind == "tuple" else set(elements)
        if kind == "dict":
            return {inside(key): inside(element) for key, element in value["v"]}
        return _DECODERS[kind](value)
    except CodecError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as exc:
        raise CodecError(f"a value of the kind {kind!r} that cannot be read: {exc!r}") from exc


def encode_array(array: npt.NDArray[Any], kind: str = "array") -> dict[str, Any]:
    """Return a NumPy array's bytes, dtype and shape as JSON."""
    if array.dtype.kind not in _KINDS or not array.dtype.itemsize:
        raise CodecError(f"an array of dtype {array.dtype}; only plain numbers, strings and bytes can be kept")
    data = np.ascontiguousarray(array)
    text = base64.b64encode(data.tobytes()).decode()
    return {TAG: kind, "dtype": array.dtype.str, "shape": list(array.shape), "v": text}


def _decode_array(value: Mapping[str, Any]) -> npt.NDArray[Any]:
    dtype, shape = plain_dtype(value["dtype"]), value["shape"]
    data = base64.b64decode(value["v"], validate=True)
    if not all(type(side) is int and side >= 0 for side in shape) or math.prod(shape) * dtype.itemsize != len(data):
        raise CodecError(f"an array of shape {shape} and type {dtype} in {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape).copy() if data else np.zeros(shape, dtype)


def plain_dtype(name: Any) -> np.dtype[Any]:
    """Return the NumPy type of a name that a payload gives.

    Raises
    ------
    CodecError
        If it is none, or of anything but plain numbers, dates, strings and bytes.
    """
    try:
        dtype = np.dtype(name) if isinstance(name, str) else None
    except (TypeError, ValueError):
        dtype = None
    if dtype is None or dtype.kind not in _KINDS or not dtype.itemsize:
        raise CodecError(f"an array of the type {name!r}")
    return dtype


def _encode_container(value: Any, encode: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        if all(type(key) is str and not key.startswith(TAG) for key in value):
            return {key: encode(element) for key, element in value.items()}
        return {TAG: "dict", "v": [[encode(key), encode(element)] for key, element in value.items()]}
    if isinstance(value, set | frozenset):
        # Sorted, so that equal sets have equal bytes in every process.
        return {TAG: "set", "v": [encode(e) for e in sorted(value, key=lambda e: (type(e).__name__, repr(e)))]}
    elements = [encode(element) for element in value]
    return elements if isinstance(value, list) else {TAG: "tuple", "v": elements}


def _encoder_by_base(value: Any) -> Callable[[Any], Any]:
    """Return the encoder of a subclass's value: that of the builtin or NumPy type that it is."""
    for base, encode in ((np.generic, _ENCODERS[np.generic]), (np.ndarray, encode_array), *_ENCODERS.items()):
        if isinstance(value, base):
            return lambda value: encode(base(value) if base in _PLAIN else value)
    raise CodecError(f"a {type(value).__name__}, which is not data")


_PLAIN = (str, int, float)

_ENCODERS: dict[type, Callable[[Any], Any]] = {
    type(None): lambda value: value,
    bool: lambda value: value,
    str: lambda value: value,
    int: lambda value: value if -_LARGEST <= value < _LARGEST else {TAG: "int", "v": str(value)},
    float: lambda value: value if math.isfinite(value) else {TAG: "float", "v": str(value)},
    bytes: lambda value: {TAG: "bytes", "v": base64.b64encode(value).decode()},
    np.ndarray: encode_array,
    np.generic: lambda value: encode_array(np.asarray(value), "scalar"),
}

_DECODERS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "bytes": lambda value: base64.b64decode(value["v"], validate=True),
    "array": _decode_array,
    "scalar": lambda value: _decode_array(value)[()],
    "float": lambda value: float(value["v"]),
    "int": lambda value: int(value["v"]),
}
