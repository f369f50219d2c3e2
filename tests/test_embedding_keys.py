"""Keys of vectors and digests of pictures: they change with whatever changes a vector, and with nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datumaro_clip.embedding.keys import content_digest, source_digest, text_digest, vector_key
from datumaro_clip.errors import ImageError
from datumaro_clip.images import Region
from datumaro_clip.vectors import Provenance, VectorSpace

SPACE = VectorSpace("sha256:" + "0" * 64, 8)
F32 = Provenance(SPACE, "f32", "CPU")


def test_each_thing_that_changes_a_vector_changes_its_key() -> None:
    content = content_digest(b"picture")
    other_space = Provenance(VectorSpace("sha256:" + "1" * 64, 8), "f32", "CPU")
    keys = [
        vector_key(content, F32),
        vector_key(content_digest(b"picture2"), F32),
        vector_key(content, Provenance(SPACE, "bf16", "CPU")),
        vector_key(content, other_space),
        vector_key(content, F32, Region((0, 0, 5, 5))),
        vector_key(content, F32, Region((0, 0, 5, 6))),
        vector_key(content, F32, Region((0, 0, 5, 5), angle=1)),
        vector_key(content, F32, Region((0, 0, 5, 5), margin=1)),
        vector_key(content, F32, Region((0, 0, 5, 5), max_side=1)),
        vector_key(content, F32, Region((0, 0, 5, 5), outline=((0, 0, 5, 0, 5, 5),))),
        vector_key(content, F32, Region((0, 0, 5, 5), outline=((0, 0, 5, 0), (5, 5)))),
        vector_key(content, F32, Region((0, 0, 5, 5), mask=lambda: np.zeros((8, 8), bool))),
        vector_key(content, F32, Region((0, 0, 5, 5), mask=lambda: np.zeros((4, 16), bool))),
        vector_key(content, F32, exact_decode=True),
        vector_key(text_digest("picture"), F32),
    ]
    assert len(set(keys)) == len(keys)
    assert vector_key(content, Provenance(SPACE, "f32", "GPU.0")) == keys[0]


PNG = b"\x89PNG" + bytes(20)


@pytest.mark.parametrize(
    ("picture", "digest"),
    [
        (b"", "9bf55bf55dd4bc4e"),
        (b"\xff\xd8\xff", "f4c28334eb6db577"),
        (b"GIF89a", "55d34c19f7eb1362"),
        (b"BM1", "c07b69e72068f598"),
        (b"RIFF0", "6cb18a8a62e04f3f"),
        (PNG + b"\x08", "213b66cdb37c70bc"),
        (PNG + b"\x10", "39c3844ca8f57871"),
        (b"II*\0", "8cb83c2cf1581539"),
        (np.arange(12, dtype=np.uint8).reshape(2, 2, 3), "c1f259410d2fbfb1"),
        (np.arange(12, dtype="<u2").reshape(2, 2, 3), "2f255f5b1f3e7bc6"),
    ],
)
def test_digests_of_pictures_stay_as_they_are(picture: bytes | np.ndarray, digest: str) -> None:
    """Users' caches hold vectors under them; digests of deep pictures changed when 16 bits were first scaled."""
    assert content_digest(picture).hex()[:16] == digest


def test_keys_and_digests_of_parts_stay_as_they_are() -> None:
    """With other keys, everything in users' caches and stores would be computed again."""
    provenance, part = Provenance(VectorSpace("sha256:1", 4), "f32", "CPU"), Region((0, 0, 5, 5))
    content = content_digest(b"\xff\xd8\xff")
    keys = [vector_key(content, provenance), vector_key(content, provenance, exact_decode=True)]
    keys += [vector_key(content, provenance, part), text_digest("a red mug"), text_digest("\udcff")]
    wanted = ["bfa91762a7d99105", "a4b2a88927fb6abf", "749c045e55b34483", "74bdabbc0f94b1e4", "3d9b18089fabb90e"]
    assert [key.hex()[:16] for key in keys] == wanted
    assert source_digest(content, part)[:16] == "4276d2a3abb411a3"


def test_a_box_is_always_decoded_exactly() -> None:
    content, part = content_digest(b"picture"), Region((0, 0, 5, 5))
    assert vector_key(content, F32, part) == vector_key(content, F32, part, exact_decode=True)


def test_a_picture_has_one_digest_however_it_is_given(tmp_path: Path) -> None:
    """A path and its bytes are the same picture; pixels of another shape are not."""
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    assert content_digest(path) == content_digest(str(path)) == content_digest(path.read_bytes())
    assert content_digest(Image.fromarray(pixels)) == content_digest(pixels)
    assert content_digest(pixels) != content_digest(pixels.reshape(2, 8, 3))


@pytest.mark.parametrize(("name", "reason"), [("nowhere.jpg", "missing"), (".", "not_a_file"), ("\0", "unreadable")])
def test_what_cannot_be_hashed_says_why(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        content_digest(f"{tmp_path}/{name}")
    assert caught.value.reason == reason


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="not on this machine: pipes in the file system")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="regular"):
        content_digest(tmp_path / "pipe")
