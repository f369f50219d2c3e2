"""The size of a batch is fixed, or the one that proves fastest."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from datumaro_clip.embedding import ImageRequest, embed_images
from datumaro_clip.embedding import pace as module
from datumaro_clip.embedding.pace import Pace
from datumaro_clip.testing import FakeEncoder


class Clock:
    """Time that passes only as batches are computed."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


def sizes_of(pace: Pace, clock: Clock, seconds: dict[int, float], batches: int) -> list[int]:
    """Return the sizes of a run's batches, given the seconds that a batch of each size takes."""
    sizes = []
    for _ in range(batches):
        sizes.append(pace.next())
        clock.now += seconds[sizes[-1]]
        pace.ended(sizes[-1], sizes[-1])
    return sizes


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_the_rates_that_decide_are_told(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        sizes_of(Pace(16, (8, 32)), clock, {8: 0.4, 16: 1.0, 32: 2.0}, 60)
    assert "batches of 8 pictures from here on (16: 16/s, 8: 20/s, 32: 16/s)" in caplog.text


@pytest.mark.parametrize("size", [1, 16])
def test_a_size_that_is_set_stays(size: int, clock: Clock) -> None:
    assert set(sizes_of(Pace(size), clock, {size: 1.0}, 100)) == {size}


@pytest.mark.parametrize(
    ("seconds", "fastest"),
    [
        ({8: 0.5, 16: 1.0, 32: 2.0}, 16),  # all the same
        ({8: 0.5, 16: 1.0, 32: 1.92}, 16),  # noise
        ({8: 0.4, 16: 1.0, 32: 2.0}, 8),
        ({8: 0.5, 16: 1.0, 32: 1.5}, 32),
    ],
)
def test_the_fastest_size_is_kept(seconds: dict[int, float], fastest: int, clock: Clock) -> None:
    sizes = sizes_of(Pace(16, (8, 32)), clock, seconds, 60)
    assert set(sizes[:16]) == {16}
    assert set(sizes) == {8, 16, 32}
    assert set(sizes[-20:]) == {fastest}


class OneByOne(FakeEncoder):
    batch_size = 1


def test_an_encoder_of_single_pictures_has_batches_of_one_or_two(caplog: pytest.LogCaptureFixture) -> None:
    requests = [ImageRequest(np.zeros((8, 8, 3), np.uint8))] * 80
    with caplog.at_level("INFO"):
        assert len(list(embed_images(requests, OneByOne()))) == len(requests)
    assert "batches of" in caplog.text


def test_a_short_run_tries_nothing(clock: Clock) -> None:
    assert set(sizes_of(Pace(16, (8, 32)), clock, {16: 1.0}, 22)) == {16}


def test_batches_that_are_not_full_count_as_what_they_hold(clock: Clock) -> None:
    """A batch of 32 that had to go with one picture in it looks 32 times as fast."""
    pace = Pace(16, (8, 32))
    for _ in range(60):
        size = pace.next()
        clock.now += 1.0
        pace.ended(size, 1 if size == 32 else size)
    assert pace.next() == 16


def test_while_measurements_are_missing_the_usual_size_goes_on(clock: Clock) -> None:
    pace = Pace(16, (8, 32))
    assert [pace.next() for _ in range(50)][-16:] == [16] * 16


def test_the_results_of_a_run_that_tries_sizes_are_in_order() -> None:
    encoder = FakeEncoder()
    pictures = [np.random.default_rng(seed).integers(0, 255, (16, 16, 3), np.uint8) for seed in range(7)]
    wanted = encoder.embed_images(pictures)
    results = list(embed_images((ImageRequest(pictures[index % 7]) for index in range(1000)), encoder))
    np.testing.assert_array_equal([result.vector for result in results], wanted[np.arange(1000) % 7])
