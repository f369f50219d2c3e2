"""Top-k and pairs: the exact answers, whatever the shapes, the types, the blocks and the multiplier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datumaro_clip.errors import InvalidVectorError, OptionError
from datumaro_clip.similarity import approximate_pairs_above, approximate_top_k, exact_scores, pairs_above, top_k
from datumaro_clip.similarity import cells as cells_module
from datumaro_clip.similarity import narrow as narrow_module
from datumaro_clip.similarity import pairs as pairs_module
from datumaro_clip.similarity import threads as threads_module
from datumaro_clip.similarity import topk as topk_module
from datumaro_clip.similarity.narrow import narrow
from datumaro_clip.similarity.scores import HALF_SIEVE, NUMPY_SIEVE, FloatArray, Matrix, SelectedRows, Sieve
from datumaro_clip.vectors import unit_rows


def random_rows(rows: int, dimension: int, seed: int = 0) -> FloatArray:
    if not rows:
        return np.empty((0, dimension), np.float32)
    return unit_rows(np.random.default_rng(seed).standard_normal((rows, dimension)))


def rows_like_clip(rows: int, dimension: int = 64, seed: int = 0) -> FloatArray:
    """Rows with a common direction and a falling spectrum, and near-copies among them."""
    random = np.random.default_rng(seed)
    matrix = random.standard_normal((rows, dimension)) / np.arange(1, dimension + 1) + np.eye(dimension)[0]
    matrix[rows // 2 :: 7] = matrix[: len(matrix[rows // 2 :: 7])] + random.normal(0, 0.01, dimension)
    return unit_rows(matrix)


def slow_top_k(queries: Matrix, matrix: Matrix, k: int) -> tuple[npt.NDArray[np.int64], FloatArray]:
    scores = exact_scores(queries[:, None, :], matrix[None, :, :])
    rows = np.broadcast_to(np.arange(len(matrix)), scores.shape)
    order = np.lexsort((rows, -scores), axis=1)[:, :k]
    return order, np.take_along_axis(scores, order, 1)


def slow_pairs(matrix: Matrix, threshold: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    scores = exact_scores(matrix[:, None, :], matrix[None, :, :])
    left, right = np.nonzero(np.triu(scores >= np.float32(threshold), 1))
    return left, right


def coarse(left: Matrix, right: Matrix) -> FloatArray:
    """A product that rounds its inputs to bfloat16, as fast devices do."""

    def rounded(matrix: Matrix) -> FloatArray:
        bits = np.ascontiguousarray(matrix, np.float32).view(np.uint32)
        return ((bits + 0x8000) & 0xFFFF0000).astype(np.uint32).view(np.float32)

    return rounded(left) @ rounded(right).T


# The bound of rows of 64 columns: 2**-7, for each of two entries is off by up to 2**-8 of itself.
COARSE = Sieve(coarse, unit_error=2.0**-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(
    ("rows", "dimension", "queries", "k"),
    [(0, 4, 3, 5), (4, 4, 0, 2), (5, 4, 3, 0), (5, 4, 3, 9), (1, 1, 1, 1), (3000, 8, 1, 3000), (2500, 32, 300, 10)],
)
def test_top_k_is_what_sorting_all_scores_gives(rows: int, dimension: int, queries: int, k: int, dtype: type) -> None:
    matrix, asked = random_rows(rows, dimension).astype(dtype), random_rows(queries, dimension, 1)
    indices, scores = top_k(asked, matrix, k)
    wanted, wanted_scores = slow_top_k(asked, matrix, k)
    assert (indices.dtype, scores.dtype) == (np.int64, np.float32)
    np.testing.assert_array_equal(indices, wanted)
    np.testing.assert_array_equal(scores, wanted_scores)


def test_equal_rows_come_in_the_order_of_their_indices() -> None:
    """Ties are broken by chance, or some are lost, when there are more than k."""
    matrix = np.repeat(random_rows(3, 16), 3000, axis=0)
    indices, scores = top_k(matrix[4000:4001], matrix, 20)
    np.testing.assert_array_equal(indices[0], np.arange(3000, 3020))
    assert len(np.unique(scores)) == 1


def test_rows_sorted_by_similarity_are_no_trap() -> None:
    """A bound that assumes rows in random order loses the late ones."""
    matrix = rows_like_clip(6000)
    matrix = matrix[np.argsort(matrix @ matrix[0])]
    np.testing.assert_array_equal(top_k(matrix[-3:], matrix, 7)[0], slow_top_k(matrix[-3:], matrix, 7)[0])


def test_what_rounding_a_query_to_float16_takes_from_it_is_allowed_for() -> None:
    """A row that lies towards what rounding takes scores too low in the sieve, and lower than one that is worse."""
    signs = np.random.default_rng(0).choice([-1, 1], 512).astype(np.float32)
    lost = np.float32(2.0**-16 * 0.98) * np.tile([-1, 1], 256).astype(np.float32) * signs
    query = np.float16(512**-0.5).astype(np.float32) * signs + lost
    towards, aside = (part - (part @ query) * query for part in (lost, random_rows(1, 512, 5)[0]))
    better = 0.5 * query + 0.866 * towards / np.linalg.norm(towards)
    worse = 0.49988 * query + 0.866 * aside / np.linalg.norm(aside)
    matrix = np.stack([worse, better]).astype(np.float16)
    assert top_k(query[None], matrix, 1, sieve=HALF_SIEVE)[0].item() == 1


@pytest.mark.parametrize("sieve", [NUMPY_SIEVE, COARSE], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(("block_rows", "processors"), [(7, 1), (64, 3), (100_000, 2)])
def test_neither_blocks_nor_multiplier_nor_threads_change_the_answer(
    sieve: Sieve, block_rows: int, processors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = rows_like_clip(700)
    wanted = top_k(matrix[:40], matrix, 9), pairs_above(matrix, 0.97)
    monkeypatch.setattr(topk_module, "BLOCK_ROWS", block_rows)
    monkeypatch.setattr(topk_module, "QUERY_ROWS", block_rows)
    monkeypatch.setattr(topk_module, "PART_ROWS", 100)
    for module in (topk_module, threads_module):
        monkeypatch.setattr(module, "available_processors", lambda: processors)
    monkeypatch.setattr(pairs_module, "BLOCK_ROWS", block_rows)
    monkeypatch.setattr(pairs_module, "NUMPY_SIEVE", sieve)
    monkeypatch.setattr(pairs_module, "numpy_product", sieve.product)
    got = top_k(matrix[:40], matrix, 9, sieve=sieve), pairs_above(matrix, 0.97)
    for mine, theirs in zip((*got[0], *got[1]), (*wanted[0], *wanted[1]), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_memory_map_is_read_in_place(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", random_rows(3000, 16).astype(np.float16))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r", allow_pickle=False)
    indices, _ = top_k(np.asarray(mapped[:5], np.float32), mapped, 1)
    np.testing.assert_array_equal(indices[:, 0], np.arange(5))
    assert len(pairs_above(mapped, 0.9999).left) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("find", [pairs_above, approximate_pairs_above])
def test_pairs_of_a_row_that_is_not_finite_are_not_skipped(find: Any, dtype: type, bad: float) -> None:
    matrix = random_rows(40, 8).astype(dtype)
    matrix[17, 3] = bad
    with pytest.raises(InvalidVectorError, match="row 17 of 40 is not a finite unit row"):
        find(matrix, 0.5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_named_and_not_skipped(bad: float) -> None:
    matrix = random_rows(50, 8)
    matrix[30, 2] = bad
    with pytest.raises(InvalidVectorError, match="finite"):
        top_k(matrix[:1], matrix, 3)


@pytest.mark.parametrize(
    ("queries", "matrix"),
    [
        (np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32)),
        (np.zeros(3, np.float32), np.zeros((2, 3), np.float32)),
        (np.zeros((2, 3), np.int64), np.zeros((2, 3), np.float32)),
    ],
    ids=["columns", "shape", "dtype"],
)
def test_matrices_that_do_not_fit_are_refused(queries: Matrix, matrix: Matrix) -> None:
    with pytest.raises(InvalidVectorError, match="shape"):
        top_k(queries, matrix, 1)


def test_a_negative_k_is_refused() -> None:
    with pytest.raises(OptionError, match="negative"):
        top_k(random_rows(1, 4), random_rows(3, 4), -1)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(
    ("rows", "dimension", "threshold"),
    [(0, 4, 0.5), (1, 4, 0.5), (2, 4, -1.1), (300, 4, 0.9), (300, 64, 0.2), (300, 4, 1.1), (200, 2, -1.0)],
)
def test_pairs_are_what_all_scores_say(rows: int, dimension: int, threshold: float, dtype: type) -> None:
    matrix = random_rows(rows, dimension).astype(dtype)
    pairs = pairs_above(matrix, threshold)
    left, right = slow_pairs(matrix, threshold)
    np.testing.assert_array_equal(pairs.left, left)
    np.testing.assert_array_equal(pairs.right, right)
    np.testing.assert_array_equal(pairs.scores, exact_scores(matrix[left], matrix[right]))


@pytest.mark.parametrize("threshold", [0.5, 0.9, 0.97, 0.99])
@pytest.mark.parametrize("make", [random_rows, rows_like_clip])
def test_narrow_columns_lose_no_pair(make: object, threshold: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound falls below a similarity, or the width is chosen on rows that flatter it."""
    monkeypatch.setattr(narrow_module, "_SAMPLE_ROWS", 200)
    matrix = make(800, 64)  # type: ignore[operator]
    pairs = pairs_above(matrix, threshold)
    left, right = slow_pairs(matrix, threshold)
    np.testing.assert_array_equal(pairs.left, left)
    np.testing.assert_array_equal(pairs.right, right)


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), rows=st.integers(200, 400), dimension=st.sampled_from([8, 33, 96]))
def test_the_bound_is_never_below_the_similarity(seed: int, rows: int, dimension: int) -> None:
    """A law: columns[i]·columns[j] ≥ similarity, but for rounding."""
    matrix = rows_like_clip(rows, dimension, seed)
    error = NUMPY_SIEVE.error(dimension)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(narrow_module, "_SAMPLE_ROWS", 100)
        columns = narrow(matrix, 0.99, error)
    if columns is not None:
        assert columns.shape[1] < dimension
        assert (columns @ columns.T - exact_scores(matrix[:, None], matrix[None])).min() > -2 * error


