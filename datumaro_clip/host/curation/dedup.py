"""The transform ``clip_dedup``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass

from datumaro.components.annotation import Caption
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.curate.decisions import Decision
from datumaro_clip.curate.duplicates import (
    KEEP,
    LEVELS,
    Candidate,
    Duplicate,
    DuplicateRules,
    find_duplicates,
)
from datumaro_clip.curate.exact import pixel_digest
from datumaro_clip.curate.near.rings import Thumbnail
from datumaro_clip.curate.thumbnails import ThumbnailFile, square_thumbnail
from datumaro_clip.embedding import ImageRequest
from datumaro_clip.errors import ImageError
from datumaro_clip.host.apply import key_of
from datumaro_clip.host.curation.conflicts import conflicts, leaks
from datumaro_clip.host.curation.pictures import seen_by, source_digest
from datumaro_clip.host.curation.transform import CurationTransform
from datumaro_clip.host.embedding import ItemEmbedding
from datumaro_clip.images import decode


class ClipDedup(CurationTransform):
    """
    Finds pictures that repeat others: the same file or pixels (exact), altered copies (near), and, where asked for,
    pictures that stand for one another (semantic).|n
    |n
    CLIP vectors and picture descriptors only propose near pairs; their pixels decide, so that look-alikes stay. Each
    group keeps one item: that whose captions fit best, then the one with most annotations, the largest, the first
    ('--keep' gives another order). Copies across subsets and copies labelled differently are reported.|n
    |n
    Example:|n
    |s|sdatum transform -t clip_dedup -o OUT path/to/coco:coco -- --protect val --report REPORT
    """

    NAME = "clip_dedup"
    DEFAULTS = {  # noqa: RUF012 - read, never written
        "levels": DuplicateRules.levels,
        "threshold": DuplicateRules.threshold,
        "keep": KEEP,
        "keep_ratio": DuplicateRules.keep_ratio,
        "clusters": None,
        "seed": 0,
        "merge_annotations": False,
        "no_vectors": False,
    }

    RANGES = {"threshold": (-1, 1), "keep_ratio": (0, 1), "clusters": (1, math.inf)}  # noqa: RUF012

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Declare the levels, and who stays."""
        add, defaults = parser.add_argument, cls.DEFAULTS
        add("--levels", nargs="+", default=defaults["levels"], choices=LEVELS, help="default: exact near")
        add("--threshold", type=float, default=defaults["threshold"], help="proposes pairs (default: %(default)s)")
        add("--keep", nargs="+", default=KEEP, choices=KEEP, help=f"who stays (default: {' '.join(KEEP)})")
        add("--keep-ratio", type=float, default=defaults["keep_ratio"], help="semantic level (default: %(default)s)")
        add("--clusters", type=int, help="of the semantic level (default: about the square root of the items)")
        add("--seed", type=int, default=0, help="of the clusters (default: %(default)s)")
        add("--merge-annotations", action="store_true", help="give what stays the labels and captions of what goes")
        add("--no-vectors", action="store_true", help="load no model: descriptors propose, pixels decide")

    def decide(self, items: list[DatasetItem]) -> tuple[list[Decision], list[str]]:
        """Describe every item, find the groups, and say who stays for whom."""
        rules = DuplicateRules(
            tuple(self.options["levels"]),
            tuple(self.options["keep"]),
            self.options["threshold"],
            self.options["keep_ratio"],
            self.options["clusters"],
            self.options["seed"],
        )
        found = self._found(items, rules)
        with ThumbnailFile() as thumbnails:
            candidates, shown = self._candidates(found, thumbnails)
            duplicates = find_duplicates(candidates, thumbnails, shown, rules)
        return self._told([each.item for each in found], duplicates)

    def _found(self, items: list[DatasetItem], rules: DuplicateRules) -> list[ItemEmbedding]:
        """Vectors where a level uses them, captions where they decide who stays."""
        if self.options["no_vectors"] or not {"near", "semantic"} & set(rules.levels):
            return [ItemEmbedding(item, None) for item in items]
        captioned = any(isinstance(note, Caption) for item in items for note in item.annotations)
        wanted = "captions" if "alignment" in rules.keep and captioned else "none"
        return self.embedded(items, texts=wanted)

    def _candidates(self, found: list[ItemEmbedding], thumbnails: ThumbnailFile) -> tuple[list[Candidate], list[int]]:
        """What is known of each item, and which ones have a thumbnail, which goes to the file at once."""
        candidates, shown = [], []
        pictures = seen_by(_read, [each.item for each in found])
        for number, (each, picture) in enumerate(zip(found, pictures, strict=True)):
            candidates.append(self._candidate(each, picture))
            if picture.thumbnail is not None:
                shown.append(number)
                thumbnails.append(picture.thumbnail)
        return candidates, shown

    def _candidate(self, each: ItemEmbedding, picture: _Picture) -> Candidate:
        scores = [text.score for text in each.captions if text.score is not None]
        return Candidate(
            picture.digests,
            picture.pixels,
            len(each.item.annotations),
            max(scores, default=None),
            each.item.subset in self._protected,
            None if each.embedding is None else each.embedding.vector,
        )

    def _told(self, items: Sequence[DatasetItem], duplicates: dict[int, Duplicate]) -> tuple[list[Decision], list[str]]:
        heads = sorted({each.representative for each in duplicates.values()})
        groups = {head: number for number, head in enumerate(heads)}
        members = {head: [head] for head in heads}
        for n, each in duplicates.items():
            members[each.representative].append(n)
        decisions = []
        for n, item in enumerate(items):
            if n in duplicates:
                decisions.append(_dropped(item, items, duplicates[n], groups))
            elif n in groups:
                quarrel = conflicts([items[member] for member in members[n]])
                decisions.append(Decision(key_of(item), "keep", "representative", group=groups[n], detail=quarrel))
            else:
                decisions.append(Decision(key_of(item), "keep"))
        gathered = [[items[member] for member in each] for each in members.values()]
        quarrels = [f"conflict: {one.key}: {one.detail}" for one in decisions if _quarrels(one)]
        return decisions, leaks(gathered) + quarrels


def _quarrels(decision: Decision) -> bool:
    return decision.reason == "representative" and bool(decision.detail)


def _dropped(item: DatasetItem, items: Sequence[DatasetItem], each: Duplicate, groups: dict[int, int]) -> Decision:
    return Decision(
        key_of(item),
        "drop",
        f"{each.level}_duplicate",
        score=round(each.score, 6),
        threshold=round(each.threshold, 6),
        group=groups[each.representative],
        representative=key_of(items[each.representative]),
        detail=_sentence(each),
    )


def _sentence(each: Duplicate) -> str:
    if each.match is None:
        return {"exact": "the same file or the same pixels", "semantic": "stands for it"}[each.level]
    return f"an altered copy: once aligned, pixels correlate by {each.match.correlation:.3f}"


@dataclass(frozen=True)
class _Picture:
    """What the picture of an item says, undecodable ones nothing."""

    digests: tuple[bytes, ...] = ()
    pixels: int = 0
    thumbnail: Thumbnail | None = None


def _read(item: DatasetItem, request: ImageRequest) -> _Picture:
    try:
        source = request.fetch()
        picture = decode(source)
    except ImageError:
        return _Picture()
    digests = (source_digest(source), pixel_digest(picture))
    return _Picture(digests, picture.width * picture.height, square_thumbnail(picture))
