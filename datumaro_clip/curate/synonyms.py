"""Propose labels of several sources that may mean the same, with the evidence; a person decides."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from datumaro_clip.curate.mapping import PARENT, SAME
from datumaro_clip.images import Box
from datumaro_clip.vectors import FloatArray

#: Least intersection over union of two boxes of one object.
COINCIDENT = 0.7
# Least share, among the boxes that coincide with one of the other source, of those with the other name.
_AGREE = 0.6
_CONTAINED = 0.8
_FEWEST_BOXES = 2
# Fewest boxes that refute names that are only spelt alike.
_ENOUGH_TO_DENY = 5
_SPELT_ALIKE = 0.85


class LabelledBox(NamedTuple):
    """An object in a picture: its box, (x, y, width, height) in pixels, and its label."""

    box: Box
    label: str


@dataclass(frozen=True)
class LabelSource:
    """The labels and boxes of one dataset.

    Attributes
    ----------
    name : str
    labels : tuple of str
    pictures : mapping
        Boxes by the digest of their picture.
    prototypes : mapping
        Unit vectors (D,) of labels: the mean of their crops.
    """

    name: str
    labels: tuple[str, ...]
    pictures: Mapping[bytes, Sequence[LabelledBox]] = field(default_factory=dict)
    prototypes: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True)
class Proposal:
    """Two names that may mean the same, or one of which may be a kind of the other.

    Attributes
    ----------
    name, target : str
        The name to rename, and the new name; or the kind, and its parent.
    relation : str
        ``same`` or ``parent``.
    sources : mapping
        The sources of each name.
    evidence : mapping
        ``spelling``: likeness of the letters, from 0 to 1, 1 where only case, blanks and marks differ.
        ``boxes``: pictures that both sources have, boxes that coincide, and the shares of either name's
        coinciding boxes that have the other name. ``names``, ``crops``: cosine similarities.
    """

    name: str
    target: str
    relation: str
    sources: Mapping[str, Sequence[str]]
    evidence: Mapping[str, Any]

    def entry(self) -> dict[str, Any]:
        """Return the proposal as an entry of the mapping file."""
        sources = {name: list(found) for name, found in self.sources.items()}
        names = {"from": self.name, "to": self.target, "relation": self.relation}
        return {**names, "sources": sources, "evidence": dict(self.evidence)}


def propose(sources: Sequence[LabelSource], names: Mapping[str, FloatArray] | None = None) -> list[Proposal]:
    """Propose pairs of names, those with most evidence first.

    Two names of one source are never the same. Boxes count most: where enough of them coincide with boxes of other
    names, similar spelling is no evidence.

    Parameters
    ----------
    sources : sequence of LabelSource
    names : mapping, optional
        A unit vector (D,) for each name.
    """
    owners: dict[str, list[str]] = {}
    for source in sources:
        for label in source.labels:
            owners.setdefault(label, []).append(source.name)
    boxes = _coincidences(sources)
    prototypes = {label: source.prototypes[label] for source in reversed(sources) for label in source.prototypes}
    found = [
        proposal
        for one, other in combinations(owners, 2)
        if not set(owners[one]) & set(owners[other])
        and (proposal := _judged(one, other, owners, boxes, names or {}, prototypes)) is not None
    ]
    return sorted(found, key=lambda each: (each.relation == PARENT, -_weight(each.evidence), each.name))


def _weight(evidence: Mapping[str, Any]) -> float:
    boxes = evidence.get("boxes")
    return (min(boxes["agreement"]) + 1 if boxes else 0.0) + float(evidence["spelling"])


class _Coincidences(NamedTuple):
    """Numbers of coinciding boxes, and of the pictures that two sources share.

    Attributes
    ----------
    pairs : collections.Counter
        By the names of both boxes.
    met : collections.Counter
        By the name of one box, and each name that the other box's source has.
    pictures : int
    """

    pairs: Counter[tuple[str, str]]
    met: Counter[tuple[str, str]]
    pictures: int


def _coincidences(sources: Sequence[LabelSource]) -> _Coincidences:
    pairs: Counter[tuple[str, str]] = Counter()
    met: Counter[tuple[str, str]] = Counter()
    pictures = 0
    for one, other in combinations(sources, 2):
        for digest in one.pictures.keys() & other.pictures.keys():
            pictures += 1
            for left, right in matched(one.pictures[digest], other.pictures[digest]):
                pairs[left.label, right.label] += 1
                met.update({(left.label, label): 1 for label in other.labels})
                met.update({(right.label, label): 1 for label in one.labels})
    return _Coincidences(pairs, met, pictures)


def matched(
    left: Sequence[LabelledBox], right: Sequence[LabelledBox], least: float = COINCIDENT, *, same_label: bool = False
) -> Iterator[tuple[LabelledBox, LabelledBox]]:
    """Pair the boxes of one object, each box once at most, the most similar first."""
    overlaps = sorted(
        (
            (-overlap, i, j)
            for i, one in enumerate(left)
            for j, other in enumerate(right)
            if (overlap := iou(one.box, other.box)) >= least and (one.label == other.label or not same_label)
        )
    )
    taken: tuple[set[int], set[int]] = set(), set()
    for _, i, j in overlaps:
        if i not in taken[0] and j not in taken[1]:
            taken[0].add(i)
            taken[1].add(j)
            yield left[i], right[j]


def iou(one: Box, other: Box) -> float:
    """Compute the intersection over union of two boxes (x, y, width, height)."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    return common / (one[2] * one[3] + other[2] * other[3] - common)


