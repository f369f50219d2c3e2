"""Bounds that a wrong formula would break: every exact score lies within them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmarks.vectors import clip_like_rows
from datumaro_clip.index.codes import bounds, centre_of, encode, encode_queries, rotated
from datumaro_clip.similarity import exact_scores
from datumaro_clip.similarity.kernels import byte_products
from datumaro_clip.vectors import unit_rows


@given(
    st.integers(0, 2**32),
    st.sampled_from([1, 2, 3, 8, 96, 512, 768]),
    st.sampled_from([np.float32, np.float16]),
    st.floats(0, 60),
    st.booleans(),
)
def test_every_exact_score_lies_within_its_bounds(seed: int, dimension: int, dtype: type, outlier: float, equal: bool):
    """Of rows with one huge column, of equal rows, of any dimension and dtype, with any centre."""
    random = np.random.default_rng(seed)
    rows = random.standard_normal((40, dimension))
    rows[:, 0] += outlier
    rows = unit_rows(np.broadcast_to(rows[:1], rows.shape) if equal else rows).astype(dtype)
    queries = unit_rows(np.concatenate([random.standard_normal((4, dimension)), rows[:3].astype(np.float32)]))
    centre = centre_of(rows) if seed % 2 else np.zeros(dimension, np.float32)
    lower, upper = bounds(encode_queries(queries), encode(rows, centre))
    exact = np.stack([exact_scores(query, rows) for query in queries])
    assert (lower <= exact).all()
    assert (exact <= upper).all()


@given(arrays(np.float32, (3, 7), elements=st.floats(-1, 1, width=32)))
@example(np.full((3, 7), 1.2e-25, np.float32))
@example(np.full((3, 7), 1e-45, np.float32))
def test_bounds_hold_for_queries_of_any_length(queries: np.ndarray):
    """Also for a query of zeros, and for numbers whose squares, or whose scale, would be zeros."""
    rows = unit_rows(np.random.default_rng(0).standard_normal((20, 7)))
    lower, upper = bounds(encode_queries(queries), encode(rows, centre_of(rows)))
    exact = np.stack([exact_scores(query, rows) for query in queries])
    assert (lower <= exact).all()
    assert (exact <= upper).all()


def test_bounds_of_vectors_like_clips_are_narrow():
    """A bound that is true but wide would let through what it is there to rule out."""
    rows = clip_like_rows(2000)
    lower, upper = bounds(encode_queries(rows[:20]), encode(rows, centre_of(rows)))
    assert np.median(upper - lower) < 0.03


@pytest.mark.parametrize("dimension", [1, 2, 3, 8, 12, 512, 768])
def test_rotating_changes_no_dot_product(dimension: int):
    rows = np.random.default_rng(0).standard_normal((10, dimension))
    np.testing.assert_allclose(rotated(rows) @ rotated(rows).T, rows @ rows.T, rtol=1e-12)


def test_rotating_spreads_one_large_column():
    row = np.zeros((1, 512))
    row[0, 133] = 1
    assert np.abs(rotated(row)).max() < 0.1


@pytest.mark.parametrize("queries", [0, 1, 2, 5, 33])
@pytest.mark.parametrize("rows", [0, 1, 700])
def test_byte_products_are_exact(queries: int, rows: int):
    random = np.random.default_rng(0)
    left, right = (random.integers(-127, 128, (n, 512), np.int8) for n in (queries, rows))
    found = byte_products(left, right)
    assert found.shape == (queries, rows)
    np.testing.assert_array_equal(found, left.astype(np.int64) @ right.T.astype(np.int64))
