"""Altered copies of photos found by their pixels alone, beside imagededup's perceptual hash on the same pictures.

And what it costs among many that look alike: shots of products, on one processor and on all.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

import cv2
from PIL import Image

from benchmarks import SHARED
from benchmarks.figures import Figure, seconds
from datumaro_clip.curate.near import find_near
from datumaro_clip.curate.thumbnails import square_thumbnail
from datumaro_clip.system.machine import available_processors

PHOTOS = SHARED / "data" / "neardup"
PRODUCTS = PHOTOS.parent / "products" / "images"
# Two sizes, to show how the time grows.
PRODUCT_COUNTS = (500, 1000)
# imagededup's own default.
MOST_BITS_APART = 10

Pairs = set[tuple[str, ...]]


def run(work: Path) -> Iterator[Figure]:
    """Figures among products, then, beside the peer, among photos."""
    for count in PRODUCT_COUNTS:
        yield from _among_products(count)
    yield from _among_photos()


def photo_groups() -> dict[str, str]:
    """Return the group of copies of each photo, by its file's name."""
    with (PHOTOS / "groups.csv").open(newline="") as file:
        return {row["image"]: row["group"] for row in csv.DictReader(file)}


def _among_photos() -> Iterator[Figure]:
    """Recall and precision of pairs of copies, and the time, files to groups, on one processor."""
    groups = photo_groups()
    true = {pair for pair in combinations(sorted(groups), 2) if groups[pair[0]] == groups[pair[1]]}
    cv2.setNumThreads(1)
    found: dict[str, Pairs] = {}
    with _one_processor():
        ours = seconds(lambda: found.update(ours=_ours(sorted(groups))))
        theirs = seconds(lambda: found.update(theirs=_imagededup()))
    what, beside = f"{len(groups)} photos", f"imagededup PHash, {MOST_BITS_APART} bits"
    yield Figure("duplicates", f"{what}: files to groups", ours, "s", theirs / ours, None, f"{beside}, {theirs:.1f} s")
    for name, share in (("recall", _recall), ("precision", _precision)):
        mine, peer = share(found["ours"], true), share(found["theirs"], true)
        yield Figure("duplicates", f"{what}: {name} of pairs", mine, "", mine / peer, None, f"{beside}, {peer:.3f}")


def _among_products(count: int) -> Iterator[Figure]:
    """Time of wall and processors, thumbnails to groups; most of it goes into telling look-alikes apart."""
    thumbnails = [square_thumbnail(Image.open(file)) for file in sorted(PRODUCTS.glob("*.jpg"))[:count]]
    everyone = range(len(thumbnails))
    with _one_processor():
        alone = seconds(lambda: find_near(thumbnails, everyone))
    started = time.process_time()
    together = seconds(lambda: find_near(thumbnails, everyone))
    spent = time.process_time() - started
    what = f"{count:,} product shots"
    beside = f"one processor, {alone:.1f} s; {available_processors()} here"
    yield Figure("duplicates", f"{what}: thumbnails to groups", together, "s", alone / together, None, beside)
    yield Figure("duplicates", f"{what}: processors' time, 1,000 each", 1000 * spent / count, "s")


@contextmanager
def _one_processor() -> Iterator[None]:
    """This process on one processor, where the operating system lets it choose."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _recall(found: Pairs, true: Pairs) -> float:
    return len(found & true) / len(true)


def _precision(found: Pairs, true: Pairs) -> float:
    return len(found & true) / max(len(found), 1)


def _ours(names: list[str]) -> Pairs:
    """The pairs within the groups that pixels make."""
    pictures = [Image.open(PHOTOS / "images" / name).convert("RGB") for name in names]
    largest_first = sorted(range(len(names)), key=lambda at: -pictures[at].width * pictures[at].height)
    leaders = find_near([square_thumbnail(picture) for picture in pictures], largest_first, None).representatives
    return {(names[a], names[b]) for a, b in combinations(range(len(names)), 2) if leaders[a] == leaders[b]}


def _imagededup() -> Pairs:
    from imagededup.methods import PHash

    peer = PHash(verbose=False)
    hashes = peer.encode_images(image_dir=str(PHOTOS / "images"), num_enc_workers=0)
    copies = peer.find_duplicates(
        encoding_map=hashes, max_distance_threshold=MOST_BITS_APART, num_dist_workers=0, scores=False
    )
    return {tuple(sorted((name, other))) for name, others in copies.items() for other in others}
