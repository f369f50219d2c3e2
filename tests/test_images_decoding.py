"""Decoding: every kind of picture, and every way in which a file is not one."""

from __future__ import annotations

import io
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from datumaro_clip.errors import ImageError
from datumaro_clip.images import decode, decoding

W, H = 40, 24


@pytest.fixture(scope="module")
def scene() -> Image.Image:
    """A small RGB picture with no symmetry."""
    y, x = np.mgrid[:H, :W]
    return Image.fromarray(np.stack([x * 6, y * 10, (x + y) * 3], axis=-1).astype(np.uint8))


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """A picture as a file's bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(image: Any, **options: Any) -> np.ndarray:
    """What a picture decodes to."""
    decoded = decode(image, **options)
    assert decoded.mode == "RGB"
    return np.asarray(decoded)


def reason(image: Any, **options: Any) -> str:
    """Why a picture is refused."""
    with pytest.raises(ImageError) as caught:
        decode(image, **options)
    return caught.value.reason


def outcome(image: Any) -> str:
    """The mode of what a picture decodes to, or why it is refused."""
    try:
        return decode(image).mode
    except ImageError as exc:
        return exc.reason


def animated(scene: Image.Image) -> bytes:
    """A GIF of two frames."""
    return encoded(scene, "GIF", save_all=True, append_images=[Image.new("RGB", scene.size, "red")])


# Sources


def test_a_path_its_bytes_a_pil_image_and_an_array_give_the_same_pixels(scene: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "scene.png"
    path.write_bytes(encoded(scene))
    for source in (str(path), path, path.read_bytes(), Image.open(path), scene, np.asarray(scene)):
        np.testing.assert_array_equal(pixels(source), np.asarray(scene))


def test_content_decides_not_the_extension(scene: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "scene.jpg"
    path.write_bytes(encoded(scene, "PNG"))
    np.testing.assert_array_equal(pixels(path), np.asarray(scene))


def test_a_callers_own_picture_stays_open_and_unchanged(scene: Image.Image, tmp_path: Path) -> None:
    """A second use of a lazily opened picture finds its file closed, or a scaled-down decode of it."""
    path = tmp_path / "large.jpg"
    scene.resize((800, 480)).save(path)
    with Image.open(path) as lazy:
        decode(lazy, target=16)
        assert lazy.size == (800, 480)
        lazy.load()


def test_no_file_is_left_open(scene: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "scene.png"
    scene.save(path)
    before = set(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else set()
    kept = [decode(path) for _ in range(5)]
    assert len(kept) == 5
    assert not before or len(set(os.listdir("/dev/fd"))) <= len(before)


# Kinds


# The ways to modes that PIL does not convert to directly.
_ROUTES = {"RGBa": ("RGBA", "RGBa"), "La": ("LA", "La"), "PA": ("P", "PA")}


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"]
)
def test_each_mode_becomes_rgb_as_pil_converts_it(mode: str, scene: Image.Image) -> None:
    picture = scene
    for step in _ROUTES.get(mode, (mode,)):
        picture = picture.convert(step)
    expected = picture
    for step in {"PA": ("RGBA", "RGB"), "La": ("LA", "RGB")}.get(mode, ("RGB",)):
        expected = expected.convert(step)
    np.testing.assert_array_equal(pixels(picture), np.asarray(expected))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("BMP", {}), ("GIF", {}), ("JPEG", {}), ("JPEG2000", {}), ("PNG", {}), ("PPM", {}), ("TGA", {}), ("TIFF", {}),
     ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True}), ("JPEG", {"progressive": True})],
)  # fmt: skip
def test_each_file_format_decodes_as_pil_opens_it(kind: str, options: dict[str, Any], scene: Image.Image) -> None:
    data = encoded(scene, kind, **options)
    np.testing.assert_array_equal(pixels(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize(
    ("kind", "ending"), [("JPEG", ".jpg"), ("MPO", ".jpg"), ("PNG", ".png"), ("TIFF", ".tif"), ("PPM", ".ppm")]
)
def test_an_encoded_picture_tells_the_ending_of_its_file(kind: str, ending: str, scene: Image.Image) -> None:
    """Of an MPO, as some cameras and phones write: its first picture is a JPEG's."""
    others = {"save_all": True, "append_images": [scene]} if kind == "MPO" else {}
    file = io.BytesIO()
    scene.save(file, kind, **others)
    assert decoding.ending_of(file.getvalue()) == ending


