"""Python and NumPy values as JSON and back, exactly."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

# The key that marks an object as something JSON has no word for.
TAG = "$"

_LARGEST = 2**63


class CodecError(ValueError):
    """A value that a store cannot keep, or a payload that means nothing; the item is named by the caller."""


def encode_value(value: Any) -> Any:
    """A JSON value from which :func:`decode_value` makes an equal value of the same type.

    Raises
    ------
    CodecError
        If the value is of a type that is not data, as a function or an object of a foreign class.
    """
    encode = _ENCODERS.get(type(value)) or _encoder_by_base(value)
    return encode(value)


def decode_value(value: Any) -> Any:
    """The value that was encoded.

    Raises
    ------
    CodecError
        If it was not made by :func:`encode_value`.
    """
    if isinstance(value, list):
        return [decode_value(element) for element in value]
    if not isinstance(value, dict):
        return value
    if TAG not in value:
        return {key: decode_value(element) for key, element in value.items()}
    decode = _DECODERS.get(value[TAG])
    if decode is None:
        raise CodecError(f"a value of the unknown kind {value[TAG]!r}")
    try:
        return decode(value)
    except (KeyError, TypeError, ValueError) as exc:
        raise CodecError(f"a {value[TAG]} that cannot be read: {exc!r}") from exc


def encode_array(array: npt.NDArray[Any], kind: str = "array") -> dict[str, Any]:
    """A NumPy array's bytes, with what they mean."""
    if array.dtype.hasobject or array.dtype.names is not None:
        raise CodecError(f"an array of dtype {array.dtype}; only plain numbers, strings and bytes can be kept")
    data = np.ascontiguousarray(array)
    text = base64.b64encode(data.tobytes()).decode()
    return {TAG: kind, "dtype": array.dtype.str, "shape": list(array.shape), "v": text}


def _decode_array(value: Mapping[str, Any]) -> npt.NDArray[Any]:
    dtype = np.dtype(value["dtype"])
    if dtype.hasobject:
        raise CodecError("an object array")
    data = base64.b64decode(value["v"], validate=True)
    return np.frombuffer(data, dtype).reshape(value["shape"]).copy() if data else np.empty(value["shape"], dtype)


def _encode_float(value: float) -> Any:
    return value if math.isfinite(value) else {TAG: "float", "v": str(value)}


def _encode_int(value: int) -> Any:
    return value if -_LARGEST <= value < _LARGEST else {TAG: "int", "v": str(value)}


def _encode_dict(value: Mapping[Any, Any]) -> Any:
    if all(type(key) is str and not key.startswith(TAG) for key in value):
        return {key: encode_value(element) for key, element in value.items()}
    return {TAG: "dict", "v": [[encode_value(key), encode_value(element)] for key, element in value.items()]}


def _encode_set(value: set[Any]) -> Any:
    # Sorted, so that equal sets have equal bytes in every process.
    return {TAG: "set", "v": [encode_value(e) for e in sorted(value, key=lambda e: (type(e).__name__, repr(e)))]}


def _encoder_by_base(value: Any) -> Callable[[Any], Any]:
    """How to encode a value of a subclass: as the builtin or NumPy type that it is."""
    for base, encode in ((np.generic, _ENCODERS[np.generic]), (np.ndarray, encode_array), *_ENCODERS.items()):
        if isinstance(value, base):
            return lambda value: encode(base(value) if base in _PLAIN else value)
    raise CodecError(f"a {type(value).__name__}, which is not data")


def _items(value: Mapping[str, Any]) -> list[Any]:
    return [decode_value(element) for element in value["v"]]


_PLAIN = (str, int, float, tuple, dict, list)

_ENCODERS: dict[type, Callable[[Any], Any]] = {
    type(None): lambda value: value,
    bool: lambda value: value,
    str: lambda value: value,
    int: _encode_int,
    float: _encode_float,
    list: lambda value: [encode_value(element) for element in value],
    tuple: lambda value: {TAG: "tuple", "v": [encode_value(element) for element in value]},
    dict: _encode_dict,
    set: _encode_set,
    frozenset: _encode_set,
    bytes: lambda value: {TAG: "bytes", "v": base64.b64encode(value).decode()},
    np.ndarray: encode_array,
    np.generic: lambda value: encode_array(np.asarray(value), "scalar"),
}

_DECODERS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "tuple": lambda value: tuple(_items(value)),
    "set": lambda value: set(_items(value)),
    "dict": lambda value: {decode_value(key): decode_value(element) for key, element in value["v"]},
    "bytes": lambda value: base64.b64decode(value["v"], validate=True),
    "array": _decode_array,
    "scalar": lambda value: _decode_array(value)[()],
    "float": lambda value: float(value["v"]),
    "int": lambda value: int(value["v"]),
}