def test_principal_axes_are_orthonormal_and_hold_most_first() -> None:
    rows = rows_like_clip(300, 24)
    axes = narrow_module._principal_axes(rows)
    np.testing.assert_allclose(axes.T @ axes, np.eye(24), atol=1e-5)
    held = ((rows @ axes) ** 2).sum(axis=0)
    assert (np.diff(held) <= 1e-3).all()


def test_what_columns_cost_is_their_number_and_what_passes() -> None:
    assert narrow_module._cost(np.eye(8, dtype=np.float32), 0.5) == 8
    alike = np.ones((8, 1), np.float32)
    assert narrow_module._cost(alike, 0.5) == 1 + narrow_module._PAIR_COST


def test_errors_grow_with_the_queries_length_and_with_what_rounding_takes() -> None:
    queries = np.array([[1, 0], [0, 2]], np.float32)
    np.testing.assert_allclose(NUMPY_SIEVE.errors(queries), [NUMPY_SIEVE.error(2), 2 * NUMPY_SIEVE.error(2)])
    lost = 2.0**-12
    [error] = HALF_SIEVE.errors(np.array([[1 + lost, 0]], np.float32))
    assert error == pytest.approx(HALF_SIEVE.error(2) + lost, rel=2e-3)


def test_the_unit_error_is_that_of_float32() -> None:
    assert NUMPY_SIEVE.unit_error == np.finfo(np.float32).eps / 2