def test_a_palette_with_transparent_entries_keeps_its_colours_without_a_warning(scene: Image.Image) -> None:
    palette = scene.convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    data = encoded(palette, transparency=bytes(range(16)))
    np.testing.assert_array_equal(pixels(data), np.asarray(palette.convert("RGB")))


def test_alpha_is_dropped_not_composited() -> None:
    picture = Image.new("RGBA", (3, 3), (10, 20, 30, 0))
    np.testing.assert_array_equal(pixels(encoded(picture)), np.full((3, 3, 3), (10, 20, 30)))


def test_a_cmyk_jpeg_decodes_to_nearly_the_colours_it_was_made_of(scene: Image.Image) -> None:
    """Adobe's inverted inks come out as a negative."""
    decoded = pixels(encoded(scene.convert("CMYK"), "JPEG", quality=95)).astype(int)
    assert np.abs(decoded - np.asarray(scene)).mean() < 8


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_become_the_upper_eight(kind: str) -> None:
    """A 16-bit picture wraps around, or is clipped to white."""
    values = (np.arange(W * H, dtype=np.uint32) * 65535 // (W * H - 1)).astype(np.uint16).reshape(H, W)
    data = encoded(Image.fromarray(values), kind)
    np.testing.assert_array_equal(pixels(data)[..., 0], values >> 8)
    np.testing.assert_array_equal(pixels(values)[..., 2], values >> 8)


def test_big_endian_sixteen_bits_are_read_in_their_order() -> None:
    values = np.arange(0, 60000, 10000, dtype=">u2").reshape(2, 3)
    picture = Image.frombytes("I;16B", (3, 2), values.tobytes())
    np.testing.assert_array_equal(pixels(picture)[..., 0], values >> 8)


def test_a_picture_of_floats_is_clipped_and_one_with_nan_refused() -> None:
    values = np.array([[-5.0, 0.0, 100.4, 255.0, 999.0]], np.float32)
    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(values), "TIFF"))[0, :, 0], [0, 0, 100, 255, 255])
    for bad in (np.nan, np.inf):
        values[0, 1] = bad
        assert reason(encoded(Image.fromarray(values), "TIFF")) == "unreadable"


def test_an_animation_gives_its_first_frame(scene: Image.Image) -> None:
    data = animated(scene)
    np.testing.assert_array_equal(pixels(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 3)])
def test_extreme_shapes_decode(size: tuple[int, int]) -> None:
    assert decode(encoded(Image.new("RGB", size, "teal"))).size == size


# What Datumaro shows


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_exif_rotated_picture_is_decoded_as_datumaro_shows_it(
    kind: str, orientation: int, scene: Image.Image, tmp_path: Path
) -> None:
    """Boxes drawn on what Datumaro shows lie elsewhere on what is embedded."""
    media = pytest.importorskip("datumaro.components.media")
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"scene.{kind.lower()}"
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    scene.save(path, kind, exif=exif, **options)
    shown = media.Image.from_file(path=str(path)).data[:, :, 2::-1].astype(int)
    decoded = pixels(path).astype(int)
    assert decoded.shape == shown.shape
    assert np.abs(decoded - shown).max() <= 2  # two JPEG decoders
    # A TIFF's header does not say how it is turned.
    assert decoding.size_in_header(path) == (None if kind == "TIFF" else decoded.shape[:2])


def test_a_header_that_says_no_size_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "short.png").write_bytes(encoded(Image.new("RGB", (8, 8)))[:20])
    os.mkfifo(tmp_path / "pipe.png")
    names = ("none.png", "empty.png", "text.png", "short.png", "pipe.png", ".")
    assert [decoding.size_in_header(tmp_path / name) for name in names] == [None] * 6


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_picture_in_memory_is_decoded_as_datumaro_shows_it(mode: str, scene: Image.Image) -> None:
    media = pytest.importorskip("datumaro.components.media")
    data = encoded(scene.convert(mode))
    shown = media.Image.from_bytes(data=data).data
    rgb = shown if shown.ndim == 2 else shown[:, :, 2::-1]
    np.testing.assert_array_equal(pixels(data), pixels(rgb))


