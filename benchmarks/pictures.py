"""JPEG files to vectors, beside the same model with pictures ready in memory, and beside sentence-transformers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.figures import Figure, seconds
from benchmarks.models import PRECISIONS, checkpoint, model_directory
from benchmarks.photos import photos
from datumaro_clip.embedding import ImageRequest, embed_images
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.model.loading import load_model

PHOTOS, PEER_PHOTOS = 1000, 128
READY_GOALS = {"f32": 0.95, "bf16": 0.95, "int8": 0.90}
PEER_GOALS = {"f32": 2.4, "bf16": 4.4, "int8": 7.5}


def run(work: Path) -> Iterator[Figure]:
    """Each precision beside both; ready pictures first and last, since shared machines drift."""
    paths = photos(work, PHOTOS)
    peer = _peer_rate(paths[:PEER_PHOTOS])
    yield Figure("pictures", "sentence-transformers f32, files", peer, "pictures/s")
    for precision in PRECISIONS:
        encoder = load_model(model_directory(precision), precision=precision, self_check=False)
        before = _ready_rate(encoder)
        ours = PHOTOS / seconds(lambda encoder=encoder: deque(embed_images(map(ImageRequest, paths), encoder), 0))
        ready = (before + _ready_rate(encoder)) / 2
        beside = f"pictures ready in memory, {ready:.0f}/s"
        goal = READY_GOALS[precision]
        yield Figure("pictures", f"{precision}, files", ours, "pictures/s", ours / ready, goal, beside)
        beside = "sentence-transformers on torch f32"
        yield Figure("pictures", f"{precision}, files", ours, "pictures/s", ours / peer, PEER_GOALS[precision], beside)


def _ready_rate(encoder: Encoder, batches: int = 32) -> float:
    """Pictures a second where nothing is read, decoded or preprocessed."""
    pixels = np.random.default_rng(0).integers(0, 255, (encoder.batch_size, *encoder.preprocessing.size, 3), np.uint8)
    encoder.submit_pixels(pixels).result()
    time = seconds(lambda: [f.result() for f in [encoder.submit_pixels(pixels) for _ in range(batches)]])
    return batches * encoder.batch_size / time


def _peer_rate(paths: list[Path]) -> float:
    """Pictures a second of sentence-transformers, which takes pictures opened and not yet decoded."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(checkpoint()), device="cpu")
    model.encode([Image.open(path) for path in paths[:16]], batch_size=16)
    return len(paths) / seconds(lambda: model.encode([Image.open(path) for path in paths], batch_size=16))
