"""Later rounds propose what a search from scratch would, and pairs are what their codes say."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from datumaro_clip.curate.near.proposals import RingNeighbours, by_vector, codes_of
from datumaro_clip.curate.near.rings import Thumbnail
from datumaro_clip.curate.nearest import IN_TURN, Search
from datumaro_clip.similarity import cells
from datumaro_clip.vectors import unit_rows


def look_alikes(count: int) -> list[Thumbnail]:
    """Pictures with so many neighbours each that no list holds them all."""
    rng = np.random.default_rng(5)
    ground = rng.integers(40, 200, (12, 12, 3))
    small = (np.clip(ground + rng.normal(0, 6, ground.shape), 0, 255).astype(np.uint8) for _ in range(count))
    return [each.repeat(8, axis=0).repeat(8, axis=1) for each in small]


def proposed(thumbnails: list[Thumbnail], standing: np.ndarray) -> set[tuple[int, int]]:
    with ThreadPoolExecutor(2) as pool:
        codes = RingNeighbours(thumbnails, pool, Search(pool)).pairs(standing)
    return {divmod(code, len(thumbnails)) for code in codes.tolist()}


@pytest.mark.parametrize("gone", [0.0, 0.05, 0.5, 0.95])
def test_neighbours_of_what_stands_are_those_of_a_search_from_scratch(gone: float):
    pictures = look_alikes(60)
    standing = np.random.default_rng(1).random(60) >= gone
    places = np.flatnonzero(standing).tolist()
    alone = proposed([pictures[place] for place in places], np.ones(len(places), bool))
    assert proposed(pictures, standing) == {(places[one], places[other]) for one, other in alone}


def test_what_is_proposed_inside_clusters_is_a_part_of_what_is_proposed_and_how_large_is_told(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(cells, "_ROWS_A_CELL", 10)
    pictures, standing = look_alikes(60), np.ones(60, bool)
    search = Search(IN_TURN, approximate=True)
    codes = RingNeighbours(pictures, IN_TURN, search).pairs(standing)
    every = proposed(pictures, standing)
    found = {divmod(code, 60) for code in codes.tolist()} & every
    assert 0.3 * len(every) < len(found) < len(every)
    met, total = search.recall["descriptors"]
    assert 0.3 * total < met < total


def test_nothing_is_proposed_where_nothing_stands():
    assert proposed(look_alikes(3), np.zeros(3, bool)) == set()


def test_a_pair_is_told_once_lower_first_and_none_of_a_picture_with_itself():
    assert codes_of(np.array([3, 1, 2, 2]), np.array([1, 3, 2, 0]), 10).tolist() == [2, 13]


@pytest.mark.parametrize("rows", [0, 1])
def test_no_vectors_propose_nothing(rows: int):
    search = Search(IN_TURN)
    assert not len(by_vector(unit_rows(np.ones((rows, 4))), None, 0.9, 5, search))
    assert not len(by_vector(None, None, 0.9, 5, search))


def test_vectors_propose_pairs_of_their_owners():
    vectors = unit_rows(np.array([[1, 0, 0], [0, 1, 0], [1, 0.1, 0]]))
    assert by_vector(vectors, [4, 2, 1], 0.9, 5, Search(IN_TURN)).tolist() == [1 * 5 + 4]
