"""The map of vectors beside umap-learn's: how many of 15 neighbours stay, and the processor's time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks import SHARED
from benchmarks.figures import Figure, cpu_seconds
from benchmarks.vectors import clip_like_rows
from datumaro_clip.similarity import top_k
from datumaro_clip.similarity.layout import Points, lay_out
from datumaro_clip.vectors import FloatArray, unit_rows

NEIGHBOURS, SEEDS = 15, 3


def run(work: Path) -> Iterator[Figure]:
    """Real CLIP vectors beside umap-learn, the mean of three seeds; then 50,000 drawn ones alone."""
    from umap import UMAP

    vectors = unit_rows(np.load(SHARED / "data" / "neardup" / "clip_vectors.npy").astype(np.float32))
    ours, our_time = _mean(vectors, lambda seed: lay_out(vectors, seed=seed))
    made = (UMAP(metric="cosine", random_state=seed, n_jobs=1) for seed in range(SEEDS))
    theirs, their_time = _mean(vectors, lambda seed: next(made).fit_transform(vectors))
    name = f"umap-learn, {theirs:.3f}"
    yield Figure("map", f"neardup, share of {NEIGHBOURS} neighbours kept", ours, "", ours / theirs, 0.95, name)
    name = f"umap-learn, {their_time:.1f} s"
    yield Figure("map", "neardup, processor time", our_time, "s", their_time / our_time, None, name)
    many = clip_like_rows(50_000)
    yield Figure("map", "50,000x512, processor time", cpu_seconds(lambda: lay_out(many)), "s")


def _mean(vectors: FloatArray, place: Callable[[int], Points]) -> tuple[float, float]:
    """The share of neighbours kept and the processor's time, each the mean over seeds."""
    maps: list[Points] = []
    spent = cpu_seconds(lambda: maps.extend(map(place, range(SEEDS))))
    return float(np.mean([_kept(vectors, points) for points in maps])), spent / SEEDS


def _kept(vectors: FloatArray, points: Points) -> float:
    """Share of each row's nearest neighbours that are among its nearest on the map."""
    gaps = ((points[:, None].astype(np.float64) - points[None]) ** 2).sum(axis=2)
    np.fill_diagonal(gaps, np.inf)
    on_map = np.argsort(gaps, axis=1)[:, :NEIGHBOURS]
    indices, _ = top_k(vectors, vectors, NEIGHBOURS + 1)
    true = [[other for other in row if other != number][:NEIGHBOURS] for number, row in enumerate(indices.tolist())]
    return float(np.mean([len(set(a) & set(b)) / NEIGHBOURS for a, b in zip(on_map.tolist(), true, strict=True)]))
