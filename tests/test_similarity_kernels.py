"""Kernels for float16 rows, beside NumPy's float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datumaro_clip.similarity import kernels
from datumaro_clip.similarity.kernels import half_products, squared_lengths, widened


def halves(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float16)


def test_halves_widen_exactly() -> None:
    """Subnormal numbers, signs of zero, or the largest half come out otherwise than NumPy has them."""
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)]
    np.testing.assert_array_equal(widened(finite).view(np.uint32), finite.astype(np.float32).view(np.uint32))
    assert not np.isfinite(widened(every[~np.isfinite(every)])).any()


@pytest.mark.parametrize(
    ("queries", "rows", "columns"), [(0, 5, 8), (1, 0, 8), (1, 1, 1), (2, 9, 33), (3, 40, 512), (65, 7, 513)]
)
def test_products_are_those_of_float64(queries: int, rows: int, columns: int) -> None:
    left, right = halves(queries, columns, 1), halves(rows, columns, 2)
    got = half_products(left, right)
    assert (got.shape, got.dtype) == ((queries, rows), np.float32)
    np.testing.assert_allclose(got, left.astype(float) @ right.astype(float).T, atol=columns * 2.0**-18)


def test_every_other_row_of_a_read_only_map_is_multiplied_right(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", halves(40, 16))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r", allow_pickle=False)[::2]
    np.testing.assert_allclose(squared_lengths(mapped), (mapped.astype(float) ** 2).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(
        half_products(mapped[:1], mapped)[0], mapped.astype(float) @ mapped[0].astype(float), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_lengths_of_no_rows_are_none_and_of_a_damaged_row_not_finite(dtype: type) -> None:
    assert squared_lengths(np.empty((0, 4), dtype)).shape == (0,)
    rows = np.eye(3, 4, dtype=dtype)
    rows[1, 0] = np.nan
    rows[2, 0] = np.inf
    assert np.isfinite(squared_lengths(rows)).tolist() == [True, False, False]


def test_float32_is_accumulated_in_float64_without_numkong_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "numkong", None)
    rows = np.array([[1e8, 1, -1e8]], np.float32)
    assert kernels.row_dots(rows, np.ones_like(rows)).tolist() == [1]
    assert kernels.row_dots(rows[:0], rows[:0]).tolist() == []
