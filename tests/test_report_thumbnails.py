"""The small pictures of a report: a box is drawn where it is, and a small one is shown close."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from datumaro_clip.curate.item import Item
from datumaro_clip.report.thumbnails import small_jpeg, thumbnails_of
from datumaro_clip.vectors import ItemKey


def shown(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).astype(int)


def test_a_picture_without_boxes_is_shown_whole():
    assert shown(small_jpeg(Image.new("RGB", (960, 480)))).shape == (120, 240, 3)


def test_a_box_is_drawn_in_white_around_what_it_holds():
    seen = shown(small_jpeg(Image.new("RGB", (240, 240), (200, 0, 0)), [(60, 80, 180, 200)]))
    white = np.argwhere(seen.min(axis=2) > 200)
    assert seen.shape == (240, 240, 3)
    np.testing.assert_allclose(white.min(axis=0), [79, 59], atol=2)
    np.testing.assert_allclose(white.max(axis=0), [201, 181], atol=2)


def test_a_small_box_of_a_large_picture_is_shown_with_its_surroundings():
    picture = Image.new("RGB", (2000, 1000))
    picture.paste((255, 0, 0), (1900, 500, 1960, 560))
    seen = shown(small_jpeg(picture, [(1900, 500, 1960, 560)]))
    assert seen.shape == (240, 240, 3)
    assert (seen[:, :, 0] > seen[:, :, 1] + 100).sum() > 40 * 40


@given(st.tuples(*[st.floats(-100, 500) | st.just(float("nan"))] * 4))
def test_any_box_leaves_a_picture(box: tuple[float, float, float, float]):
    assert max(shown(small_jpeg(Image.new("RGB", (300, 200)), [box])).shape) <= 240


def test_each_object_of_an_item_has_its_own(tmp_path: Path):
    Image.new("RGB", (400, 100), (9, 99, 9)).save(tmp_path / "a.png")
    item = Item.of("a", tmp_path / "a.png", boxes=[((10, 10, 50, 50), "x"), ((300, 10, 50, 50), "x")])
    key = ItemKey("a", "default")
    found = thumbnails_of([item], {(key, None), (key, 0), (key, 1)})
    assert set(found) == {(key, None), (key, 0), (key, 1)}
    assert len(set(found.values())) == 3
