"""A copy is one at full resolution; a small place that differs is seen, and the place is told."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

from datumaro_clip.curate.near import find_near
from datumaro_clip.curate.near.judge import Difference, judge
from datumaro_clip.curate.near.overlay import MOST_PIXELS, read_picture
from datumaro_clip.curate.thumbnails import square_thumbnail

AS_IT_STANDS = np.array([[1.0, 0, 0], [0, 1, 0]])
# Where the letter is that the changed form has another of.
PLACE = (306, 187)


def form(letter: str = "e") -> Image.Image:
    """A form in type of 14 pixels, on which one letter of one line may be another."""
    picture = Image.new("RGB", (480, 360), "white")
    pen, face = ImageDraw.Draw(picture), ImageFont.load_default(14)
    for line in range(16):
        pen.text((20, 20 + 20 * line), f"{line:02} field", (120, 120, 120), face)
        pen.line((120, 36 + 20 * line, 460, 36 + 20 * line), (170, 170, 170))
        pen.text((130, 20 + 20 * line), "marten solber, dra fenwick", (25, 25, 35), face)
    pen.text(PLACE, letter, (25, 25, 35), face, anchor="mm")
    return picture


def photo(seed: int = 0) -> Image.Image:
    """Soft colours with a grain, as a camera gives."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(30, 225, (15, 20, 3)).astype(np.uint8))
    soft = np.asarray(coarse.resize((480, 360), Image.Resampling.BICUBIC), np.float32)
    return Image.fromarray(np.clip(soft + rng.normal(0, 3, soft.shape), 0, 255).astype(np.uint8))


def jpeg(picture: Image.Image, quality: int = 75) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def noisy(picture: Image.Image) -> Image.Image:
    noise = np.random.default_rng(3).normal(0, 4, (*picture.size[::-1], 3))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "quality 50": lambda picture: jpeg(picture, 50),
    "quality 95": lambda picture: jpeg(picture, 95),
    "halved": lambda picture: jpeg(picture.resize((240, 180), Image.Resampling.LANCZOS)),
    "halved without smoothing": lambda picture: jpeg(picture.resize((240, 180), Image.Resampling.NEAREST)),
    "mirrored": lambda picture: jpeg(ImageOps.mirror(picture)),
    "quarter turn": lambda picture: jpeg(picture.transpose(Image.Transpose.ROTATE_90)),
    "turned by 5 degrees": lambda picture: jpeg(picture.rotate(5, Image.Resampling.BICUBIC)),
    "turned by 5 degrees, jagged": lambda picture: jpeg(picture.rotate(5)),
    "cropped": lambda picture: jpeg(picture.crop((24, 18, 456, 342))),
    "brighter": lambda picture: jpeg(ImageEnhance.Brightness(picture).enhance(1.2)),
    "darker": lambda picture: jpeg(ImageEnhance.Brightness(picture).enhance(0.8)),
    "noisy": lambda picture: jpeg(noisy(picture)),
}


def representatives(*sources: bytes) -> tuple[list[int], dict[tuple[int, int], Difference]]:
    """Who stands for whom among encoded pictures, and what differs in those that thumbnails take for copies."""
    thumbnails = [square_thumbnail(Image.open(io.BytesIO(source))) for source in sources]
    found = find_near(thumbnails, range(len(sources)), pictures=sources.__getitem__)
    return found.representatives.tolist(), found.differences


# Of the form, whose lines are finer than a thumbnail's pixels, thumbnails refuse the others; ink on white that is
# brighter counts as another colour of it.
REFUSED_OF_FORM = {
    "quality 50", "halved without smoothing", "turned by 5 degrees, jagged", "cropped", "halved", "brighter",
}  # fmt: skip
OF_FORM = sorted(COPIES.keys() - REFUSED_OF_FORM)


@pytest.mark.parametrize("name", sorted(COPIES.keys() - {"cropped"}))
def test_an_altered_copy_of_a_photo_stays_one_at_full_resolution(name: str):
    found, differences = representatives(jpeg(photo(), 90), COPIES[name](photo()))
    assert found == [0, 0]
    assert differences[0, 1].ratio < differences[0, 1].limit / 2


@pytest.mark.parametrize("name", OF_FORM)
def test_an_altered_copy_of_a_form_stays_one_at_full_resolution(name: str):
    found, _ = representatives(jpeg(form(), 90), COPIES[name](form()))
    assert found == [0, 0]


@pytest.mark.parametrize("name", OF_FORM)
def test_another_letter_of_seven_pixels_is_seen_in_whatever_copy(name: str):
    found, differences = representatives(jpeg(form("e"), 90), COPIES[name](form("a")))
    assert differences[0, 1].is_edit
    assert found == [0, 1]


