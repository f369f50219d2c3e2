"""Mutated pictures among good ones cause no hang or crash, affect no other picture, and have a reason."""

from __future__ import annotations

import functools
import os
import random
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datumaro_clip.embedding import EmbedResult, ImageRequest, embed_images
from datumaro_clip.embedding.cache import VectorCache
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.vectors import FloatArray, is_unit_rows

GOOD, BAD = 400, 250
REASONS = {"missing", "unreadable", "truncated", "too_large", "empty", "not_a_file", "permission"}
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")


def encoded(index: int, kind: str) -> bytes:
    pixels = np.random.default_rng(index).integers(0, 255, (5, 7, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).resize((60, 40)).save(file, kind)
    return file.getvalue()


@functools.cache
def png_of_size(width: int, height: int) -> bytes:
    """A tiny file that says it is huge, and inflates to as much as its data allows."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(10_000_000), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def flip(path: Path, data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randrange(1, 30)):
        data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
    path.write_bytes(data)


def truncate(path: Path, data: bytearray, chance: random.Random) -> None:
    path.write_bytes(data[: chance.randrange(len(data))])


def noise(path: Path, data: bytearray, chance: random.Random) -> None:
    path.write_bytes(chance.randbytes(chance.randrange(1, 5000)))


def noise_behind_a_header(path: Path, data: bytearray, chance: random.Random) -> None:
    path.write_bytes(data[:24] + chance.randbytes(len(data)))


def empty(path: Path, data: bytearray, chance: random.Random) -> None:
    path.touch()


def directory(path: Path, data: bytearray, chance: random.Random) -> None:
    path.mkdir()


def pipe(path: Path, data: bytearray, chance: random.Random) -> None:
    os.mkfifo(path)


def loop(path: Path, data: bytearray, chance: random.Random) -> None:
    path.symlink_to(path)


def dangling(path: Path, data: bytearray, chance: random.Random) -> None:
    path.symlink_to(path.with_name("nowhere"))


def missing(path: Path, data: bytearray, chance: random.Random) -> None:
    """Nothing is written."""


def unreadable(path: Path, data: bytearray, chance: random.Random) -> None:
    path.write_bytes(data)
    path.chmod(0)


def huge(path: Path, data: bytearray, chance: random.Random) -> None:
    path.write_bytes(png_of_size(60_000, 60_000))


def huge_and_thin(path: Path, data: bytearray, chance: random.Random) -> None:
    path.write_bytes(png_of_size(60_000, 1))


def text(path: Path, data: bytearray, chance: random.Random) -> None:
    path.write_text("<html>404 not found</html>")


MUTATIONS: tuple[Callable[[Path, bytearray, random.Random], None], ...] = (
    *(flip, truncate, noise, noise_behind_a_header) * 4,
    *(empty, directory, loop, dangling, missing, unreadable, huge, huge_and_thin, text),
    *((pipe,) if hasattr(os, "mkfifo") else ()),
)


def write_pictures(folder: Path, chance: random.Random) -> tuple[list[Path], set[Path]]:
    """Paths of all pictures in a random order, and of those left alone."""
    good = [folder / f"good-{index}.jpg" for index in range(GOOD)]
    for index, path in enumerate(good):
        path.write_bytes(encoded(index, chance.choice(FORMATS)))
    bad = [folder / f"bad-{index}.jpg" for index in range(BAD)]
    for index, path in enumerate(bad):
        mutate = MUTATIONS[index % len(MUTATIONS)]
        mutate(path, bytearray(encoded(GOOD + index, chance.choice(FORMATS))), chance)
    return chance.sample(good + bad, GOOD + BAD), set(good)


@pytest.mark.skipif(os.name == "nt", reason="not on this machine: links and permissions of POSIX")
def test_mutated_pictures_among_good_ones(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    paths, good = write_pictures(folder, random.Random(7))
    alone = {path: FakeEncoder().embed_images([path])[0] for path in good}
    for cache in (None, VectorCache(tmp_path / "cache")):
        results = list(embed_images(map(ImageRequest, paths), FakeEncoder(), cache=cache))
        assert len(results) == len(paths)
        for path, result in zip(paths, results, strict=True):
            check(path, result, alone.get(path))
        reasons = {result.error.reason for result in results if result.error}
        assert {"missing", "unreadable", "truncated", "too_large", "empty", "not_a_file"} <= reasons <= REASONS


def check(path: Path, result: EmbedResult, alone: FloatArray | None) -> None:
    """A good picture has the vector that it has alone; a bad one has a unit vector, or an error that names it."""
    if alone is not None:
        np.testing.assert_array_equal(result.vector, alone)
    elif result.error is None:
        assert is_unit_rows(np.asarray(result.vector)[None])
    else:
        assert path.name in str(result.error)
