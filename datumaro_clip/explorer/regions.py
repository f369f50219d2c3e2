"""Names for the regions of a map: the class, or the word of captions, that sets a dense place apart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from datumaro_clip.similarity.layout import Points

#: Regions named at most.
MOST_REGIONS = 24
# Cells of the grid on which points are counted, a side.
_SIDE = 64
# Rounds of blurring: how far apart two dense places must lie to be two.
_BLURS = 3
# A name must be borne by so many points of a region, and by this share of them.
_FEWEST, _SHARE = 3, 0.25
_WORD = re.compile(r"[^\W\d_]{3,}")


class Region(NamedTuple):
    """A place on the map and its name."""

    x: float
    y: float
    text: str


def name_regions(points: Points, names: Sequence[Sequence[str]]) -> list[Region]:
    """Find the dense places of a map and what sets each apart, the clearest first.

    Parameters
    ----------
    points : numpy.ndarray
        Shape (N, 2), float32, finite.
    names : sequence of sequence of str
        Of each point, what it may be named by: its classes, or the words of its captions.

    Returns
    -------
    list of Region
        At most :data:`MOST_REGIONS`, no name twice. A region is named by what is frequent in it and rare elsewhere: the
        greatest p(name | region) log(p(name | region) / p(name)).
    """
    if not len(points):
        return []
    peaks = _peaks(points)
    gaps = ((points[:, None] - peaks[None]) ** 2).sum(axis=2) if len(points) * len(peaks) < 1 << 24 else None
    owner = (
        gaps.argmin(axis=1) if gaps is not None else np.array([((p - peaks) ** 2).sum(axis=1).argmin() for p in points])
    )
    overall = Counter(name for own in names for name in set(own))
    found: list[tuple[float, Region]] = []
    for region in range(len(peaks)):
        members = np.flatnonzero(owner == region).tolist()
        here = Counter(name for row in members for name in set(names[row]))
        lifts = {
            name: count / len(members) * np.log((count / len(members)) / (overall[name] / len(points)))
            for name, count in here.items()
            if count >= min(_FEWEST, len(members)) and count >= _SHARE * len(members)
        }
        if lifts:
            name = max(lifts, key=lambda name: (lifts[name], name))
            bearers = points[[row for row in members if name in names[row]]]
            x, y = np.median(bearers, axis=0).tolist()
            found.append((lifts[name], Region(x, y, name)))
    found.sort(key=lambda pair: (-pair[0], pair[1].text))
    clearest: dict[str, Region] = {}
    for _, region_found in found:
        clearest.setdefault(region_found.text, region_found)
    return list(clearest.values())[:MOST_REGIONS]


def words_of(captions: Sequence[str]) -> list[str]:
    """The words of captions, in lower case: letters only, three and more."""
    return [word for caption in captions for word in _WORD.findall(caption.lower())]


def _peaks(points: Points) -> Points:
    """The places (R, 2) where points lie densest: local maxima of their blurred counts."""
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
    order = np.argsort(-inner[rows, columns], kind="stable")[: 2 * MOST_REGIONS]
    places = np.stack([rows[order], columns[order]], axis=1)
    found: Points = (low + (places + 0.5) / _SIDE * span).astype(np.float32)
    return found


def _neighbourhood(grid: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The nine shifts of a grid's inner part by one cell."""
    steps = (0, 1, 2)
    return np.stack([grid[a : a + _SIDE, b : b + _SIDE] for a in steps for b in steps])
