"""Exact, near and semantic duplicates of a collection; each group keeps one representative."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from PIL import Image

from datumaro_clip.curate.groups import equal_groups
from datumaro_clip.curate.near import Difference, Pictures, Thumbnails, find_near
from datumaro_clip.curate.near.pixels import PixelMatch
from datumaro_clip.curate.near.rules import log_odds
from datumaro_clip.curate.near.threads import Crew, workers
from datumaro_clip.curate.semantic import Control, choose_semantic, control
from datumaro_clip.options import Values
from datumaro_clip.vectors import FloatArray


@dataclass(frozen=True)
class Candidate:
    """What decides about duplicates of an item.

    Attributes
    ----------
    digests : tuple of bytes
        Of its file and of its pixels; items that share one are exact duplicates. Empty without a picture.
    pixels : int
        Width times height.
    annotations : int
        How many it has.
    alignment : float, optional
        Highest cosine similarity of the picture with a caption.
    protected : bool
        Whether it must not be dropped.
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
class Duplicate:
    """Why an item is dropped, and which item represents it.

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
        The match of its thumbnail with the representative's, for near duplicates.
    difference : Difference, optional
        The difference of the pictures at full resolution, the item's first.
    """

    representative: int
    level: str
    score: float
    threshold: float | None
    match: PixelMatch | None = None
    difference: Difference | None = None


class LookAlike(NamedTuple):
    """Two items whose thumbnails match as copies do, and whose pictures differ.

    Attributes
    ----------
    item, other : int
        ``other`` comes first in the order of what to keep.
    difference : Difference
        ``item``'s place first.
    """

    item: int
    other: int
    difference: Difference


class Findings(NamedTuple):
    """The duplicates among the items.

    Attributes
    ----------
    duplicates : dict
        From item to its duplicate; a representative is never a key.
    look_alikes : list of LookAlike
        Pairs of items that both stay; of each item only the most similar one.
    recall : dict
        As of ``near.NearGroups``.
    control : Control, optional
        How the semantic level's choice compares with a random one; None where it drops nothing.
    """

    duplicates: dict[int, Duplicate]
    look_alikes: list[LookAlike]
    recall: dict[str, tuple[int, int]]
    control: Control | None = None


def pixel_digest(picture: Image.Image) -> bytes:
    """Return a digest of a decoded picture: of its width, its height and its RGB pixels.

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
    rules: Values,
    pictures: Pictures | None = None,
    crew: Crew = workers,
) -> Findings:
    """Find the items that repeat others, and those that only look like others.

    Parameters
    ----------
    candidates : sequence of Candidate
        N items.
    thumbnails : sequence
        Of those items that have a picture.
    shown : sequence of int
        The item that each thumbnail belongs to.
    rules : Values
        Of the options of ``clip_dedup``.
    pictures : callable, optional
        Gives the picture of an item: near duplicates are then copies at full resolution.
    crew : callable
        Makes the pool that describes and compares pictures.
    """
    order = keep_order(candidates, rules.keep)
    found: dict[int, Duplicate] = {}
    look_alikes: list[LookAlike] = []
    recall: dict[str, tuple[int, int]] = {}
    beside_random = None
    if "exact" in rules.levels:
        heads = equal_groups(order, [item.digests for item in candidates]).tolist()
        found = {item: Duplicate(head, "exact", 1.0, 1.0) for item, head in enumerate(heads) if item != head}
    if "near" in rules.levels:
        near, look_alikes, recall = _near(candidates, thumbnails, shown, order, found, rules, pictures, crew)
        found |= near
    if "semantic" in rules.levels:
        semantic, beside_random = _semantic(candidates, order, found, rules, crew)
        found |= semantic

    def last(item: int) -> int:
        while item in found:
            item = found[item].representative
        return item

    # An exact copy of what became a near duplicate follows it.
    settled = {item: replace(each, representative=last(item)) for item, each in found.items()}
    standing = [each for each in look_alikes if each.item not in settled and each.other not in settled]
    return Findings(settled, standing, recall, beside_random)


def keep_order(candidates: Sequence[Candidate], keep: Sequence[str]) -> list[int]:
    """Sort the items, those to keep first: protected ones, then by the criteria ``keep``, then in their order."""

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


def _near(
    candidates: Sequence[Candidate],
    thumbnails: Thumbnails,
    shown: Sequence[int],
    order: Sequence[int],
    gone: dict[int, Duplicate],
    rules: Values,
    pictures: Pictures | None,
    crew: Crew,
) -> tuple[dict[int, Duplicate], list[LookAlike], dict[str, tuple[int, int]]]:
    places = [place for place, item in enumerate(shown) if item not in gone]
    items = [shown[place] for place in places]
    rank = {item: position for position, item in enumerate(order)}
    local_order = sorted(range(len(items)), key=lambda local: rank[items[local]])
    known = {row: vector for row, item in enumerate(items) if (vector := candidates[item].vector) is not None}
    groups = find_near(
        Part(thumbnails, places),
        local_order,
        np.stack(list(known.values())) if known else None,
        rows=list(known),
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
    return found, list(closest.values()), groups.recall


def _semantic(
    candidates: Sequence[Candidate],
    order: Sequence[int],
    gone: dict[int, Duplicate],
    rules: Values,
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


class Part:
    """Some of the thumbnails, numbered from 0."""

    def __init__(self, thumbnails: Thumbnails, places: Sequence[int]) -> None:
        self._thumbnails = thumbnails
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> np.typing.NDArray[np.uint8]:
        return self._thumbnails[self._places[index]]