# Of a copy, or a copy of the form with another letter: levels, what is explained, and the limit.
JUDGED = {
    "quality 50": (0.615, 1.457, 4),
    "halved": (0.584, 1.563, 4),
    "brighter": (1.097, 1.588, 4),
    "turned by 5 degrees": (5.424, 3.053, 12.5),
    "noisy": (3.25, 3.817, 4),
}
JUDGED_OF_FORM = {"quality 95": (103.1, 3.333, 4), "mirrored": (93.33, 4.335, 4), "noisy": (90.96, 4.5, 4.083)}


@pytest.mark.parametrize("name", JUDGED)
def test_copies_have_the_figures_that_the_limits_were_set_on(name: str):
    """As where docs/copies.md has its figures from: measures that move make the limits wrong."""
    _, differences = representatives(jpeg(photo(), 90), COPIES[name](photo()))
    assert differences[0, 1][:3] == pytest.approx(JUDGED[name], rel=0.04)


@pytest.mark.parametrize("name", JUDGED_OF_FORM)
def test_edits_have_the_figures_that_the_limits_were_set_on(name: str):
    _, differences = representatives(jpeg(form("e"), 90), COPIES[name](form("a")))
    assert differences[0, 1][:3] == pytest.approx(JUDGED_OF_FORM[name], rel=0.04)


@pytest.mark.parametrize("swapped", [False, True])
def test_the_place_is_told_in_both_pictures(swapped: bool):
    """In pixels of each as stored: the second is mirrored, and half as large."""
    one = jpeg(form("e"), 90)
    other = jpeg(ImageOps.mirror(form("M")).resize((240, 180), Image.Resampling.LANCZOS), 90)
    _, differences = representatives(*((other, one) if swapped else (one, other)))
    boxes = differences[0, 1].boxes
    here, there = boxes[::-1] if swapped else boxes
    assert inside(PLACE, here)
    assert inside((240 - PLACE[0] / 2, PLACE[1] / 2), there)


def inside(place: tuple[float, float], box: tuple[int, int, int, int]) -> bool:
    return box[0] <= place[0] <= box[0] + box[2] and box[1] <= place[1] <= box[1] + box[3]


def test_equal_pictures_differ_by_nothing():
    picture = read_picture(jpeg(photo()))
    found = judge(picture, picture, AS_IT_STANDS)
    assert found.levels == 0
    assert not found.is_edit


def test_pictures_of_one_colour_are_judged():
    pictures = [read_picture(np.full((40, 50, 3), grey, np.uint8)) for grey in (90, 90)]
    assert judge(*pictures, AS_IT_STANDS).levels == 0


def test_levels_are_grey_levels_of_255():
    """A patch that is 60 levels lighter, in pictures without any noise."""
    one = np.full((120, 160, 3), 100, np.uint8)
    two = one.copy()
    two[50:70, 80:100] += 60
    found = judge(read_picture(one), read_picture(two), AS_IT_STANDS)
    assert found.levels == pytest.approx(60, abs=1)
    assert inside((90, 60), found.boxes[0])


def test_a_change_of_colour_alone_is_seen():
    """Red for a green of the same lightness."""
    one, two = photo(), photo()
    ImageDraw.Draw(one).ellipse((200, 150, 212, 162), (200, 60, 60))
    ImageDraw.Draw(two).ellipse((200, 150, 212, 162), (40, 139, 60))
    assert judge(read_picture(jpeg(one)), read_picture(jpeg(two)), AS_IT_STANDS).is_edit


def test_pictures_beyond_the_bound_are_shrunk_and_places_told_as_stored():
    side = 2400
    one = np.tile(np.asarray(photo().resize((side, side))), (1, 1, 1))
    two = one.copy()
    two[1200:1240, 1800:1840] = 255 - two[1200:1240, 1800:1840]
    pictures = [read_picture(each) for each in (one, two)]
    assert pictures[0].pixels.shape[0] * pictures[0].pixels.shape[1] <= MOST_PIXELS
    assert pictures[0].size == (side, side)
    found = judge(*pictures, AS_IT_STANDS)
    assert found.is_edit
    assert inside((1820, 1220), found.boxes[1])


def test_a_jpeg_tells_how_it_was_encoded_and_other_files_do_not():
    out = io.BytesIO()
    photo().save(out, "PNG")
    assert read_picture(out.getvalue()).tables is None
    coarse, fine = (read_picture(jpeg(photo(), quality)).tables for quality in (50, 95))
    assert coarse.lightness[0, 0] == 16
    assert fine.lightness[0, 0] == 2
    assert coarse.halved
    grey = read_picture(jpeg(photo().convert("L"), 50))
    assert not grey.tables.halved
