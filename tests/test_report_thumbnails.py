"""The small pictures of a report: none weighs too much, a box is drawn where it is, a small one is shown close."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from datumaro_clip.curate.item import Item
from datumaro_clip.images.small import LARGEST_SIDE, small_picture
from datumaro_clip.report.plan import Subject
from datumaro_clip.report.thumbnails import thumbnails_of
from datumaro_clip.vectors import ItemKey


def shown(picture: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)


def test_a_picture_without_boxes_is_shown_whole():
    assert shown(small_picture(Image.new("RGB", (960, 480)))).shape == (LARGEST_SIDE // 2, LARGEST_SIDE, 3)


@given(st.integers(600, 24_000))
def test_no_picture_weighs_more_than_it_may(limit: int):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8))
    assert len(small_picture(noise, limit=limit)) <= limit


def test_a_box_is_drawn_in_white_around_what_it_holds():
    seen = shown(small_picture(Image.new("RGB", (300, 300), (200, 0, 0)), [(60, 80, 180, 200)]))
    white = np.argwhere(seen.min(axis=2) > 150)
    assert seen.shape == (300, 300, 3)
    np.testing.assert_allclose(white.min(axis=0), [79, 59], atol=2)
    np.testing.assert_allclose(white.max(axis=0), [201, 181], atol=2)


def test_a_small_box_of_a_large_picture_is_shown_with_its_surroundings():
    picture = Image.new("RGB", (2000, 1000))
    picture.paste((255, 0, 0), (1900, 500, 1960, 560))
    seen = shown(small_picture(picture, [(1900, 500, 1960, 560)]))
    assert seen.shape[0] == seen.shape[1]
    assert (seen[:, :, 0] > seen[:, :, 1] + 100).sum() > 40 * 40


@given(st.tuples(*[st.floats(-100, 500) | st.just(float("nan"))] * 4))
def test_any_box_leaves_a_picture(box: tuple[float, float, float, float]):
    assert max(shown(small_picture(Image.new("RGB", (300, 200)), [box])).shape) <= LARGEST_SIDE


def test_each_object_of_an_item_has_its_own(tmp_path: Path):
    Image.new("RGB", (400, 100), (9, 99, 9)).save(tmp_path / "a.png")
    item = Item.of("a", tmp_path / "a.png", boxes=[((10, 10, 50, 50), "x"), ((300, 10, 50, 50), "x")])
    key = ItemKey("a", "default")
    found, failures = thumbnails_of([item], {Subject(key, 0, part): 20_000 for part in (None, 0, 1)})
    assert set(found) == {Subject(key, 0, part) for part in (None, 0, 1)}
    assert len(set(found.values())) == 3
    assert failures == {}


def test_an_item_and_its_captions_share_one_picture_as_large_as_any_may_be(tmp_path: Path):
    rng = np.random.default_rng(4)
    Image.fromarray(rng.integers(0, 255, (300, 400, 3), np.uint8)).save(tmp_path / "a.png")
    item = Item.of("a", tmp_path / "a.png", captions=["one", "two"], boxes=[((10, 10, 50, 50), "x")])
    limits = {None: 2_000, 0: 8_000, 1: 20_000, 2: 6_000}
    found, _ = thumbnails_of([item], {Subject(item.key, 0, part): limit for part, limit in limits.items()})
    box = next(box.annotation for box in item.boxes)
    whole = {found[Subject(item.key, 0, part)] for part in limits if part != box}
    assert len(whole) == 1
    assert 8_000 < len(whole.pop()) <= 20_000
    assert len(found[Subject(item.key, 0, box)]) <= limits[box]


def test_the_place_at_which_look_alikes_differ_is_enlarged():
    picture = np.full((300, 400, 3), 200, np.uint8)
    picture[100:110, 200:210] = 20
    item = Item.of("a", picture)
    places = (200, 100, 10, 10), (180, 90, 40, 30)
    found, _ = thumbnails_of([item], {Subject(item.key, 0, place): 20_000 for place in places})
    close = shown(found[Subject(item.key, 0, places[0])])
    assert close.shape[0] == close.shape[1] > 300
    assert close.max() < 40
    wide = shown(found[Subject(item.key, 0, places[1])])
    assert abs(wide.shape[0] * 4 - wide.shape[1] * 3) < 4
