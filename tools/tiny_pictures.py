"""The pictures and captions from which `tiny` learns, drawn at the size at which it sees them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datumaro_clip.demo.catalogue.captions import LANGUAGES, describe, some_of
from datumaro_clip.demo.catalogue.painting import draw_item
from datumaro_clip.demo.catalogue.spec import ATTRIBUTES, ItemSpec, sample_attributes, sample_spec

# Shortest side after resizing, as the image processor does it before it crops.
RESIZED_SIDE = 112
CHUNK = 500
FULL_SHARE = 0.6


def held_out(attributes: Mapping[str, str]) -> bool:
    """Return whether training never sees a combination of kind, colour and pattern; that is a tenth of them."""
    kind, colour, pattern = (ATTRIBUTES[name].index(attributes[name]) for name in ("kind", "colour", "pattern"))
    return (kind + 3 * colour + 7 * pattern) % 10 == 0


def codes_of(attributes: Mapping[str, str]) -> list[int]:
    """Return the index of each attribute's value; -1 for an attribute that is not mentioned."""
    told = {name: value for name, value in attributes.items() if value != "anyone"}
    return [ATTRIBUTES[name].index(told[name]) if name in told else -1 for name in ATTRIBUTES]


def training_spec(seed: int, index: int) -> ItemSpec:
    """Return the ``index``-th item of the training set; held-out combinations are left out."""
    rng = random.Random(f"train/{seed}/{index}")
    attributes = next(chosen for chosen in iter(lambda: sample_attributes(rng), None) if not held_out(chosen))
    return sample_spec(rng, attributes)


def draw_pictures(path: Path, count: int, seed: int, processes: int = 2) -> NDArray[np.uint8]:
    """Draw ``count`` pictures into ``path``: uint8 (count, RESIZED_SIDE, RESIZED_SIDE, 3), mapped from the file."""
    shape = (count, RESIZED_SIDE, RESIZED_SIDE, 3)
    if path.exists():
        return np.load(path, mmap_mode="c", allow_pickle=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = np.lib.format.open_memmap(path.with_suffix(".part"), mode="w+", dtype=np.uint8, shape=shape)
    starts = range(0, count, CHUNK)
    with ProcessPoolExecutor(processes) as pool:
        for start, chunk in zip(starts, pool.map(_draw_chunk, starts, [seed] * len(starts)), strict=True):
            pictures[start : start + CHUNK] = chunk[: count - start]
    pictures.flush()
    path.with_suffix(".part").replace(path)
    return pictures


def _draw_chunk(start: int, seed: int) -> NDArray[np.uint8]:
    """Draw the pictures from ``start`` on: uint8 (CHUNK, RESIZED_SIDE, RESIZED_SIDE, 3)."""
    return np.stack([_draw(training_spec(seed, index)) for index in range(start, start + CHUNK)])


def _draw(spec: ItemSpec) -> NDArray[np.uint8]:
    """Draw a picture as the image processor would prepare it, a little larger."""
    rng = random.Random(spec.seed)
    long, short = round(160 * rng.uniform(1, 1.33)), 160
    picture = draw_item(spec, (long, short) if rng.random() < 0.5 else (short, long))
    margin_x, margin_y = (picture.width - short) // 2, (picture.height - short) // 2
    square = picture.crop((margin_x, margin_y, margin_x + short, margin_y + short))
    return np.asarray(square.resize((RESIZED_SIDE, RESIZED_SIDE), Image.Resampling.BICUBIC))


def sayings(attributes: Mapping[str, str], rng: random.Random, count: int) -> Iterator[tuple[str, list[int]]]:
    """Yield ``count`` captions of an item, in alternating languages, each with the codes of what it mentions."""
    for language in islice(_alternating(rng), count):
        told = attributes if rng.random() < FULL_SHARE else some_of(attributes, rng)
        yield describe(told, language, rng), codes_of(told)


def _alternating(rng: random.Random) -> Iterator[str]:
    """Yield the languages in turn, beginning with either."""
    start = rng.randrange(len(LANGUAGES))
    while True:
        yield LANGUAGES[start % len(LANGUAGES)]
        start += 1
