"""Choose a part of a dataset that represents the whole."""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from datumaro_clip.curate.clusters import clusters_option, default_clusters, spherical_kmeans
from datumaro_clip.curate.columns import Columns, IntArray, Verdicts
from datumaro_clip.curate.item import Item
from datumaro_clip.curate.nearest import IN_TURN, nearest_rows
from datumaro_clip.curate.tools import Tool
from datumaro_clip.errors import OptionError
from datumaro_clip.options import Choice, Flag, Option, Several, Share, Text, Values, Whole
from datumaro_clip.similarity import top_k
from datumaro_clip.similarity.scores import NUMPY_SIEVE, blocks_of, numpy_product
from datumaro_clip.system.notices import notice
from datumaro_clip.vectors import FloatArray, unit_rows

if TYPE_CHECKING:
    from datumaro_clip.curate.near.threads import Pool

log = logging.getLogger(__name__)

METHODS = ("random", "stratified", "k_center", "centroid", "cluster_random", "typical", "query")
_BLIND = ("random", "stratified")
_NEIGHBOURS = 20
# Rows among which k_center looks for the next picks, and rows that a task compares with what is picked.
_FAR = 4096
_ROWS = 1 << 15
# Similarities that one worker holds at a time: 16 MiB of float32.
_BLOCK_SCORES = 1 << 22
_MEASURED = {
    "k_center": "cosine similarity with the nearest that was picked before",
    "centroid": "cosine similarity with the centre of the cluster",
    "typical": f"mean cosine similarity with the {_NEIGHBOURS} nearest",
    "query": "cosine similarity with the query",
}

OPTIONS = (
    Option("strategy", Choice(names=METHODS), "k_center", "how to choose"),
    Option("count", Whole(at_least=0, metavar="N"), None, "items to keep"),
    Option("ratio", Share(), None, "share of the items to keep"),
    Option("seed", Whole(at_least=0, metavar="N"), 0, "random seed"),
    Option("query", Text(metavar="TEXT"), None, "what to look for, for --strategy query"),
    Option("by", Choice(names=("pictures", "captions")), "pictures", "what to compare; captions need no pictures"),
    Option("per-subset", Flag(), False, "apply the count or ratio to each subset separately"),
    Option(
        "start-from",
        Several(of=Text(metavar="SUBSET")),
        (),
        "subsets you already have; they are kept, and k_center adds what they lack",
    ),
    clusters_option(help="number of clusters, for cluster_random"),
)


def pick_sample(columns: Columns, options: Values) -> Verdicts:
    """Keep what is picked, in each subset separately where that is asked for."""
    strategy, seed = options.strategy, options.seed
    if options.by == "captions" and strategy not in _BLIND:
        columns = _by_captions(columns)
    verdicts = Verdicts(columns.keys)
    subset = np.array([key.subset for key in columns.keys], dtype=object)
    owned = np.isin(subset, options.start_from)
    verdicts.set(owned, reason="start")
    verdicts.set(~owned, action="drop", reason="not_picked")
    start = columns.vectors[owned[columns.rows]]
    for name in dict.fromkeys(subset[~owned]) if options.per_subset else [None]:
        group = np.flatnonzero(~owned if name is None else ~owned & (subset == name))
        count = round(options.ratio * len(group)) if options.count is None else min(options.count, len(group))
        if strategy in _BLIND:
            if strategy == "random":
                picks = pick_random(len(group), count, seed)
            else:
                picks = pick_stratified(columns.stratum[group].tolist(), count, seed)
            verdicts.set(group[picks.indices], action="keep", reason="picked")
        else:
            able = np.flatnonzero(np.isin(columns.rows, group))
            picks = _pick(columns, columns.vectors[able], start, count, options)
            rows = columns.rows[able[picks.indices]]
            if title := _MEASURED.get(strategy):
                verdicts.measured(title, picks.scores, np.ones(len(rows), np.bool_), most=1.0)
            verdicts.set(rows, action="keep", reason="picked", score=picks.scores)
        if options.count is not None and len(picks.indices) < options.count:
            message = "clip_sample: --count asks for %d items, and %d are there%s"
            notice(log, message, options.count, len(picks.indices), "" if name is None else f" in {name}")
    return verdicts


def _by_captions(columns: Columns) -> Columns:
    """Replace the pictures' vectors by the mean direction of each item's captions; no picture is read."""
    captions = [(row, caption.text) for row, item in enumerate(columns.items) for caption in item.captions]
    if not captions:
        return columns
    vectors = columns.model.text_vectors([text for _, text in captions])
    rows, owner = np.unique([row for row, _ in captions], return_inverse=True)
    sums = np.zeros((len(rows), vectors.shape[1]), np.float32)
    np.add.at(sums, owner, vectors)
    return replace(columns, vectors=unit_rows(sums), rows=rows.astype(np.int64))


