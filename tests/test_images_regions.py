"""Parts of pictures: what is cut out, and what tells two of them apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from datumaro_clip.errors import ImageError
from datumaro_clip.images import Region
from datumaro_clip.images.regions import GREY, Cutter


def gradient(width: int = 60, height: int = 40) -> Image.Image:
    """Red says how far right a pixel is, green how far down."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x, y, np.zeros_like(x)], axis=2).astype(np.uint8))


def cut(region: Region, picture: Image.Image | None = None) -> np.ndarray:
    return np.asarray(Cutter(picture or gradient())(region))


def test_a_box_is_widened_to_whole_pixels_and_cut_at_the_borders():
    part = cut(Region((9.2, 30.5, 4.0, 50)))
    assert part.shape == (10, 5, 3)
    assert part[0, 0].tolist() == [9, 30, 0]


def test_no_mask_of_the_whole_picture_is_made_for_a_plain_box(monkeypatch: pytest.MonkeyPatch):
    picture = gradient()
    monkeypatch.setattr(Image, "new", lambda *args: pytest.fail("a mask was made"))
    assert cut(Region((20, 10, 10, 20)), picture).shape == (20, 10, 3)


def test_a_margin_is_a_share_of_each_side():
    part = cut(Region((20, 10, 10, 20), margin=0.1))
    assert part.shape == (24, 12, 3)
    assert part[0, 0].tolist() == [19, 8, 0]


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 0, 5),
        (5, 5, -3, 5),
        (70, 0, 5, 5),
        (-12, 0, 5, 5),
        (0, 0, math.nan, 5),
        (math.inf, 0, 5, 5),
        (0, 0, 5, math.inf),
    ],
)
@pytest.mark.parametrize("angle", [0, 30])
def test_boxes_without_a_pixel_are_refused(box: tuple[float, float, float, float], angle: float):
    with pytest.raises(ImageError, match="box") as refused:
        cut(Region(box, angle=angle))
    assert refused.value.reason == "empty"


@pytest.mark.parametrize(("angle", "corner"), [(0, (20, 10)), (90, (39, 10)), (180, (39, 29)), (270, (20, 29))])
def test_a_square_rotated_by_quarters_is_turned_upright(angle: float, corner: tuple[int, int]):
    """Clockwise as the picture is seen: what was the box's upper left corner comes out there."""
    part = cut(Region((20, 10, 20, 20), angle=angle))
    assert part.shape == (20, 20, 3)
    np.testing.assert_allclose(part[0, 0, :2], corner, atol=1)


def test_a_rotated_object_comes_out_upright_and_whole():
    picture = Image.new("RGB", (200, 200))
    angle, centre, (w, h) = math.radians(30), np.array([100, 90]), (80, 30)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    corners = [tuple(centre + turn @ (sx * w / 2, sy * h / 2)) for sx, sy in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    ImageDraw.Draw(picture).polygon(corners, fill=(255, 255, 255))
    part = cut(Region((60, 75, 80, 30), angle=30), picture)
    assert part.shape == (30, 80, 3)
    assert part[2:-2, 2:-2].min() > 250


def test_what_lies_beyond_the_picture_is_grey_in_a_rotated_box():
    assert cut(Region((-10, -10, 30, 30), angle=45))[15, 0].tolist() == list(GREY)


def test_outside_of_an_outline_or_mask_is_grey():
    square = Region((10, 10, 20, 20), outline=((10, 10, 19, 10, 19, 29, 10, 29),))
    mask = np.zeros((40, 60), bool)
    mask[10:30, 10:20] = True
    for part in (cut(square), cut(Region((10, 10, 20, 20), mask=lambda: mask))):
        assert (part[:, :10, 0] < 30).all()
        assert (part[:, 10:] == GREY).all()
    turned = cut(Region((10, 10, 20, 20), angle=180, mask=lambda: mask))
    assert (turned[:, 1:9] == GREY).all()


def test_a_mask_of_another_picture_is_refused():
    with pytest.raises(ImageError, match="its mask is of 8x9 pixels, the picture of 60x40"):
        cut(Region((0, 0, 5, 5), mask=lambda: np.ones((9, 8), bool)))


def test_the_longest_side_is_capped_for_the_part_and_its_mask():
    mask = np.zeros((40, 60), bool)
    mask[:, :30] = True
    part = cut(Region((20, 20, 20, 20), max_side=30, mask=lambda: mask))
    assert part.shape == (10, 10, 3)
    assert (part[:, 5:] == GREY).all()
    np.testing.assert_allclose(part[1, 1, :2], [23, 23], atol=1.5)
    assert cut(Region((20, 20, 20, 20), max_side=60)).shape == (20, 20, 3)


regions = st.builds(
    Region,
    st.tuples(st.floats(-20, 70), st.floats(-20, 50), st.floats(0.1, 70), st.floats(0.1, 50)),
    angle=st.sampled_from([0.0, 17.0, 90.0]),
    margin=st.floats(0, 1),
    outline=st.sampled_from([(), ((0.0, 0.0, 50.0, 0.0, 30.0, 30.0),)]),
    max_side=st.sampled_from([None, 32]),
)


def shortest_side(region: Region) -> int:
    """Of what is cut; 1 where the region is refused as it should be."""
    try:
        return min(Cutter(gradient())(region).size)
    except ImageError as error:
        return int(error.reason == "empty")


@given(regions)
def test_whatever_is_cut_has_pixels_or_is_refused(region: Region):
    assert shortest_side(region) >= 1


@given(regions, regions)
@example(Region((0.0, 5.0, 1.0, 1.0)), Region((-0.0, 5.0, 1.0, 1.0)))
@example(Region((0.0, 5.0, 1.0, 1.0), margin=0.5), Region((-0.0, 5.0, 1.0, 1.0), margin=0.5))
def test_parts_that_differ_have_other_identities(one: Region, other: Region):
    def told(part: Region) -> tuple[object, ...]:
        return (part.box, part.angle, part.margin, part.outline, part.max_side)

    assert (one.identity == other.identity) == (told(one) == told(other))