def test_the_bound_is_used_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The widths are never found to pay, and each pair is multiplied whole."""
    monkeypatch.setattr(narrow_module, "_SAMPLE_ROWS", 1200)
    columns = narrow(random_rows(1200, 512), 0.9, 1e-4)
    assert columns is not None
    assert columns.shape[1] < 200


@pytest.mark.parametrize("rows", [0, 1, 2, 5000])
def test_approximate_pairs_are_true_ones_and_nearly_all(
    rows: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A pair that is none, a pair twice, another score, many missed, or silence about it."""
    monkeypatch.setattr(cells_module, "_ROWS_A_CELL", 100)
    matrix = rows_like_clip(rows)
    exact = pairs_above(matrix, 0.99)
    with caplog.at_level("INFO"):
        found = approximate_pairs_above(matrix, 0.99)
    wanted = dict(zip(zip(exact.left.tolist(), exact.right.tolist(), strict=True), exact.scores, strict=True))
    got = list(zip(found.left.tolist(), found.right.tolist(), strict=True))
    assert got == sorted(set(got))
    assert all(wanted[pair] == score for pair, score in zip(got, found.scores, strict=True))
    assert len(got) >= 0.98 * len(wanted)
    assert "not exact" in caplog.text


@pytest.mark.parametrize("rows", [0, 1, 2, 40])
def test_within_one_cell_the_approximate_neighbours_are_the_nearest(rows: int) -> None:
    matrix, queries = random_rows(rows, 8), random_rows(5, 8, seed=1)
    indices, scores = approximate_top_k(queries, matrix, 3)
    exact, their_scores = top_k(queries, matrix, 3)
    np.testing.assert_array_equal(indices[:, : len(exact[0])], exact)
    np.testing.assert_array_equal(scores[:, : len(exact[0])], their_scores)
    assert (indices[:, len(exact[0]) :] == -1).all()
    assert (scores[:, len(exact[0]) :] == -np.inf).all()