def _pick(columns: Columns, vectors: FloatArray, start: FloatArray, count: int, options: Values) -> Picks:
    """Pick by the vectors, as the strategy says."""
    if options.strategy == "query" and len(vectors):
        return pick_query(vectors, columns.model.text_vectors([options.query])[0], count)
    if options.strategy == "centroid":
        return pick_centroid(vectors, count, options.seed)
    if options.strategy == "cluster_random":
        return pick_cluster_random(vectors, count, options.seed, options.clusters)
    with columns.crew() as pool:
        if options.strategy == "typical":
            return pick_typical(vectors, count, options.seed, pool)
        return pick_k_center(vectors, count, options.seed, start, pool)


def _check(values: Values) -> None:
    if (values.count is None) == (values.ratio is None):
        raise OptionError("give either --count or --ratio")
    if values.strategy == "query" and not values.query:
        raise OptionError("--strategy query needs --query TEXT")


def _check_items(values: Values, items: Sequence[Item], classes: Sequence[str]) -> None:
    if missing := sorted(set(values.start_from) - {item.key.subset for item in items}):
        raise OptionError(f"the dataset has no subset {', '.join(missing)} to start from")


TOOL = Tool(
    "clip_sample",
    pick_sample,
    OPTIONS,
    "Chooses a part of a dataset: at random, by class, or by what pictures show.\n\n"
    "'k_center' picks pictures that differ most from those picked before, 'centroid' and 'typical' the middle of each "
    "cluster, 'cluster_random' any picture of each cluster, 'query' what resembles a text. '--start-from train' keeps "
    "a subset that you already have, and 'k_center' adds what it lacks.",
    ("--strategy k_center --count 100",),
    vectors=lambda values: "none" if values.strategy in _BLIND or values.by == "captions" else "pictures",
    check=_check,
    check_items=_check_items,
    takes_objects=True,
    selects=True,
    nothing="nothing was picked",
)


class Picks(NamedTuple):
    """The picked rows, in the order in which they were picked.

    Attributes
    ----------
    indices : numpy.ndarray
        Shape (count,), int64.
    scores : numpy.ndarray
        Shape (count,), float32: the scores that decided, as the method defines them.
    """

    indices: IntArray
    scores: FloatArray


def pick_random(total: int, count: int, seed: int) -> Picks:
    """Pick at random, each set of ``count`` rows being equally likely; scores are 0."""
    indices = np.random.default_rng(seed).permutation(total)[:count]
    return Picks(indices.astype(np.int64), np.zeros(len(indices), np.float32))


def pick_stratified(classes: Sequence[Hashable], count: int, seed: int) -> Picks:
    """Pick at random inside each class, in proportion to the classes (largest remainders, then first come)."""
    order = np.random.default_rng(seed).permutation(len(classes))
    members: dict[Hashable, list[int]] = {name: [] for name in classes}
    for index in order.tolist():
        members[classes[index]].append(index)
    shares = _apportion([len(rows) for rows in members.values()], count)
    chosen = [index for rows, share in zip(members.values(), shares, strict=True) for index in rows[:share]]
    return Picks(np.array(chosen, dtype=np.int64), np.zeros(len(chosen), np.float32))


def pick_k_center(
    vectors: FloatArray, count: int, seed: int, start: FloatArray | None = None, pool: Pool = IN_TURN
) -> Picks:
    """Pick the farthest point each time (Gonzalez, 1985): the row least similar to all that are picked.

    A row's highest similarity with the picks only grows. So the next picks are among the rows that were least similar,
    until the best of those is as similar as any other row was; then all rows are compared with the new picks.

    Parameters
    ----------
    vectors : numpy.ndarray
        Shape (N, D), float32 unit rows.
    count : int
    seed : int
        Draws the first pick, where there is no ``start``.
    start : numpy.ndarray, optional
        Shape (M, D): rows that the user has already.
    pool : Pool
        Compares all rows.

    Returns
    -------
    Picks
        Scores are the similarity with the nearest earlier pick, -1 for a first pick. Ties go to the lower index.
    """
    if not len(vectors) or not count:
        return Picks(np.empty(0, np.int64), np.empty(0, np.float32))
    held = vectors[:0] if start is None else start
    centres = np.concatenate([held, np.empty((min(count, len(vectors)), vectors.shape[1]), np.float32)])
    nearest = np.full(len(vectors), -1.0, np.float32)
    if len(held):
        nearest = np.array(nearest_rows(pool, vectors, held, 1)[1][:, 0])
    compare, error = partial(_most_similar, vectors), NUMPY_SIEVE.error(vectors.shape[1])
    picks: list[int] = []
    scores: list[float] = []
    if not len(held):
        picks.append(int(np.random.default_rng(seed).integers(len(vectors))))
        scores.append(-1.0)
        centres[0] = vectors[picks[0]]
    known = 0
    while len(held) + len(picks) < len(centres):
        if fresh := picks[known:]:
            parts = ((range(first, first + _ROWS), fresh) for first in range(0, len(vectors), _ROWS))
            np.maximum(nearest, np.concatenate(list(pool.map(compare, parts))), out=nearest)
            nearest[fresh] = np.inf
            known = len(picks)
        bound = _bound(nearest, error)
        far = np.flatnonzero(nearest <= bound)
        rows, near = vectors[far], nearest[far]
        while (taken := len(held) + len(picks)) < len(centres) and near.min() < np.inf:
            place, score = _farthest(rows, near, centres[:taken])
            if score > bound - error:
                break
            picks.append(int(far[place]))
            scores.append(score)
            centres[taken] = rows[place]
            np.maximum(near, numpy_product(rows, rows[place, None])[:, 0], out=near)
            near[place] = np.inf
    return Picks(np.array(picks, dtype=np.int64), np.array(scores, dtype=np.float32))


