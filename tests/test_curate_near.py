"""Altered copies are found, look-alikes stay; thresholds were set on half of this collection, see docs/curation.md."""

from __future__ import annotations

import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import BinaryIO, NamedTuple

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from datumaro_clip.curate import dedup
from datumaro_clip.curate.duplicates import Candidate, find_duplicates, keep_order, pixel_digest
from datumaro_clip.curate.near import find_near, rings
from datumaro_clip.curate.near.photometry import WITHOUT_NOISE, fit_light
from datumaro_clip.curate.near.pixels import match
from datumaro_clip.curate.near.rings import VIEWS, WHOLE, Thumbnail, describe, frame_map, orient, spectra
from datumaro_clip.curate.thumbnails import ThumbnailFile, square_thumbnail
from datumaro_clip.errors import OptionError
from datumaro_clip.options import read_options
from datumaro_clip.vectors import unit_rows


def scene(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """A picture of its own: coloured shapes on a coloured ground."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", size, tuple(rng.integers(60, 200, 3).tolist()))
    pen = ImageDraw.Draw(picture)
    for _ in range(14):
        x, y, w, h = (rng.uniform(0, 1, 4) * [size[0], size[1], size[0] / 3, size[1] / 3]).tolist()
        draw = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        draw((x, y, x + w, y + h), fill=tuple(rng.integers(0, 255, 3).tolist()))
    return picture


def noisy(picture: Image.Image) -> Image.Image:
    noise = np.random.default_rng(9).normal(0, 40, (*picture.size[::-1], 3))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


ALTERED = {
    "resized": lambda picture: picture.resize((150, 120)),
    "stretched": lambda picture: picture.resize((300, 300)),
    "mirrored": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "upside down": lambda picture: picture.transpose(Image.Transpose.ROTATE_180),
    "quarter turn": lambda picture: picture.transpose(Image.Transpose.ROTATE_90),
    "brightened": lambda picture: ImageEnhance.Brightness(picture).enhance(1.3),
    "less contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(0.7),
    "cropped": lambda picture: picture.crop((20, 15, 300, 225)),
    "cropped in a corner": lambda picture: picture.crop((64, 48, 320, 240)),
    "noisy": noisy,
}


@pytest.mark.parametrize("name", ALTERED)
def test_an_altered_copy_is_found_without_vectors(name: str):
    thumbnails = [square_thumbnail(picture) for picture in (scene(1), ALTERED[name](scene(1)), scene(2), scene(3))]
    assert find_near(thumbnails, range(4)).representatives.tolist() == [0, 0, 2, 3]


# Correlation, detail, evidence, peak, colour's peak, grain, light, plainness, unmoved, displaced.
MEASURES = {
    "mirrored": (1, 1, 1, 0, 0, 0, 0, 0.8075, 1, 1.0104),
    "brightened": (0.8015, 0.9378, 0.9957, 0.0481, 0.0217, 0.0053, 0.2569, 0.8075, 0, 0),
    "less contrast": (0.9999, 1, 0.9998, 0.0017, 0.0015, 0.0002, 0.5251, 0.8075, 0.0045, 0),
    "cropped": (0.9802, 0.9791, 0.9957, 0.0327, 0.0104, 0.0073, 0, 0.8012, 0.8203, 0.1045),
    "noisy": (0.9658, 0.9782, 0.9956, 0.0199, 0.0199, 0.0083, 0.1008, 0.8075, 0.5406, 0.0018),
}


@pytest.mark.parametrize("name", MEASURES)
def test_measures_are_those_that_the_thresholds_were_set_on(name: str):
    """As they are where docs/curation.md has its figures from: measures that move make the bounds of rules.py wrong."""
    one, other = (square_thumbnail(picture) for picture in (scene(1), ALTERED[name](scene(1))))
    found = match(one, other, orient(spectra(one), spectra(other)))
    assert found[:10] == pytest.approx(MEASURES[name], abs=2e-3)


def test_a_recoloured_part_is_no_copy():
    one, two = scene(1), scene(1)
    ImageDraw.Draw(one).ellipse((120, 80, 200, 160), fill=(200, 40, 40))
    ImageDraw.Draw(two).ellipse((120, 80, 200, 160), fill=(40, 40, 200))
    assert find_near([square_thumbnail(one), square_thumbnail(two)], [0, 1]).representatives.tolist() == [0, 1]


def test_similar_vectors_do_not_make_a_copy():
    vectors = unit_rows(np.ones((2, 8)))
    thumbnails = [square_thumbnail(scene(seed)) for seed in (1, 2)]
    assert find_near(thumbnails, [0, 1], vectors).representatives.tolist() == [0, 1]


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_and_one_picture(count: int):
    assert len(find_near([square_thumbnail(scene(1))] * count, range(count)).representatives) == count


def test_pictures_of_one_colour_do_not_break_anything():
    flat = [np.full((96, 96, 3), grey, np.uint8) for grey in (0, 90, 255)]
    assert find_near(flat, range(3)).representatives.tolist() == [0, 1, 2]


@pytest.mark.parametrize("threshold", [-2, 1.1])
def test_a_threshold_that_is_no_similarity_is_refused(threshold: float):
    with pytest.raises(OptionError):
        find_near([], [], threshold=threshold)


def test_descriptions_do_not_change_with_turns_and_mirrors():
    one = square_thumbnail(scene(1))
    for other in (one[::-1], one[:, ::-1], np.rot90(one)):
        assert float(describe(one, (WHOLE,))[0] @ describe(np.ascontiguousarray(other), (WHOLE,))[0]) > 0.999


def test_orientation_maps_pixels_where_they_went():
    one = square_thumbnail(scene(1))
    found = orient(spectra(one), spectra(np.ascontiguousarray(one[:, ::-1])))
    assert found.score > 0.99
    assert found.view in VIEWS
    x, y = frame_map(found) @ np.array([10.0, 20.0, 1.0])
    assert (x, y) == pytest.approx((85, 20), abs=2.5)


@pytest.mark.parametrize(
    "wanted", [(1.0, 0.0, 1.0), (1.8, 0.0, 1.0), (0.6, 0.1, 1.0), (1.2, -0.1, 0.7), (0.9, 0.05, 1.4)]
)
def test_a_change_of_light_is_explained_where_it_clips(wanted: tuple[float, float, float]):
    gain, offset, saturation = wanted
    pixels = np.random.default_rng(0).uniform(0, 1, (3000, 3)).astype(np.float32)
    lit = gain * pixels + offset
    grey = lit.mean(axis=1, keepdims=True)
    light = fit_light(pixels, np.clip(grey + saturation * (lit - grey), 0, 1).astype(np.float32))
    assert light[:3] == pytest.approx(wanted, abs=2e-3)
    assert light.error < 1e-6
    assert light.change == pytest.approx(abs(np.log(gain)) + abs(offset) + 0.3 * abs(np.log(saturation)), abs=4e-3)


@pytest.mark.parametrize("noise", [0.12, 0.22])
def test_noise_that_clips_is_told_from_a_change_of_light(noise: float):
    """What noise does to black and white looks like less contrast, as long as noise is not thought of."""
    rng = np.random.default_rng(0)
    pixels = rng.uniform(0, 1, (3000, 3)).astype(np.float32)
    seen = np.mean([np.clip(1.2 * pixels + rng.normal(0, noise, pixels.shape), 0, 1) for _ in range(60)], axis=0)
    light = fit_light(pixels, seen.astype(np.float32))
    assert light[:3] == pytest.approx((1.2, 0, 1), abs=0.03)
    assert light.error < fit_light(pixels, seen.astype(np.float32), WITHOUT_NOISE).error


def test_pixels_decide_what_is_exact(tmp_path: Path):
    scene(1).save(tmp_path / "a.png")
    scene(1).save(tmp_path / "b.bmp")
    assert pixel_digest(decoded(tmp_path / "a.png")) == pixel_digest(decoded(tmp_path / "b.bmp"))
    assert pixel_digest(scene(1)) != pixel_digest(scene(2))
    assert pixel_digest(Image.new("RGB", (2, 3))) != pixel_digest(Image.new("RGB", (3, 2)))


def test_the_best_aligned_stays_then_the_best_annotated_then_the_largest_then_the_first():
    items = [
        Candidate(pixels=9),
        Candidate(pixels=10),
        Candidate(annotations=2),
        Candidate(alignment=0.3),
        Candidate(alignment=0.1, protected=True),
    ]
    assert keep_order(items, ("alignment", "annotations", "resolution", "order")) == [4, 3, 2, 1, 0]
    assert keep_order(items, ("order",)) == [4, 0, 1, 2, 3]


def test_an_exact_copy_of_a_near_duplicate_follows_it():
    pictures = [scene(1), ALTERED["mirrored"](scene(1)), ALTERED["mirrored"](scene(1))]
    items = [Candidate((pixel_digest(picture),), pixels=1) for picture in pictures]
    thumbnails = [square_thumbnail(picture) for picture in pictures]
    found = find_duplicates(items, thumbnails, range(3), read_options(dedup.OPTIONS, {}, "clip_dedup")).duplicates
    told = {item: (each.level, each.representative) for item, each in found.items()}
    assert told == {1: ("near", 0), 2: ("exact", 0)}


def test_thumbnails_come_back_from_their_file():
    with ThumbnailFile() as file:
        for seed in (1, 2):
            file.append(square_thumbnail(scene(seed)))
        assert len(file) == 2
        assert np.array_equal(file[1], square_thumbnail(scene(2)))
        assert np.array_equal(file.block(0, 9), np.stack([square_thumbnail(scene(seed)) for seed in (1, 2)]))
        with pytest.raises(IndexError):
            file[2]


class ReadByOne:
    """A file that notices if a thread reads before another one has read at the place that it sought."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._busy = file, Lock()

    def seek(self, place: int) -> None:
        assert self._busy.acquire(blocking=False)
        self._file.seek(place)

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._busy.release()
        return data


def test_threads_read_thumbnails_of_one_file_at_once():
    thumbnails = [np.full((96, 96, 3), level, np.uint8) for level in range(8)]
    with ThumbnailFile() as file, ThreadPoolExecutor(8) as pool:
        for thumbnail in thumbnails:
            file.append(thumbnail)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(file, "_file", ReadByOne(file._file))
            found = list(pool.map(lambda index: int(file[index].max()), [*range(8)] * 200))
    assert found == [*range(8)] * 200


def _pair_counts(found: np.ndarray, truth: np.ndarray) -> tuple[int, int, int]:
    """Pairs found rightly, found, and true."""
    upper = np.triu_indices(len(found), 1)
    one, two = (labels[upper[0]] == labels[upper[1]] for labels in (found, truth))
    return int((one & two).sum()), int(one.sum()), int(two.sum())


class Mixture(NamedTuple):
    """Altered copies of photos, then other photos and product shots."""

    thumbnails: list[Thumbnail]
    order: list[int]
    vectors: np.ndarray
    """CLIP vectors of the altered copies."""
    groups: np.ndarray


@pytest.fixture(scope="module")
def mixture(shared: Path) -> Mixture:
    """Half of the copies and a few others, so that the test stays short; docs/curation.md has the figures of all."""
    folder = shared / "data/neardup"
    rows = list(csv.DictReader((folder / "groups.csv").read_text().splitlines()))
    half = set(sorted({row["group"] for row in rows})[::2])
    chosen = [number for number, row in enumerate(rows) if row["group"] in half]
    folders = (("coco_mini/images/*/*.jpg", 6), ("products/images/*.jpg", 120))
    files = [file for pattern, step in folders for file in sorted((shared / "data").glob(pattern))[::step]]
    others = list({file.read_bytes(): file for file in files}.values())
    pictures = [decoded(file) for file in (*(folder / "images" / rows[number]["image"] for number in chosen), *others)]
    order = sorted(range(len(pictures)), key=lambda n: (-pictures[n].width * pictures[n].height, n))
    vectors = unit_rows(np.load(folder / "clip_vectors.npy")[chosen])
    groups = np.unique([*(rows[number]["group"] for number in chosen), *map(str, others)], return_inverse=True)[1]
    return Mixture([square_thumbnail(each) for each in pictures], order, vectors, groups)


@pytest.mark.parametrize("with_vectors", [True, False])
def test_altered_photos_are_found_among_other_photos_and_products(mixture: Mixture, with_vectors: bool):
    found = find_near(mixture.thumbnails, mixture.order, mixture.vectors if with_vectors else None)
    right, told, true = _pair_counts(found.representatives, mixture.groups)
    altered, everything = len(mixture.vectors), len(mixture.order)
    assert (found.representatives[altered:] == np.arange(altered, everything)).all()
    assert right / told >= 0.99
    assert right / true >= 0.97


def test_a_vector_that_many_share_proposes_nothing():
    """Vectors of a model that knows nothing of these pictures would have every pair compared."""
    vectors = unit_rows(np.ones((40, 8)))
    flat = [np.full((96, 96, 3), 6 * grey, np.uint8) for grey in range(40)]
    assert find_near(flat, range(40), vectors, threshold=0.5).compared == find_near(flat, range(40)).compared


def decoded(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def test_a_blur_moves_light_and_makes_none():
    point = np.zeros((rings.SIDE, rings.SIDE, 3), np.float32)
    point[40, 50] = 1
    blurred = rings._blurred(point)
    np.testing.assert_allclose(blurred.sum(axis=(0, 1)), 1, atol=1e-6)
    np.testing.assert_allclose(256 * blurred[40, 48:53, 0], [6, 24, 36, 24, 6], atol=1e-4)
    np.testing.assert_allclose(rings._blurred(np.full_like(point, 0.25)), 0.25, atol=1e-6)
