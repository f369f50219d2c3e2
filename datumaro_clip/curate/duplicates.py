"""Exact, near and semantic duplicates of one collection, one representative each."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from PIL import Image

from datumaro_clip.curate.groups import IntArray, equal_groups
from datumaro_clip.curate.near import Difference, Pictures, Thumbnails, find_near
from datumaro_clip.curate.near.pixels import PixelMatch
from datumaro_clip.curate.near.rules import log_odds
from datumaro_clip.curate.near.threads import Crew, workers
from datumaro_clip.curate.semantic import Control, choose_semantic, control
from datumaro_clip.vectors import FloatArray

LEVELS = ("exact", "near", "semantic")
REDUNDANT = ("pictures", "texts", "both")
KEEP = ("alignment", "annotations", "resolution", "order")


@dataclass(frozen=True)
class Candidate:
    """What is known of an item before duplicates are looked for.

    Attributes
    ----------
    digests : tuple of bytes
        Of its file and of its pixels; items that share one are exact duplicates. Empty where there is no picture.
    pixels : int
        Width times height.
    annotations : int
        How many it has.
    alignment : float, optional
        Best similarity of picture and caption.
    protected : bool
        Whether it must stay.
    vector : numpy.ndarray, optional
        Of its picture, shape (D,), float32 unit length.
    text : numpy.ndarray, optional
        The mean direction of its captions, shape (D,), float32 unit length.
    """

    digests: tuple[bytes, ...] = ()
    pixels: int = 0
    annotations: int = 0
    alignment: float | None = None
    protected: bool = False
    vector: FloatArray | None = None
    text: FloatArray | None = None


@dataclass(frozen=True)
class DuplicateRules:
    """Which levels to look for, and how.

    Attributes
    ----------
    levels : collection of str
        Of ``LEVELS``.
    keep : sequence of str
        Of ``KEEP``, what decides first named first; the order of the items decides last.
    threshold : float
        Cosine similarity from which vectors propose a near pair.
    keep_ratio : float
        Share of what is left after exact and near duplicates that the semantic level keeps.
    semantic_threshold : float, optional
        Cosine similarity at which the semantic level lets go instead.
    redundant : str
        Of ``REDUNDANT``: in what two items must be similar for the semantic level.
    clusters : int, optional
        Of the semantic level.
    seed : int
    approximate : bool
        Whether to look for near pairs only inside the two nearest clusters of each item.
    """

    levels: Collection[str] = ("exact", "near")
    keep: Sequence[str] = KEEP
    threshold: float = 0.88
    keep_ratio: float = 0.95
    semantic_threshold: float | None = None
    redundant: str = "pictures"
    clusters: int | None = None
    seed: int = 0
    approximate: bool = False


@dataclass(frozen=True)
class Duplicate:
    """Why an item goes, and for which one.

    Attributes
    ----------
    representative : int
    level : str
        ``exact``, ``near`` or ``semantic``.
    score : float
        1 for exact duplicates; for near ones the largest difference left at full resolution, in grey levels of 255,
        or the log odds of being a copy where only thumbnails were looked at; the cosine similarity with the
        representative for semantic ones.
    threshold : float or None
        What the score was compared with: the difference that a copy may have at that place; None for semantic
        duplicates, which a ratio decides.
    match : PixelMatch, optional
        What comparing the thumbnail with the representative's showed, for near duplicates.
    difference : Difference, optional
        What comparing the pictures themselves showed, the item's first.
    """

    representative: int
    level: str
    score: float
    threshold: float | None
    match: PixelMatch | None = None
    difference: Difference | None = None


class LookAlike(NamedTuple):
    """Two items whose thumbnails are copies of one picture, and whose pictures are not.

    Attributes
    ----------
    item, other : int
        The other comes first in the order of what to keep.
    difference : Difference
        The place in the item's picture first.
    """

    item: int
    other: int
    difference: Difference


class Findings(NamedTuple):
    """What was found among the items.

    Attributes
    ----------
    duplicates : dict
        From item to its duplicate; a representative is never a key.
    look_alikes : list of LookAlike
        Of items that both stay; of each the one that it resembles most.
    recall : dict
        Of ``near.NearGroups``.
    control : Control, optional
        What the semantic level's choice is worth beside a random one, where something goes.
    """

    duplicates: dict[int, Duplicate]
    look_alikes: list[LookAlike]
    recall: dict[str, tuple[int, int]]
    control: Control | None = None


def pixel_digest(picture: Image.Image) -> bytes:
    """A digest of a decoded picture: its width, its height and its RGB pixels.

    Returns
    -------
    bytes
        16 bytes of BLAKE2b; two pictures that differ in one pixel have different digests.
    """
    pixels = np.asarray(picture.convert("RGB"))
    state = hashlib.blake2b(str(pixels.shape).encode(), digest_size=16)
    state.update(np.ascontiguousarray(pixels).data)
    return state.digest()


def find_duplicates(
    candidates: Sequence[Candidate],
    thumbnails: Thumbnails,
    shown: Sequence[int],
    rules: DuplicateRules,
    pictures: Pictures | None = None,
    crew: Crew = workers,
) -> Findings:
    """Every item that another stands for, and those that only look like it.

    Parameters
    ----------
    candidates : sequence of Candidate
        N items.
    thumbnails : sequence
        Of those items that have a picture.
    shown : sequence of int
        The item that each thumbnail belongs to.
    rules : DuplicateRules
    pictures : callable, optional
        Gives the picture of an item: near duplicates are then copies at full resolution.
    crew : callable
        Who describes and compares pictures.
    """
    order = keep_order(candidates, rules.keep)
    found: dict[int, Duplicate] = {}
    look_alikes: list[LookAlike] = []
    recall: dict[str, tuple[int, int]] = {}
    if "exact" in rules.levels:
        found = _exact(candidates, order)
    if "near" in rules.levels:
        near, look_alikes, recall, _ = _near(candidates, thumbnails, shown, order, found, rules, pictures, crew)
        found |= near
    beside_random = None
    if "semantic" in rules.levels:
        semantic, beside_random = _semantic(candidates, order, found, rules, crew)
        found |= semantic
    settled = _settled(found)
    standing = [each for each in look_alikes if each.item not in settled and each.other not in settled]
    return Findings(settled, standing, recall, beside_random)


def keep_order(candidates: Sequence[Candidate], keep: Sequence[str]) -> list[int]:
    """The items, those to keep first; protected ones before all others."""

    def rank(index: int) -> tuple[float, ...]:
        item = candidates[index]
        worth = {
            "alignment": -2.0 if item.alignment is None else item.alignment,
            "annotations": item.annotations,
            "resolution": item.pixels,
            "order": -index,
        }
        return (-float(item.protected), *(-worth[name] for name in keep), index)

    return sorted(range(len(candidates)), key=rank)


def _exact(candidates: Sequence[Candidate], order: Sequence[int]) -> dict[int, Duplicate]:
    representatives = equal_groups(order, [item.digests for item in candidates])
    return {n: Duplicate(int(r), "exact", 1.0, 1.0) for n, r in enumerate(representatives.tolist()) if n != r}


def _near(
    candidates: Sequence[Candidate],
    thumbnails: Thumbnails,
    shown: Sequence[int],
    order: Sequence[int],
    gone: dict[int, Duplicate],
    rules: DuplicateRules,
    pictures: Pictures | None,
    crew: Crew,
) -> Findings:
    places = [place for place, item in enumerate(shown) if item not in gone]
    items = [shown[place] for place in places]
    rank = {item: position for position, item in enumerate(order)}
    local_order = sorted(range(len(items)), key=lambda local: rank[items[local]])
    vectors, rows = _vectors_of(candidates, items)
    groups = find_near(
        Part(thumbnails, places),
        local_order,
        vectors,
        rows=rows.tolist(),
        threshold=rules.threshold,
        pictures=None if pictures is None else lambda local: pictures(items[local]),
        crew=crew,
        approximate=rules.approximate,
    )
    found = {}
    for local, representative in enumerate(groups.representatives.tolist()):
        if local != representative:
            match, threshold = groups.verdict(local, representative)
            near = Duplicate(items[representative], "near", log_odds(match), threshold, match)
            if difference := groups.difference(local, representative):
                near = replace(near, score=difference.levels, threshold=difference.allowed, difference=difference)
            found[items[local]] = near
    closest: dict[int, LookAlike] = {}
    for pair, difference in sorted(groups.edits.items(), key=lambda each: each[1].ratio):
        other, local = sorted(pair, key=lambda local: rank[items[local]])
        seen = groups.difference(local, other) or difference
        closest.setdefault(items[local], LookAlike(items[local], items[other], seen))
    return Findings(found, list(closest.values()), groups.recall)


def _semantic(
    candidates: Sequence[Candidate],
    order: Sequence[int],
    gone: dict[int, Duplicate],
    rules: DuplicateRules,
    crew: Crew,
) -> tuple[dict[int, Duplicate], Control | None]:
    wanted = {"pictures": ["vector"], "texts": ["text"], "both": ["vector", "text"]}[rules.redundant]
    standing = [item for item in range(len(candidates)) if item not in gone]
    items = [item for item in standing if all(getattr(candidates[item], name) is not None for name in wanted)]
    if not items:
        return {}, None
    sides = [np.stack([getattr(candidates[item], name) for item in items]) for name in wanted]
    place = {item: local for local, item in enumerate(items)}
    local_order = [place[item] for item in order if item in place]
    with crew() as pool:
        choice = choose_semantic(
            sides[0],
            local_order,
            rules.keep_ratio,
            texts=sides[1] if len(sides) > 1 else None,
            threshold=rules.semantic_threshold,
            clusters=rules.clusters,
            seed=rules.seed,
            pool=pool,
        )
    limit = rules.semantic_threshold
    found = {
        items[local]: Duplicate(
            items[int(choice.representatives[local])], "semantic", float(choice.likeness[local]), limit
        )
        for local in np.flatnonzero(~choice.kept).tolist()
        if choice.representatives[local] != local and not candidates[items[local]].protected
    }
    kept = np.array([item not in found for item in items])
    return found, control(sides, kept, rules.seed) if found else None


def _vectors_of(candidates: Sequence[Candidate], items: Sequence[int]) -> tuple[FloatArray | None, IntArray]:
    """The vectors of those items that have one, and their places among the items."""
    rows = [row for row, item in enumerate(items) if candidates[item].vector is not None]
    vectors = [vector for row in rows if (vector := candidates[items[row]].vector) is not None]
    return (np.stack(vectors) if vectors else None), np.array(rows, dtype=np.int64)


def _settled(found: dict[int, Duplicate]) -> dict[int, Duplicate]:
    """The same, with representatives that stay: an exact copy of what became a near duplicate follows it."""

    def last(item: int) -> int:
        while item in found:
            item = found[item].representative
        return item

    return {item: replace(each, representative=last(item)) for item, each in found.items()}


class Part:
    """Some of the thumbnails, renumbered."""

    def __init__(self, thumbnails: Thumbnails, places: Sequence[int]) -> None:
        self._thumbnails = thumbnails
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> np.typing.NDArray[np.uint8]:
        return self._thumbnails[self._places[index]]