def test_approximate_neighbours_are_the_best_of_those_in_the_two_nearest_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """One twice, another score, another order, or one that no cell of the query holds."""
    monkeypatch.setattr(cells_module, "_ROWS_A_CELL", 50)
    matrix = rows_like_clip(1000)
    indices, scores = approximate_top_k(matrix, matrix, 60)
    centres = matrix[np.sort(np.random.default_rng(0).permutation(1000)[:20])]
    near = top_k(matrix, centres, 2)[0]
    meets = (near[:, None, :, None] == near[None, :, None, :]).any(axis=(2, 3))
    every, _ = top_k(matrix, matrix, 1000)
    for row in range(1000):
        wanted = [n for n in every[row].tolist() if meets[row, n]][:60]
        assert indices[row, : len(wanted)].tolist() == wanted
        np.testing.assert_array_equal(scores[row, : len(wanted)], exact_scores(matrix[row], matrix[wanted]))
        assert (indices[row, len(wanted) :] == -1).all()


def test_real_clip_vectors_pair_up_with_their_altered_copies(shared: Path) -> None:
    matrix = unit_rows(np.load(shared / "data" / "neardup" / "clip_vectors.npy", allow_pickle=False))
    pairs = pairs_above(matrix, 0.9)
    left, right = slow_pairs(matrix, 0.9)
    np.testing.assert_array_equal(pairs.left, left)
    np.testing.assert_array_equal(pairs.right, right)


@pytest.mark.parametrize(
    ("rows", "threads", "parts"), [(0, 4, [0]), (10, 4, [10]), (100, 4, [33, 34, 33]), (999, 2, [499, 500])]
)
def test_no_part_is_too_small_for_its_thread(
    rows: int, threads: int, parts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topk_module, "PART_ROWS", 30)
    found = topk_module._parts(rows, threads)
    assert sorted(map(len, found)) == sorted(parts)
    assert [row for part in found for row in part] == list(range(rows))


def test_some_rows_of_a_matrix_are_searched_as_their_copy_is() -> None:
    matrix, rows = random_rows(50, 8), np.arange(0, 50, 3)
    for mine, theirs in zip(
        top_k(matrix[:4], SelectedRows(matrix, rows), 5), top_k(matrix[:4], matrix[rows], 5), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
