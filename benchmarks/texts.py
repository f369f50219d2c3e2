"""Captions to vectors, beside sentence-transformers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, seconds
from benchmarks.models import PRECISIONS, checkpoint, model_directory
from datumaro_clip.embedding import embed_texts
from datumaro_clip.model.loading import load_model

CAPTIONS, PEER_CAPTIONS = 2000, 500
GOALS = {"f32": 2.7, "bf16": None, "int8": 8.0}
WORDS = ("a", "the", "two", "man", "dog", "cat", "red", "on", "in", "with", "near", "street", "table", "park", "riding")


def captions(count: int) -> list[str]:
    """Distinct captions of COCO's lengths: 8 to 20 words, most of them short."""
    chance = random.Random(0)
    lengths = (min(20, 8 + int(chance.expovariate(0.4))) for _ in range(count))
    return [f"{' '.join(chance.choices(WORDS, k=length))} {index}" for index, length in enumerate(lengths)]


def run(work: Path) -> Iterator[Figure]:
    """Each precision."""
    texts = captions(CAPTIONS)
    peer = _peer_rate(texts[:PEER_CAPTIONS])
    yield Figure("texts", "sentence-transformers f32", peer, "captions/s")
    for precision in PRECISIONS:
        encoder = load_model(model_directory(precision), precision=precision, self_check=False)
        embed_texts(texts[:64], encoder)
        ours = CAPTIONS / seconds(lambda encoder=encoder: embed_texts(texts, encoder))
        beside = "sentence-transformers on torch f32"
        yield Figure("texts", precision, ours, "captions/s", ours / peer, GOALS[precision], beside)


def _peer_rate(texts: list[str]) -> float:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(checkpoint()), device="cpu")
    model.encode(texts[:32])
    return len(texts) / seconds(lambda: model.encode(texts))
