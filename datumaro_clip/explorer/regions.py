"""The regions of a map: its dense places, each named by the class, or the word of captions, that sets it apart."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from datumaro_clip.index.columns import Words
from datumaro_clip.similarity.layout import Points
from datumaro_clip.similarity.scores import IndexArray

# Labels on a map at most.
_MOST_LABELS = 24
# Cells on each side of the grid on which points are counted.
_SIDE = 64
# A region has at least so many points, on average.
_POINTS = 10
# Rounds of blurring: the more, the farther apart must two dense places lie to be two.
_BLURS = 3
# At least so many points of a region, and this share of them, must have its name.
_FEWEST, _SHARE = 3, 0.25
_WORD = re.compile(r"[^\W\d_]{3,}")
# Points compared with all peaks at a time.
_BLOCK = 1 << 16


class Region(NamedTuple):
    """A name and its place on the map."""

    x: float
    y: float
    text: str


class Regions(NamedTuple):
    """The regions of a map.

    Attributes
    ----------
    owners : numpy.ndarray
        Shape (N,), int64: the region of each point, as an index of ``names``.
    names : list of str
        The name of each region; ``#1``, ``#2`` where nothing sets it apart.
    labels : list of Region
        The labels to draw, the clearest first: at most 24, no name twice.
    """

    owners: IndexArray
    names: list[str]
    labels: list[Region]


def name_regions(points: Points, classes: Words, words: Words | None = None) -> Regions:
    """Find the regions of a map and name them.

    Parameters
    ----------
    points : numpy.ndarray
        Shape (N, 2), float32, finite.
    classes : Words
        The points' classes.
    words : Words, optional
        The words of their captions, which name a region without a class, or whose class is the name of a clearer one.

    Returns
    -------
    Regions
        A region's name is frequent in it and rare elsewhere: the one with the greatest
        p(name | region) log(p(name | region) / p(name)).
    """
    if not len(points):
        return Regions(np.zeros(0, np.int64), [], [])
    peaks = _peaks(points)
    owners = _nearest(points, peaks)
    names = [f"#{region + 1}" for region in range(len(peaks))]
    labels: dict[str, Region] = {}
    labelled: set[int] = set()
    for named in (classes,) if words is None else (classes, words):
        rows, codes = np.unique(np.stack([named.items, named.codes]), axis=1)
        lifts = _lifts(owners[rows], codes, np.bincount(owners, minlength=len(peaks)), len(named.words))
        for region in np.argsort(-lifts.max(axis=1, initial=0), kind="stable").tolist():
            candidates = [
                code for code in np.argsort(-lifts[region], kind="stable")[:_MOST_LABELS] if lifts[region, code] > 0
            ]
            new = [code for code in candidates if named.words[code] not in labels]
            if region in labelled or not candidates:
                continue
            # Two regions may share a class, whose label is drawn at the clearer one; a word names one region only.
            code = candidates[0] if named is classes else next(iter(new), None)
            if code is None:
                continue
            names[region] = named.words[code]
            if code in new:
                labelled.add(region)
                x, y = np.median(points[rows[(owners[rows] == region) & (codes == code)]], axis=0).tolist()
                labels[names[region]] = Region(x, y, names[region])
    return Regions(owners, names, list(labels.values())[:_MOST_LABELS])


def _lifts(regions: IndexArray, codes: IndexArray, sizes: IndexArray, words: int) -> npt.NDArray[np.float64]:
    """Return how far each word (W) sets each region (R) apart, (R, W); 0 where it is not frequent there."""
    here = np.bincount(regions * words + codes, minlength=len(sizes) * words).reshape(len(sizes), words)
    size = sizes[:, None]
    is_frequent = (here >= np.minimum(_FEWEST, size)) & (here >= _SHARE * size) & (here > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = here / size
        lifts = share * np.log(share / (here.sum(axis=0) / sizes.sum()))
    return np.where(is_frequent, lifts, 0)


def caption_words(texts: Iterable[str]) -> Words:
    """Find the words of texts, in lower case: of three letters and more."""
    known: dict[str, int] = {}
    pairs = [
        (row, known.setdefault(word, len(known)))
        for row, text in enumerate(texts)
        for word in set(_WORD.findall(text.lower()))
    ]
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return Words(table[:, 0], table[:, 1], tuple(known))


def _nearest(points: Points, peaks: Points) -> IndexArray:
    """Return the number of the peak nearest to each point, (N,)."""
    found = np.empty(len(points), np.int64)
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK, None]
        found[start : start + _BLOCK] = ((block - peaks) ** 2).sum(axis=2).argmin(axis=1)
    return found


def _peaks(points: Points) -> Points:
    """Find the places (R, 2) where points lie densest: local maxima of their blurred counts."""
    low, high = points.min(axis=0), points.max(axis=0)
    span = np.maximum(high - low, 1e-6)
    cells = np.minimum(((points - low) / span * _SIDE).astype(int), _SIDE - 1)
    density = np.zeros((_SIDE + 2, _SIDE + 2))
    np.add.at(density, (cells[:, 0] + 1, cells[:, 1] + 1), 1.0)
    for _ in range(_BLURS):
        density[1:-1, 1:-1] = _neighbourhood(density).mean(axis=0)
    around = _neighbourhood(density).max(axis=0)
    inner = density[1:-1, 1:-1]
    rows, columns = np.nonzero((inner == around) & (inner > 0))
    order = np.argsort(-inner[rows, columns], kind="stable")
    order = order[: min(2 * _MOST_LABELS, len(points) // _POINTS + 1)]
    places = np.stack([rows[order], columns[order]], axis=1)
    found: Points = (low + (places + 0.5) / _SIDE * span).astype(np.float32)
    return found


def _neighbourhood(grid: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the nine shifts of a grid's inner part by one cell."""
    steps = (0, 1, 2)
    return np.stack([grid[a : a + _SIDE, b : b + _SIDE] for a in steps for b in steps])
