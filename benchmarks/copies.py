"""Telling copies from look-alikes at full resolution: drawn families, small edits of photos, and altered photos.

All pairs go through ``find_near``, thumbnails and the judge together. A full run takes about an hour of one processor.
``python -m benchmarks.copies FAMILY|EDIT|coco|neardup …`` runs parts of it, ``--every N`` uses each Nth picture, and
``--seed 0`` uses the seeds that the limits were set on.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from benchmarks.duplicates import PHOTOS, photo_groups
from benchmarks.edits import EDITS, edited_photo
from benchmarks.families import FAMILIES, pairs
from benchmarks.figures import Figure
from datumaro_clip.curate.near import NearGroups, find_near
from datumaro_clip.curate.thumbnails import square_thumbnail

COCO = PHOTOS.parent / "coco_mini" / "images"
PAIRS = 30
SIDES = (224, 640, 1280, 2560, 4000)
CHARACTER = "another character, 12 pixels"

#: The first seed that no limit was set on.
HELD_OUT = 1000

Alteration = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class Way:
    """A way to store a picture: scaled, as a JPEG of some quality."""

    name: str
    quality: int
    scale: float = 1.0

    def store(self, picture: Image.Image) -> bytes:
        """The picture's bytes."""
        if self.scale != 1:
            size = round(picture.width * self.scale), round(picture.height * self.scale)
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        return jpeg(picture, self.quality)


WAYS = (Way("quality 95", 95), Way("quality 75", 75), Way("quality 50", 50), Way("halved, quality 75", 75, 0.5))


def jpeg(picture: Image.Image, quality: int) -> bytes:
    """A picture as a JPEG with Pillow's default chroma sampling (4:2:0)."""
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def _noisy(picture: Image.Image) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, 4, (picture.height, picture.width, 3))
    return Image.fromarray(np.clip(np.asarray(picture) + noise + 0.5, 0, 255).astype(np.uint8))


def _cropped(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    return picture.crop((round(0.05 * width), round(0.05 * height), round(0.95 * width), round(0.95 * height)))


# Each is encoded again at quality 75, the first at 50.
ALTERATIONS: dict[str, Alteration] = {
    "quality 50": lambda picture: picture,
    "halved": lambda picture: picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS),
    "cropped to 90%": _cropped,
    "turned by 90°": lambda picture: picture.transpose(Image.Transpose.ROTATE_90),
    "turned by 5°": lambda picture: picture.rotate(5, Image.Resampling.BICUBIC),
    "turned by 5°, nearest neighbour": lambda picture: picture.rotate(5),
    "mirrored": ImageOps.mirror,
    "brightness +20%": lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
    "brightness -20%": lambda picture: ImageEnhance.Brightness(picture).enhance(0.8),
    "noise of 4 grey levels": _noisy,
}


def run(work: Path) -> Iterator[Figure]:
    """All figures."""
    yield from measure(["neardup", "coco", *FAMILIES, *EDITS], 1, HELD_OUT)


