"""Any value that Datumaro may hold comes back from JSON equal, in value and type."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from codec_values import SCALARS, assert_identical, through_json
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from datumaro_clip.host.codec.values import CodecError, decode_value, encode_value

VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner)
        | st.sets(st.integers() | st.text())
        | st_numpy.arrays(st.sampled_from(["u1", "<i8", ">i2", "<f2", "f8", "?", "<U3", "S2"]), (2, 3))
    ),
    max_leaves=12,
)


@given(VALUES)
def test_any_value_comes_back(value: Any) -> None:
    assert_identical(decode_value(through_json(encode_value(value))), value)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"$": 1},
        {"$": "tuple", "v": []},
        {1: {(1, 2): b""}},
        np.float32(0.1),
        np.datetime64("2020-01-01"),
        np.zeros((0, 3), np.float32),
        np.array(5),
        2**70,
        -(2**63),
        -0.0,
        "\ud800",
        [math.nan, math.inf, -math.inf],
    ],
)
def test_values_that_json_has_no_word_for_come_back(value: Any) -> None:
    assert_identical(decode_value(through_json(encode_value(value))), value)


@pytest.mark.parametrize("value", [object(), lambda: 1, np.array([object()]), {"a": [object]}])
def test_what_is_not_data_is_refused(value: Any) -> None:
    with pytest.raises(CodecError):
        encode_value(value)


@pytest.mark.parametrize(
    "value",
    [
        {"$": "pickle", "v": ""},
        {"$": "array", "dtype": "|O", "shape": [1], "v": "AAAAAAAAAAA="},
        {"$": "array", "dtype": "<f4", "shape": [10**12], "v": "AAAA"},
        {"$": "array", "dtype": "<f4", "shape": [2], "v": "!"},
        {"$": "bytes"},
    ],
)
def test_nonsense_is_refused(value: Any) -> None:
    """Neither an object array nor a shape that the bytes do not fill is made."""
    with pytest.raises(CodecError):
        decode_value(value)
