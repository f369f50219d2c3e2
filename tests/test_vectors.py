"""Vector spaces, and the vectors that items carry."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from datumaro_clip.errors import InvalidVectorError, SpaceMismatchError
from datumaro_clip.vectors import Embedding, ItemKey, VectorSpace, is_unit_rows, require_same_space, unit_rows

SPACE = "sha256:" + "a" * 64
# Subnormal numbers are zero in a process where a library has said so, as OpenVINO and torch may.
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False)


def embedding(*values: float, space: str = SPACE) -> Embedding:
    """An embedding along the values given."""
    return Embedding(unit_rows([values])[0], space, "test", "f32")


# Unit rows


def test_no_rows_are_unit_rows() -> None:
    assert unit_rows(np.empty((0, 5))).shape == (0, 5)
    assert is_unit_rows(np.empty((0, 5)))


@settings(max_examples=300)
@given(hnp.arrays(np.float32, st.tuples(st.integers(0, 5), st.integers(1, 8)), elements=FINITE))
def test_rows_are_unit_and_keep_their_direction_or_are_refused(matrix: np.ndarray) -> None:
    """Rows near the limits of float32 overflow, vanish, or become NaN."""
    if not np.abs(matrix).max(axis=1, initial=0).all():
        with pytest.raises(InvalidVectorError, match="has no direction"):
            unit_rows(matrix)
        return
    rows = unit_rows(matrix)
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    np.testing.assert_allclose(np.linalg.norm(rows.astype(np.float64), axis=1), 1, atol=1e-6)
    exact = matrix.astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    np.testing.assert_allclose(rows, exact, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_named(bad: float) -> None:
    with pytest.raises(InvalidVectorError, match="row 1 of 2"):
        unit_rows([[1.0, 0.0], [bad, 1.0]])
    assert not is_unit_rows(np.array([[bad, 1.0]]))


@pytest.mark.parametrize("shape", [(), (3,), (1, 2, 3)])
def test_another_shape_than_a_matrix_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidVectorError, match=r"wanted a matrix of shape \(N, D\)"):
        unit_rows(np.ones(shape))


def test_unit_rows_does_not_share_memory_with_its_input() -> None:
    matrix = np.eye(3, dtype=np.float32)
    assert not np.shares_memory(unit_rows(matrix), matrix)


def test_float16_rounding_still_counts_as_unit() -> None:
    rows = unit_rows(np.random.default_rng(0).standard_normal((100, 512)))
    assert is_unit_rows(rows.astype(np.float16))
    assert not is_unit_rows(rows * 1.01)


# Spaces


def test_spaces_differ_by_fingerprint_and_dimension_but_not_by_name() -> None:
    space = VectorSpace(SPACE, 4, "one")
    assert space == VectorSpace(SPACE, 4, "two")
    require_same_space(space, VectorSpace(SPACE, 4, "two"))
    for other in (VectorSpace(SPACE, 5, "one"), VectorSpace("name:x", 4, "one")):
        with pytest.raises(SpaceMismatchError, match="cannot be compared"):
            require_same_space(space, other)


def test_an_item_key_reads_as_id_and_subset() -> None:
    assert str(ItemKey("a/b", "train")) == "a/b@train"


# Embeddings


@pytest.mark.parametrize("vector", [[], [0.0, 0.0], [np.nan, 1.0], [2.0, 0.0], [[1.0, 0.0]], 1.0])
def test_what_is_no_unit_vector_is_refused(vector: Any) -> None:
    with pytest.raises(InvalidVectorError):
        Embedding(np.array(vector, np.float32), SPACE, "test", "f32")


def test_an_embedding_owns_a_read_only_copy() -> None:
    vector = np.array([1.0, 0.0], np.float32)
    held = Embedding(vector, SPACE, "test", "f32")
    vector[:] = 0
    assert held.vector.tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match="read-only"):
        held.vector[0] = 5


def test_comparing_gives_one_boolean_and_equal_ones_hash_alike() -> None:
    """An array in an item's attributes makes the comparison of two items raise."""
    one, same, other = embedding(1, 2), embedding(1, 2), embedding(2, 1)
    assert (one == same, one == other, one == "text", {one} == {same}) == (True, False, False, True)
    assert one != embedding(1, 2, space="name:x")


@pytest.mark.parametrize("remake", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_copies_and_pickles_are_equal_and_still_read_only(remake: Any) -> None:
    again = remake(embedding(1, 2, 3))
    assert again == embedding(1, 2, 3)
    assert not again.vector.flags.writeable


def test_it_converts_to_an_array_of_any_type() -> None:
    held = embedding(3, 4)
    assert np.asarray(held).tolist() == held.vector.tolist()
    assert np.asarray(held, dtype=np.float64).dtype == np.float64
    changed = np.array(held)
    changed[0] = 9
    assert held == embedding(3, 4)
    assert len(held) == 2


def test_it_is_read_back_from_the_mapping_that_formats_write() -> None:
    held = embedding(1, 2, 3)
    mapping = json.loads(json.dumps({**asdict(held), "vector": held.vector.tolist()}))
    assert Embedding.from_attribute(mapping) == held
    assert Embedding.from_attribute(held) is held


@pytest.mark.parametrize(
    "value", [None, [1.0], {}, {"vector": [1.0]}, {"vector": "x", "space": SPACE, "model": "", "precision": ""}]
)
def test_an_attribute_that_holds_something_else_is_refused(value: Any) -> None:
    with pytest.raises(InvalidVectorError, match="clip_embedding"):
        Embedding.from_attribute(value)
