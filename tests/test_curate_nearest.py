"""Neighbours that a pool looks for are those of one search; what is said of those that are missed is true."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from datumaro_clip.curate import nearest
from datumaro_clip.curate.nearest import IN_TURN, Search, nearest_rows
from datumaro_clip.similarity import cells, top_k
from datumaro_clip.vectors import unit_rows


def rows(count: int) -> np.ndarray:
    """Rows in loose clusters, so that each has neighbours."""
    rng = np.random.default_rng(count)
    centres = rng.standard_normal((12, 16))
    return unit_rows(centres[rng.integers(0, 12, count)] + 0.6 * rng.standard_normal((count, 16)))


@pytest.mark.parametrize(("queries", "count", "k"), [(0, 5, 3), (3, 0, 3), (1, 1, 3), (40, 30, 7)])
def test_a_pool_finds_what_one_search_finds(queries: int, count: int, k: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nearest, "_QUERIES", 7)
    ones, others = rows(queries), rows(count)
    with ThreadPoolExecutor(3) as pool:
        for found, wanted in zip(nearest_rows(pool, ones, others, k), top_k(ones, others, k), strict=True):
            np.testing.assert_array_equal(found, wanted)
            assert found.dtype == wanted.dtype


def test_the_estimated_recall_is_the_share_that_is_found(monkeypatch: pytest.MonkeyPatch):
    """Over a sample of all rows, of those that are not too many, and without the row itself."""
    monkeypatch.setattr(cells, "_ROWS_A_CELL", 10)
    vectors, threshold, crowd = rows(300), 0.7, 15
    search = Search(IN_TURN, approximate=True)
    found, _ = search.top_k(vectors, vectors, 20)
    search.estimate("vectors", vectors, vectors, found, threshold, crowd)
    scores = vectors @ vectors.T
    true = [np.flatnonzero((scores[n] >= threshold) & (np.arange(300) != n)) for n in range(300)]
    true = [each if len(each) <= crowd else each[:0] for each in true]
    met = sum(len(np.intersect1d(each, found[n])) for n, each in enumerate(true))
    total = sum(map(len, true))
    assert search.recall == {"vectors": (met, total)}
    assert total / 2 < met < total


def test_of_an_exact_search_nothing_is_estimated():
    search, vectors = Search(IN_TURN), rows(30)
    found, scores = search.top_k(vectors, vectors, 50)
    assert found.shape == scores.shape == (30, 30)
    search.estimate("vectors", vectors, vectors, found, 0.5, 9)
    assert search.recall == {}