def _most_similar(vectors: FloatArray, task: tuple[range, list[int]]) -> FloatArray:
    """Return the highest similarity of each row of a part with any of the picked rows."""
    part, picked = task
    part, centres = range(part.start, min(part.stop, len(vectors))), vectors[picked]
    blocks = blocks_of(vectors, max(1, _BLOCK_SCORES // len(picked)), part)
    return np.concatenate([numpy_product(block, centres).max(axis=1) for _, block in blocks])


def _bound(nearest: FloatArray, error: float) -> float:
    """Return the similarity up to which rows may be the next picks; the least similar row is always among them."""
    if len(nearest) <= _FAR:
        return np.inf
    return float(np.float32(max(np.partition(nearest, _FAR)[_FAR], nearest.min() + 3 * error)))


def _farthest(vectors: FloatArray, nearest: FloatArray, centres: FloatArray) -> tuple[int, float]:
    """Find the row least similar to its nearest centre, and that similarity, by exact scores of the candidates."""
    margin = np.float32(2 * NUMPY_SIEVE.error(vectors.shape[1]))
    suspects = np.flatnonzero(nearest <= nearest.min() + margin)
    scores = top_k(vectors[suspects], centres, 1)[1][:, 0]
    least = int(scores.argmin())
    return int(suspects[least]), float(scores[least])


def pick_centroid(vectors: FloatArray, count: int, seed: int) -> Picks:
    """Pick the row nearest to each of ``count`` k-means centroids; scores are that similarity."""
    clusters = spherical_kmeans(vectors, max(count, 1), seed)
    return _best_of_clusters(clusters.labels, clusters.scores, count)


def pick_typical(vectors: FloatArray, count: int, seed: int, pool: Pool = IN_TURN) -> Picks:
    """Pick the row with the nearest neighbours in each of ``count`` clusters (TypiClust, Hacohen et al., 2022).

    Scores are the mean similarity with the 20 nearest neighbours.
    """
    if len(vectors) < 2:
        return pick_centroid(vectors, count, seed)
    _, scores = nearest_rows(pool, vectors, vectors, _NEIGHBOURS + 1)
    typicality = scores[:, 1:].mean(axis=1).round(6)
    return _best_of_clusters(spherical_kmeans(vectors, max(count, 1), seed).labels, typicality, count)


def pick_cluster_random(vectors: FloatArray, count: int, seed: int, clusters: int | None = None) -> Picks:
    """Pick at random inside each k-means cluster, in proportion to the clusters."""
    labels = spherical_kmeans(vectors, clusters or default_clusters(len(vectors)), seed).labels
    return pick_stratified(labels.tolist(), count, seed)


def pick_query(vectors: FloatArray, query: FloatArray, count: int) -> Picks:
    """Pick the rows most similar to a query (D,); scores are that similarity, in descending order."""
    indices, scores = top_k(query[None], vectors, min(count, len(vectors)))
    return Picks(indices[0], scores[0])


def _best_of_clusters(labels: IntArray, scores: FloatArray, count: int) -> Picks:
    """Pick the highest score of each cluster; where coincident rows leave clusters empty, the next best rows."""
    order = np.argsort(-scores, kind="stable")
    _, first = np.unique(labels[order], return_index=True)
    leaders = order[np.sort(first)]
    rest = order[~np.isin(order, leaders)]
    chosen = np.concatenate([leaders, rest])[:count]
    return Picks(chosen, scores[chosen])


def _apportion(sizes: list[int], count: int) -> list[int]:
    """Divide ``count`` in proportion to the sizes, by largest remainders (Hamilton)."""
    total = sum(sizes)
    if not total:
        return [0] * len(sizes)
    exact = [min(count, total) * size / total for size in sizes]
    shares = [math.floor(share) for share in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda place: shares[place] - exact[place])
    for place in by_remainder[: min(count, total) - sum(shares)]:
        shares[place] += 1
    return shares