def measure(parts: list[str], every: int, seed: int) -> Iterator[Figure]:
    """The figures of some parts, of each ``every``-th picture or pair, drawn from a seed on."""
    for part in parts:
        if part == "neardup":
            yield from _collection()
        elif part == "coco":
            yield from _photos(every)
        elif part in FAMILIES:
            yield from _family(part, PAIRS // every, seed)
        else:
            yield from _edits(part, every, seed)


def compared(*sources: bytes) -> NearGroups:
    """Groups among encoded pictures."""
    thumbnails = [square_thumbnail(Image.open(io.BytesIO(source))) for source in sources]
    return find_near(thumbnails, range(len(sources)), pictures=sources.__getitem__)


def _is_copy(original: bytes, other: bytes, ratios: list[float]) -> bool:
    """Return whether one of a pair is dropped; the judge's ratio is appended if it was asked."""
    found = compared(original, other)
    ratios.extend(each.ratio for each in found.differences.values())
    return bool(found.representatives[1] == 0)


def _figure(what: str, right: int, count: int, ratios: list[float]) -> Figure:
    quantiles = np.quantile(ratios, (0, 0.5, 1)) if ratios else (0.0, 0.0, 0.0)
    spread = (
        f"of {count}; judged {len(ratios)}, ratios {quantiles[0]:.1f} to {quantiles[2]:.1f}, half {quantiles[1]:.1f}"
    )
    return Figure("copies", what, right / count, "", against=spread)


def _family(family: str, count: int, seed: int) -> Iterator[Figure]:
    for way in WAYS:
        dropped, kept = [], []
        numbers = [0, 0]
        for pair in pairs(family, count, seed):
            original = jpeg(pair.original, 95)
            numbers[0] += _is_copy(original, way.store(pair.edited), dropped)
            numbers[1] += _is_copy(original, way.store(pair.original), kept)
        yield _figure(f"{family}, {way.name}: edits dropped", numbers[0], count, dropped)
        yield _figure(f"{family}, {way.name}: copies found", numbers[1], count, kept)


def _edits(edit: str, every: int, seed: int) -> Iterator[Figure]:
    """Use the same photos for each size; twice as many for a character, for which the goal is a share of 99%."""
    files = sorted(COCO.glob("*/*.jpg"))[seed % 7 :: 5 if edit == CHARACTER else 10][::every]
    for side in SIDES:
        numbers = dict.fromkeys(WAYS, 0)
        ratios: dict[object, list[float]] = {way: [] for way in WAYS}
        for number, file in enumerate(files):
            pair = edited_photo(Image.open(file), edit, side, seed + number)
            original = jpeg(pair.original, 95)
            for way in WAYS:
                numbers[way] += not _is_copy(original, way.store(pair.edited), ratios[way])
        for way in WAYS:
            yield _figure(f"{edit}; {side} pixels, {way.name}: seen", numbers[way], len(files), ratios[way])


def _photos(every: int) -> Iterator[Figure]:
    files = sorted(COCO.glob("*/*.jpg"))[::every]
    for name, alter in ALTERATIONS.items():
        ratios: list[float] = []
        found = 0
        for file in files:
            copy = jpeg(alter(Image.open(file).convert("RGB")), 50 if name == "quality 50" else 75)
            found += _is_copy(file.read_bytes(), copy, ratios)
        yield _figure(f"coco, {name}: copies found", found, len(files), ratios)


def _collection() -> Iterator[Figure]:
    """Recall and false pairs of altered copies, with CLIP vectors and without."""
    groups = photo_groups()
    names = list(groups)
    files = [PHOTOS / "images" / name for name in names]
    pictures = [Image.open(file).convert("RGB") for file in files]
    order = sorted(range(len(files)), key=lambda at: (-pictures[at].width * pictures[at].height, at))
    true = {(a, b) for a, b in combinations(range(len(files)), 2) if groups[names[a]] == groups[names[b]]}
    vectors = np.load(PHOTOS / "clip_vectors.npy")
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    thumbnails = [square_thumbnail(picture) for picture in pictures]
    for name, given in (("with vectors", vectors), ("by pixels", None)):
        heads = find_near(thumbnails, order, given, pictures=files.__getitem__).representatives
        found = {(a, b) for a, b in combinations(range(len(files)), 2) if heads[a] == heads[b]}
        yield Figure("copies", f"neardup, {name}: recall of pairs", len(found & true) / len(true), "")
        yield Figure("copies", f"neardup, {name}: false pairs", len(found - true), "")


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="*", default=["neardup", "coco", *FAMILIES, *EDITS])
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seed", type=int, default=HELD_OUT)
    args = parser.parse_args()
    for figure in measure(args.part, args.every, args.seed):
        print(f"{figure.name:<70} {figure.ours:.3f}  {figure.against}", flush=True)


if __name__ == "__main__":
    main()
