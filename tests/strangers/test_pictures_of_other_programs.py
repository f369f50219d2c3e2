"""Good pictures that cameras, microscopes and image generators write, and that were dropped.

Reported of the same kind: python-pillow/Pillow 2445 and 8363 (texts and profiles of a PNG), 3011 and 5991 (16 bits).
"""

from __future__ import annotations

import hashlib
import io
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from datumaro_clip.embedding.keys import content_digest
from datumaro_clip.errors import ImageError
from datumaro_clip.images import decode
from datumaro_clip.system.files import blake2b_bytes

W, H = 40, 24
RAMP = np.arange(W * H).reshape(H, W) / (W * H - 1)
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=-1)


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png(picture: Image.Image, extra: bytes, last: bool = False) -> bytes:
    """A PNG with another chunk after its header, or before its end."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    data = buffer.getvalue()
    place = len(data) - 12 if last else 33
    return data[:place] + extra + data[place:]


LONG = zlib.compress(b"a prompt of many words " * 100_000)
CHUNKS = {
    "zTXt": chunk(b"zTXt", b"parameters\0\0" + LONG),
    "iTXt": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LONG),
    "iCCP": chunk(b"iCCP", b"profile\0\0" + LONG),
    "many": chunk(b"zTXt", b"p\0\0" + zlib.compress(bytes(1 << 20))) * 70,
}


@pytest.mark.parametrize("name", CHUNKS)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("as_file", [False, True])
def test_a_png_with_long_texts_is_decoded(name: str, last: bool, as_file: bool, tmp_path: Path) -> None:
    """Pillow unpacks a megabyte of text at most, and refuses the picture otherwise."""
    scene = Image.fromarray((COLOURS * 255).astype(np.uint8))
    data = png(scene, CHUNKS[name], last)
    (tmp_path / "a.png").write_bytes(data)
    got = decode(tmp_path / "a.png" if as_file else data, box=(1, 2, 30, 20))
    np.testing.assert_array_equal(np.asarray(got), np.asarray(scene.crop((1, 2, 31, 22))))


def test_pillows_own_bounds_are_left_alone() -> None:
    before = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    decode(png(Image.new("RGB", (4, 4)), CHUNKS["zTXt"]))
    assert before == (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)


def test_a_png_that_is_cut_in_its_texts_is_still_refused() -> None:
    data = png(Image.new("RGB", (40, 40)), CHUNKS["zTXt"])
    with pytest.raises(ImageError):
        decode(data[: data.index(b"zTXt") + 900])


def tiff(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "TIFF")
    return buffer.getvalue()


def grey(image: Any) -> np.ndarray:
    pixels = np.asarray(decode(image))
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


@pytest.mark.parametrize(
    ("bits", "expected"),
    [(8, RAMP * 255), (12, RAMP * 4095 // 16), (16, RAMP * 65535 // 256)],
)
@pytest.mark.parametrize("kind", ["tiff", "png", "array", "big-endian"])
def test_16_bits_are_scaled_by_what_they_hold(bits: int, expected: np.ndarray, kind: str) -> None:
    """Values of 12 bits were read as black, and their items dropped as blank."""
    values = np.rint(RAMP * (2**bits - 1)).astype(np.uint16)
    ok, encoded = cv2.imencode(".png", values)
    image: Any = {
        "tiff": tiff(values),
        "png": encoded.tobytes(),
        "array": values,
        "big-endian": Image.frombytes("I;16B", (W, H), values.astype(">u2").tobytes()),
    }[kind]
    assert ok
    np.testing.assert_allclose(grey(image), expected, atol=1)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("kind", [".png", ".tiff"])
@pytest.mark.parametrize("as_file", [False, True])
def test_16_bits_a_channel_are_scaled_likewise(bits: int, kind: str, as_file: bool, tmp_path: Path) -> None:
    """Pillow keeps the upper byte of each channel, and nothing else is left of the picture."""
    values = np.rint(COLOURS * (2**bits - 1)).astype(np.uint16)
    path = tmp_path / f"a{kind}"
    assert cv2.imwrite(str(path), np.ascontiguousarray(values[..., ::-1]))
    got = np.asarray(decode(path if as_file else path.read_bytes()))
    np.testing.assert_allclose(got, COLOURS * 255, atol=1)


def test_a_dark_picture_of_8_bits_stays_dark() -> None:
    dark = (COLOURS * 12).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(dark).save(buffer, "PNG")
    np.testing.assert_array_equal(np.asarray(decode(buffer.getvalue())), dark)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (RAMP, np.rint(RAMP * 255)),
        (RAMP * 255, RAMP * 255),
        (RAMP * 4 - 1, np.clip(RAMP * 4 - 1, 0, 255)),
        (RAMP * 0, RAMP * 0),
    ],
)
def test_floats_from_0_to_1_are_levels(values: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(grey(tiff(values.astype(np.float32))), expected, atol=1)


def test_only_what_is_read_otherwise_than_before_has_another_key() -> None:
    """Vectors in users' caches stay good, but for those of pictures that were read as black."""
    eight, sixteen = (RAMP * 255).astype(np.uint8), (RAMP * 4095).astype(np.uint16)
    encoded = {kind: cv2.imencode(f".{kind}", eight)[1].tobytes() for kind in ("png", "jpg", "bmp", "webp")}
    assert [kind for kind, data in encoded.items() if content_digest(data) != blake2b_bytes(data)] == []
    deep = [cv2.imencode(".png", sixteen)[1].tobytes(), tiff(RAMP.astype(np.float32)), tiff(sixteen)]
    assert [len(data) for data in deep if content_digest(data) == blake2b_bytes(data)] == []
    header = f"{eight.dtype.str} {eight.shape} ".encode()
    assert content_digest(eight) == hashlib.blake2b(header + eight.tobytes(), digest_size=32).digest()


def test_a_path_and_its_bytes_have_one_key(tmp_path: Path) -> None:
    (tmp_path / "a.tiff").write_bytes(tiff((RAMP * 4095).astype(np.uint16)))
    assert content_digest(tmp_path / "a.tiff") == content_digest((tmp_path / "a.tiff").read_bytes())
