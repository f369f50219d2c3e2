"""Working ahead in threads changes no answer, whatever their number."""

from __future__ import annotations

import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datumaro_clip.curate.groups import neighbour_lists, star_groups
from datumaro_clip.curate.near import find_near, referee
from datumaro_clip.curate.near import threads as near_threads
from datumaro_clip.curate.near.pixels import PixelMatch
from datumaro_clip.curate.near.proposals import codes_of
from datumaro_clip.curate.near.referee import Comparer, Referee
from datumaro_clip.curate.near.rings import VIEWS, Spectrum, Thumbnail, View
from datumaro_clip.curate.thumbnails import square_thumbnail
from datumaro_clip.vectors import unit_rows


def pictures() -> list[Thumbnail]:
    """Three pictures, each in four versions."""
    found = []
    for seed in range(3):
        coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3)).astype(np.uint8)
        one = Image.fromarray(coarse).resize((240, 180), Image.Resampling.BICUBIC)
        flipped = one.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        found += [one, flipped, one.crop((24, 18, 216, 162)), one.resize((120, 90))]
    return [square_thumbnail(each) for each in found]


@pytest.mark.parametrize("threads", [1, 7])
@pytest.mark.parametrize("with_vectors", [True, False])
def test_groups_do_not_depend_on_the_number_of_threads(
    threads: int, with_vectors: bool, monkeypatch: pytest.MonkeyPatch
):
    vectors = unit_rows(np.random.default_rng(0).normal(1, 0.2, (12, 16))) if with_vectors else None
    expected = find_near(pictures(), range(12), vectors)
    monkeypatch.setattr(near_threads, "available_processors", lambda: threads)
    found = find_near(pictures(), range(12), vectors)
    assert found.representatives.tolist() == expected.representatives.tolist() == [0] * 4 + [4] * 4 + [8] * 4
    assert found.matches == expected.matches
    assert found.compared == expected.compared


def test_what_was_prefetched_is_answered_as_if_it_were_not():
    everyone = [(one, other) for one in range(12) for other in range(one)]
    with ThreadPoolExecutor(2) as pool:
        ahead, asked = (Referee(pictures(), np.empty(0, np.int64), pool) for _ in range(2))
        ahead.prefetch(everyone + everyone)
        assert ahead.compared == len(everyone)
        assert [ahead.is_copy(*pair) for pair in everyone] == [asked.is_copy(*pair) for pair in everyone]
        assert ahead.compared == asked.compared == len(everyone)
        assert ahead.matches == asked.matches


@pytest.mark.parametrize("room", [0, 1 << 20])
def test_descriptions_are_kept_while_there_is_room(room: int, monkeypatch: pytest.MonkeyPatch):
    """Described again for each pair, the pictures take several times as long; kept without a bound, all memory."""
    described: list[tuple[bytes, int]] = []
    spectra = referee.spectra

    def counted(thumbnail: Thumbnail, views: tuple[View, ...] = VIEWS) -> Spectrum:
        described.append((thumbnail.tobytes(), len(views)))
        return spectra(thumbnail, views)

    def asked() -> Referee:
        with ThreadPoolExecutor(1) as pool:
            found = Referee(pictures()[:6], np.empty(0, np.int64), pool)
            found.prefetch((one, other) for one in range(6) for other in range(one))
        return found

    expected = asked()
    monkeypatch.setattr(referee, "spectra", counted)
    monkeypatch.setattr(referee, "_DESCRIPTION_BYTES", room)
    assert asked().matches == expected.matches
    assert (max(Counter(described).values()) > 1) == (room == 0)


def test_a_picture_is_read_once_while_there_is_room(monkeypatch: pytest.MonkeyPatch):
    read: list[int] = []
    thumbnails = pictures()[:4]

    def picture(index: int) -> Thumbnail:
        read.append(index)
        return thumbnails[index]

    def asked() -> list[int]:
        read.clear()
        with ThreadPoolExecutor(1) as pool:
            Referee(thumbnails, np.empty(0, np.int64), pool, picture).prefetch([(0, 1), (0, 2), (0, 3)])
        return read

    assert sorted(asked()) == [0, 1, 2, 3]
    monkeypatch.setattr(referee, "_PICTURE_BYTES", 0)
    assert sorted(asked()) == [0, 0, 0, 1, 2, 3]


def test_features_are_tried_on_the_pairs_that_vectors_proposed_alone(monkeypatch: pytest.MonkeyPatch):
    """Codes below, between and above those proposed: each pair that is tried for nothing costs milliseconds."""
    proposed, tried = {(0, 4), (0, 8), (4, 8)}, set()

    def nothing(self: Comparer, one: int, other: int, found: PixelMatch) -> PixelMatch:
        tried.add((min(one, other), max(one, other)))
        return found

    monkeypatch.setattr(Comparer, "_by_features", nothing)
    with ThreadPoolExecutor(1) as pool:
        asked = Referee(pictures(), codes_of(*np.array(sorted(proposed)).T, 12), pool)
        asked.prefetch([(one, other) for one in range(12) for other in range(one)])
    assert tried == proposed


def test_what_passes_only_with_a_third_picture_is_remembered_for_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(referee, "is_copy", lambda found, *, confirmed_by_third, leeway: confirmed_by_third)
    with ThreadPoolExecutor(1) as pool:
        asked = Referee(pictures(), np.empty(0, np.int64), pool)
        assert not asked.is_copy(0, 1)
        assert asked.confirmed_by_third(0, 1)
        assert asked.matches.keys() == {(0, 1)}
        assert asked.compared == 1


def test_what_is_found_of_a_pair_does_not_depend_on_their_numbers():
    """Which of two is laid on the other is up to the pictures: else another order of the items has other copies."""
    everyone = [(one, other) for one in range(12) for other in range(one)]

    def found(thumbnails: list[Thumbnail]) -> Referee:
        with ThreadPoolExecutor(1) as pool:
            asked = Referee(thumbnails, np.empty(0, np.int64), pool, thumbnails.__getitem__)
            asked.prefetch(everyone)
        return asked

    here, there = found(pictures()), found(pictures()[::-1])
    assert len(here.differences) == 18
    assert here.matches == {(11 - other, 11 - one): each for (one, other), each in there.matches.items()}
    assert here.differences == {
        (11 - other, 11 - one): each._replace(boxes=each.boxes[::-1])
        for (one, other), each in there.differences.items()
    }


@settings(max_examples=50)
@given(st.integers(0, 12), st.randoms(use_true_random=False))
def test_all_that_groups_ask_was_prefetched_and_changes_nothing(count: int, random):
    pairs = sorted((a, b) for a in range(count) for b in range(a) if random.random() < 0.4)
    copies = {pair for pair in pairs if random.random() < 0.5}
    order, near = random.sample(range(count), count), neighbour_lists(count, pairs)
    prefetched: set[tuple[int, int]] = set()

    def is_copy(one: int, other: int) -> bool:
        return (max(one, other), min(one, other)) in copies

    def is_prefetched_copy(one: int, other: int) -> bool:
        assert (one, other) in prefetched
        return is_copy(one, other)

    found = star_groups(order, near, is_prefetched_copy, prefetched.update)
    assert found.tolist() == star_groups(order, near, is_copy).tolist()


def test_a_long_run_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr(near_threads, "_FIRST", 0.0)
    monkeypatch.setattr(near_threads, "_SECONDS", 0.0)
    with caplog.at_level(logging.INFO, "datumaro_clip"):
        find_near(pictures(), range(12))
    assert "near duplicates: described 12 of 12" in caplog.text
    assert "near duplicates: pairs compared: " in caplog.text