# Arrays


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4)])
def test_an_array_of_each_shape_decodes(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    expected = array[..., :3] if len(shape) == 3 and shape[2] > 1 else np.dstack([array.reshape(5, 7)] * 3)
    np.testing.assert_array_equal(pixels(array), expected)


def test_a_view_with_reversed_channels_decodes(scene: Image.Image) -> None:
    bgr = np.ascontiguousarray(np.asarray(scene)[..., ::-1])
    np.testing.assert_array_equal(pixels(bgr[..., ::-1]), np.asarray(scene))


@pytest.mark.parametrize("array", [np.zeros((0, 5, 3), np.uint8), np.zeros((5, 0), np.uint8)])
def test_an_array_without_pixels_is_empty(array: np.ndarray) -> None:
    assert reason(array) == "empty"


@pytest.mark.parametrize(
    "array",
    [np.full((4, 4, 3), np.nan, np.float32), np.zeros((4, 4, 3), np.float64), np.zeros((4, 4), bool),
     np.zeros((4, 4), np.int32), np.zeros((4, 4, 2), np.uint8), np.zeros(4, np.uint8), np.zeros((), np.uint8)],
)  # fmt: skip
def test_an_array_of_another_kind_is_refused(array: np.ndarray) -> None:
    assert reason(array) == "unreadable"


# What is not a picture


@pytest.mark.parametrize(
    ("image", "why"),
    [(b"", "empty"), (b"not a picture at all", "unreadable"), (None, "unreadable"), (3, "unreadable"),
     ("", "missing"), ("\0", "unreadable")],
)  # fmt: skip
def test_what_is_no_picture_says_why(image: Any, why: str) -> None:
    assert reason(image) == why


def test_an_empty_file_a_text_and_a_directory_say_which_they_are(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("hello")
    assert reason(tmp_path / "empty.jpg") == "empty"
    assert reason(tmp_path / "text.jpg") == "unreadable"
    assert reason(tmp_path) == "not_a_file"
    assert reason(tmp_path / "none.jpg") == "missing"
    assert reason(tmp_path / "text.jpg" / "below") == "missing"


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("not on this machine: pipes in the file system")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert reason(tmp_path / "pipe.jpg") == "not_a_file"
    assert reason("/dev/zero") == "not_a_file"


def test_a_loop_of_symbolic_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to(tmp_path / "b.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
    assert reason(tmp_path / "a.jpg") == "unreadable"


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed.jpg").write_bytes(b"x")

    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    # Not by file modes, which do not bind an administrator.
    monkeypatch.setattr(Image, "open", refuse)
    assert reason(tmp_path / "closed.jpg") == "permission"


@pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_truncated_file_is_refused(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    assert reason(data[: int(len(data) * share)]) == "truncated"


def test_a_bomb_is_refused_from_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file of a huge picture takes all the memory."""
    ppm = b"P6 100000 100000 255\n" + bytes(100)
    assert reason(ppm) == "too_large"
    monkeypatch.setattr(decoding, "MAX_PIXELS", W * H - 1)
    assert reason(encoded(Image.new("RGB", (W, H)))) == "too_large"
    assert reason(np.zeros((H, W), np.uint8)) == "too_large"


def test_pillows_own_limit_is_left_alone() -> None:
    before = Image.MAX_IMAGE_PIXELS
    decode(np.zeros((2, 2), np.uint8))
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_format_that_runs_a_program_is_refused(scene: Image.Image) -> None:
    assert reason(encoded(scene, "EPS")) == "unreadable"


def test_the_message_names_the_picture_and_the_error_pickles(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.jpg: there is no such file; check the path$") as caught:
        decode(tmp_path / "none.jpg")
    assert pickle.loads(pickle.dumps(caught.value)).reason == "missing"


@settings(max_examples=200)
@given(st.binary(max_size=200), st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"]), st.integers(0, 400))
def test_no_bytes_give_anything_but_a_picture_or_a_reason(junk: bytes, kind: str, where: int) -> None:
    """A malformed file escapes as an exception of Pillow's."""
    good = encoded(Image.new("RGB", (8, 8), "navy"), kind)
    for data in (junk, good[:where] + junk + good[where + len(junk) :]):
        assert outcome(data) in ("RGB", "empty", "unreadable", "truncated", "too_large")


@settings(max_examples=100)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_png_and_array_agree(array: np.ndarray) -> None:
    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(array))), pixels(array))


# Boxes and scaled decoding


@pytest.mark.parametrize(
    ("box", "expected"),
    [((0, 0, W, H), (0, 0, W, H)), ((2, 3, 5, 4), (2, 3, 7, 7)), ((1.5, 2.5, 3.2, 1.0), (1, 2, 5, 4)),
     ((-5, -5, 10, 10), (0, 0, 5, 5)), ((W - 3, H - 2, 99, 99), (W - 3, H - 2, W, H))],
)  # fmt: skip
def test_a_box_is_widened_to_whole_pixels_and_cut_at_the_borders(
    box: tuple[float, ...], expected: tuple[int, ...], scene: Image.Image
) -> None:
    np.testing.assert_array_equal(pixels(scene, box=box), np.asarray(scene.crop(expected)))


@pytest.mark.parametrize("box", [(0, 0, 0, 0), (W, 0, 5, 5), (-9, 0, 3, 3), (3, 3, -1, 4), (np.nan, 0, 4, 4)])
def test_a_box_without_pixels_is_empty(box: tuple[float, ...], scene: Image.Image) -> None:
    assert reason(scene, box=box) == "empty"


@pytest.mark.parametrize(
    ("size", "target", "expected"),
    [((640, 480), None, (640, 480)), ((640, 480), 300, (640, 480)), ((640, 480), 240, (320, 240)),
     ((641, 481), 240, (321, 241)), ((4000, 3000), 448, (1000, 750)), ((4000, 3000), 224, (500, 375)),
     ((300, 3000), 100, (150, 1500))],
)  # fmt: skip
def test_a_large_jpeg_is_decoded_scaled_but_never_below_the_target(
    size: tuple[int, int], target: int | None, expected: tuple[int, int]
) -> None:
    data = encoded(Image.new("RGB", size, "olive"), "JPEG")
    assert decode(data, target=target).size == expected
    assert decode(data, target=target, box=(0, 0, 50, 50)).size == (50, 50)


def test_no_other_format_is_scaled() -> None:
    assert decode(encoded(Image.new("RGB", (640, 480))), target=16).size == (640, 480)


def test_pictures_under_way_are_bounded_by_their_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of 169 megapixels in each of eight threads took 20 GB."""
    monkeypatch.setattr(decoding, "_turn_for", decoding._Turns(1000))
    sides = [10, 40, 20, 30, 10, 50, 20, 10] * 40
    under_way: dict[int, int] = {}
    seen: list[list[int]] = []

    def look(number: int) -> None:
        side = sides[number]
        with decoding.decoded(np.zeros((side, side, 3), np.uint8)):
            under_way[number] = side * side
            seen.append(list(under_way.values()))
            del under_way[number]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(look, range(len(sides))))
    assert len(seen) == len(sides)
    assert [together for together in seen if len(together) > 1 and sum(together) > 1000] == []


def test_small_pictures_are_decoded_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waits inside its block until the other is there, which a queue of one would never let it be."""
    monkeypatch.setattr(decoding, "_turn_for", decoding._Turns(200))
    both = Barrier(2, timeout=60)

    def look(_: int) -> None:
        with decoding.decoded(np.zeros((10, 10, 3), np.uint8)):
            both.wait()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(look, range(2)))


def test_a_picture_that_fails_gives_its_turn_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Otherwise the first broken large picture ends decoding for good."""
    monkeypatch.setattr(decoding, "_turn_for", decoding._Turns(100))
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ImageError):
        decode(path)
    assert decoding._turn_for._taken == 0


def test_what_fails_inside_the_block_is_not_the_pictures_fault() -> None:
    with pytest.raises(ZeroDivisionError), decoding.decoded(np.zeros((4, 4, 3), np.uint8)):
        1 / 0  # noqa: B018
