"""What a store makes of a value, and whether two values are the same; strategies of the values that it must keep."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from datumaro_clip.store.base import from_line, to_line
from datumaro_clip.vectors import ItemKey

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
LINE = ItemKey("a", "b")


def through_json(value: Any) -> Any:
    """What a value is after a store has written and read it."""
    return from_line(to_line(LINE, {"value": value}))[1]["value"]


def assert_identical(found: Any, wanted: Any) -> None:
    """Equal in value and in type, all the way down; NaN equals NaN."""
    assert type(found) is type(wanted)
    if isinstance(wanted, np.ndarray | np.generic):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
    elif isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key in wanted:
            assert_identical(found[key], wanted[key])
    elif isinstance(wanted, list | tuple):
        assert len(found) == len(wanted)
        for mine, theirs in zip(found, wanted, strict=True):
            assert_identical(mine, theirs)
    else:
        assert found == wanted or (math.isnan(found) and math.isnan(wanted))


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]))
    | st.binary()
)
