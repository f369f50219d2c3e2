"""What comparing the pixels of a pair shows."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageEnhance

from datumaro_clip.curate.near import find_near
from datumaro_clip.curate.near.features import features
from datumaro_clip.curate.near.pixels import NO_MATCH, compare, match
from datumaro_clip.curate.near.rings import SIDE, orient, spectra
from datumaro_clip.curate.near.rules import is_copy
from datumaro_clip.curate.thumbnails import square_thumbnail

AS_IT_STANDS = np.array([[1.0, 0, 0], [0, 1, 0]])


def thing(shade: float = 1.0) -> Image.Image:
    """Three brown things with a grain, on white; of a lighter shade they are the same in another colour."""
    picture = Image.new("RGB", (320, 240), "white")
    for seed, place in enumerate([(60, 40), (130, 110), (200, 60)]):
        grain = np.random.default_rng(seed).integers(40, 160, (9, 6, 1)).astype(np.float32)
        brown = np.clip(shade * grain * [1.1, 0.8, 0.7], 0, 255).astype(np.uint8)
        picture.paste(Image.fromarray(brown).resize((50, 90), Image.Resampling.BICUBIC), place)
    return picture


def turned(picture: Image.Image) -> Image.Image:
    return picture.rotate(4, Image.Resampling.BICUBIC, fillcolor="white")


def test_a_picture_beside_itself():
    one = square_thumbnail(thing())
    found = compare(one, one, AS_IT_STANDS)
    assert (found.correlation, found.detail, found.evidence) == pytest.approx((1, 1, 1), abs=1e-3)
    assert (found.peak, found.colour_peak, found.grain, found.light) == pytest.approx((0, 0, 0, 0), abs=1e-3)
    assert (found.unmoved, found.displaced) == (1, 0)


def test_no_match_where_a_picture_has_nothing_of_the_other():
    negative = square_thumbnail(ImageChops.invert(thing()))
    assert compare(square_thumbnail(thing()), negative, AS_IT_STANDS) is NO_MATCH


def test_a_lighter_thing_leaves_its_ground_unmoved_and_a_lighter_picture_does_not():
    one = ImageEnhance.Brightness(thing()).enhance(0.8)
    by_lamp = ImageEnhance.Brightness(one).enhance(0.7)
    by_colour = ImageEnhance.Brightness(thing(1.3)).enhance(0.8)
    lamp, colour = (compare(*map(square_thumbnail, (one, other)), AS_IT_STANDS) for other in (by_lamp, by_colour))
    assert lamp.unmoved < 0.1 < 0.5 < colour.unmoved
    assert is_copy(lamp)


def test_displaced_is_how_far_a_corner_went():
    one, other = square_thumbnail(thing()), square_thumbnail(turned(thing()))
    found = match(one, other, orient(spectra(one), spectra(other)))
    assert found.displaced == pytest.approx(2 * np.sin(np.radians(4 / 2)) / np.sqrt(2), abs=0.01)


def test_colours_of_a_thing_on_white_stay_and_its_brightened_turned_copy_goes():
    pictures = [thing(), thing(1.2), turned(ImageEnhance.Brightness(thing()).enhance(1.2))]
    assert find_near(list(map(square_thumbnail, pictures[:2])), range(2)).representatives.tolist() == [0, 1]
    assert find_near(list(map(square_thumbnail, pictures[::2])), range(2)).representatives.tolist() == [0, 0]


def test_a_feature_is_where_the_thumbnail_has_it():
    """A disc in the very middle; half a pixel beside it a map between two pictures would be off."""
    middle = (SIDE - 1) / 2
    y, x = np.mgrid[:SIDE, :SIDE]
    disc = np.clip((8 - np.hypot(x - middle, y - middle)) * 80 + 128, 0, 255).astype(np.uint8)
    places = features(np.repeat(disc[..., None], 3, axis=2)).keypoints
    assert len(places)
    assert np.abs(places - middle).max() < 0.25