def _judged(
    one: str,
    other: str,
    owners: Mapping[str, Sequence[str]],
    boxes: _Coincidences,
    names: Mapping[str, FloatArray],
    prototypes: Mapping[str, FloatArray],
) -> Proposal | None:
    """Propose the relation of two names; None without evidence."""
    spelling = 1.0 if plain(one) == plain(other) else SequenceMatcher(None, plain(one), plain(other)).ratio()
    evidence: dict[str, Any] = {"spelling": round(spelling, 2)}
    count = boxes.pairs[one, other] + boxes.pairs[other, one]
    met = boxes.met[one, other], boxes.met[other, one]
    shares = tuple(count / total if total else 0.0 for total in met)
    if max(met):
        agreement = [round(share, 2) for share in shares]
        evidence["boxes"] = {"shared pictures": boxes.pictures, "coincide": count, "agreement": agreement}
    for kind, vectors in (("names", names), ("crops", prototypes)):
        if one in vectors and other in vectors:
            evidence[kind] = round(float(vectors[one] @ vectors[other]), 3)
    sources = {name: owners[name] for name in (one, other)}
    if count >= _FEWEST_BOXES and min(shares) >= _AGREE:
        return _same(one, other, sources, evidence)
    if count >= _FEWEST_BOXES and max(shares) >= _CONTAINED:
        child, parent = (one, other) if shares[0] > shares[1] else (other, one)
        return Proposal(child, parent, PARENT, sources, evidence)
    if min(met) >= _ENOUGH_TO_DENY and max(shares) < _AGREE:
        return None
    if spelling >= _SPELT_ALIKE or _nearest_by_name(one, other, owners, names):
        return _same(one, other, sources, evidence)
    for child, parent in ((one, other), (other, one)):
        if re.search(rf"\W{re.escape(parent)}$", child, re.IGNORECASE):
            return Proposal(child, parent, PARENT, sources, evidence)
    return None


def _same(one: str, other: str, sources: Mapping[str, Sequence[str]], evidence: Mapping[str, Any]) -> Proposal:
    """Keep the name that more sources have; of two, that of the first source."""
    stays, goes = (other, one) if len(sources[other]) > len(sources[one]) else (one, other)
    return Proposal(goes, stays, SAME, sources, evidence)


def _nearest_by_name(
    one: str, other: str, owners: Mapping[str, Sequence[str]], names: Mapping[str, FloatArray]
) -> bool:
    """Whether each name is the other's nearest among the names of its sources."""

    def nearest(name: str, among: str) -> str | None:
        rivals = [label for label in names if set(owners[label]) & set(owners[among])]
        return max(rivals, key=lambda label: float(names[name] @ names[label]), default=None)

    both = one in names and other in names
    return both and nearest(one, other) == other and nearest(other, one) == one


def plain(name: str) -> str:
    """Reduce a name to its letters, without case and the ending of a plural."""
    letters = re.sub(r"[\W_]+", "", name.casefold())
    return re.sub(r"(?<=[^s])s$", "", letters)


def mean_direction(vectors: FloatArray) -> FloatArray:
    """Return the unit vector (D,) of the mean of unit rows (N, D)."""
    mean: FloatArray = vectors.mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)
