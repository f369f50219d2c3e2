"""The second run over the same files, beside the first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, seconds
from benchmarks.models import model_directory
from benchmarks.photos import photos
from datumaro_clip.embedding import ImageRequest, embed_images
from datumaro_clip.embedding.cache import VectorCache
from datumaro_clip.model.loading import load_model

PHOTOS = 1000


def run(work: Path) -> Iterator[Figure]:
    """int8, the quickest to beat; loading the model's description counts in both runs."""
    paths, model = photos(work, PHOTOS), model_directory("int8")

    def embed() -> None:
        encoder = load_model(model, self_check=False)
        with VectorCache(work / "cache") as cache:
            deque(embed_images(map(ImageRequest, paths), encoder, cache=cache), 0)

    first, second = seconds(embed), seconds(embed)
    name = f"second run, {PHOTOS:,} JPEG files"
    yield Figure("cache", name, second, "s", first / second, 30, f"the first, int8, {first:.1f} s")
