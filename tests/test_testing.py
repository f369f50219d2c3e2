"""The encoder that tests and documentation use instead of a model."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from datumaro_clip.errors import InferenceError
from datumaro_clip.testing import EncoderContract, FakeEncoder, fake_encoder


def solid(*colour: int) -> np.ndarray:
    """A picture of one colour."""
    return np.full((20, 30, 3), colour, np.uint8)


class TestFakeEncoder(EncoderContract):
    @pytest.fixture
    def encoder(self) -> FakeEncoder:
        return FakeEncoder()


def test_its_documentation_runs() -> None:
    assert doctest.testmod(fake_encoder).failed == 0


@pytest.mark.parametrize("dimension", [1, 8, 512])
def test_the_dimension_is_the_one_asked_for(dimension: int) -> None:
    assert FakeEncoder(dimension).embed_images([solid(1, 2, 3)]).shape == (1, dimension)


def test_two_of_one_kind_agree_and_two_of_different_kinds_share_no_space() -> None:
    """Its vectors differ from run to run, or spaces that differ look equal."""
    assert FakeEncoder().space == FakeEncoder().space
    np.testing.assert_array_equal(FakeEncoder().embed_texts(["cat"]), FakeEncoder().embed_texts(["cat"]))
    assert len({FakeEncoder(8).space, FakeEncoder(16).space, FakeEncoder(8, seed=1).space}) == 3


@pytest.mark.parametrize("name", sorted(fake_encoder.COLOURS))
def test_a_text_is_nearest_to_a_picture_of_the_colour_that_it_names(name: str) -> None:
    encoder = FakeEncoder(256)
    pictures = encoder.embed_images([solid(*colour) for colour in fake_encoder.COLOURS.values()])
    query = encoder.embed_texts([f"the {name} thing"])[0]
    assert list(fake_encoder.COLOURS)[int(np.argmax(pictures @ query))] == name


def test_like_pictures_have_like_vectors() -> None:
    encoder = FakeEncoder()
    noisy = (solid(200, 30, 30) + np.random.default_rng(0).integers(0, 20, (20, 30, 3))).astype(np.uint8)
    red, near, far = encoder.embed_images([solid(200, 30, 30), noisy, solid(10, 200, 220)])
    assert red @ near > 0.99
    assert red @ far < 0.5


def test_it_fails_on_the_colour_chosen_and_on_no_other() -> None:
    encoder = FakeEncoder(fail_on=(255, 0, 255))
    encoder.embed_images([solid(255, 0, 0)])
    with pytest.raises(InferenceError, match="fails on"):
        encoder.embed_images([solid(255, 0, 0), solid(254, 2, 250)])


def test_it_counts_what_it_computed() -> None:
    encoder = FakeEncoder()
    encoder.embed_images([solid(0, 0, 0)] * 3)
    encoder.embed_texts(["a", "b", "a"])
    assert (encoder.pictures_computed, encoder.texts_computed) == (3, 2)


def test_pixels_of_another_shape_are_an_error_that_names_both() -> None:
    with pytest.raises(InferenceError, match=r"wanted uint8 \(B, 32, 32, 3\), got uint8 \(2, 5, 5, 3\)"):
        FakeEncoder().submit_pixels(np.zeros((2, 5, 5, 3), np.uint8)).result()
