"""The transform ``clip_sample``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.curate import sample
from datumaro_clip.curate.decisions import Decision
from datumaro_clip.curate.sample import METHODS, Picks, wanted_count
from datumaro_clip.errors import OptionError
from datumaro_clip.host.apply import key_of
from datumaro_clip.host.curation.options import names_of
from datumaro_clip.host.curation.transform import CurationTransform
from datumaro_clip.host.curation.vectors import matrix_of, query_vector
from datumaro_clip.host.embedding import ItemEmbedding
from datumaro_clip.host.options import require_choice
from datumaro_clip.vectors import FloatArray

_WITHOUT_VECTORS = ("random", "stratified")


class ClipSample(CurationTransform):
    """
    Chooses a part of a dataset: at random, by class, or by what pictures show.|n
    |n
    'k_center' covers what there is with as few pictures as possible, 'centroid' and 'typical' take the middle of
    clusters, 'cluster_random' anything from each, 'query' what resembles a text. '--start-from train' picks what adds
    most to a subset that one has. '--per-subset' applies the count or ratio to each subset by itself.|n
    |n
    Example:|n
    |s|sdatum transform -t clip_sample -o OUT path/to/coco:coco -- --strategy k_center --count 100
    """

    NAME = "clip_sample"
    DEFAULTS = {  # noqa: RUF012 - read, never written
        "strategy": "k_center",
        "count": None,
        "ratio": None,
        "seed": 0,
        "query": None,
        "per_subset": False,
        "start_from": (),
        "clusters": None,
    }

    RANGES = {"count": (0, math.inf), "ratio": (0, 1), "clusters": (1, math.inf)}  # noqa: RUF012

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Declare how, how many, and where from."""
        add = parser.add_argument
        add("--strategy", default="k_center", choices=METHODS, help="how to choose (default: %(default)s)")
        add("--count", type=int, help="items to keep")
        add("--ratio", type=float, help="share of the items to keep")
        add("--seed", type=int, default=0, help="of everything that is drawn (default: %(default)s)")
        add("--query", metavar="TEXT", help="for --strategy query")
        add("--per-subset", action="store_true", help="count or ratio of each subset")
        add("--start-from", nargs="+", default=(), metavar="SUBSET", help="subsets that one has; they stay whole")
        add("--clusters", type=int, help="for cluster_random (default: about the square root of the items)")

    def decide(self, items: list[DatasetItem]) -> tuple[list[Decision], list[str]]:
        """Keep what was picked, in each group that is sampled by itself."""
        require_choice("strategy", self.options["strategy"], METHODS)
        if self.options["strategy"] == "query" and not self.options["query"]:
            raise OptionError("--strategy query needs --query TEXT")
        # Refuses what cannot be counted, before anything is embedded.
        wanted_count(len(items), self.options["count"], self.options["ratio"])
        owned = names_of(self.options["start_from"])
        if missing := owned - set(self._extractor.subsets()):
            raise OptionError(f"the dataset has no subset {', '.join(sorted(missing))} to start from")
        found = [ItemEmbedding(item, None) for item in items] if self._blind() else self.embedded(items)
        have = [each for each in found if each.item.subset in owned]
        groups = self._groups([each for each in found if each.item.subset not in owned])
        decisions = [Decision(key_of(each.item), "keep", "start") for each in have]
        for group in groups:
            decisions += self._of_group(group, have)
        return decisions, []

    def _blind(self) -> bool:
        return self.options["strategy"] in _WITHOUT_VECTORS

    def _groups(self, found: list[ItemEmbedding]) -> list[list[ItemEmbedding]]:
        if not self.options["per_subset"]:
            return [found]
        by_subset: dict[str, list[ItemEmbedding]] = {}
        for each in found:
            by_subset.setdefault(each.item.subset, []).append(each)
        return list(by_subset.values())

    def _of_group(self, group: list[ItemEmbedding], have: list[ItemEmbedding]) -> list[Decision]:
        able = [n for n, each in enumerate(group) if self._blind() or each.embedding is not None]
        count = wanted_count(len(group), self.options["count"], self.options["ratio"])
        picks = self._pick([group[n] for n in able], count, matrix_of(have))
        score = {able[row]: float(value) for row, value in zip(picks.indices.tolist(), picks.scores, strict=True)}
        return [self._decision(each, score.get(n), n in score) for n, each in enumerate(group)]

    def _decision(self, each: ItemEmbedding, score: float | None, picked: bool) -> Decision:
        reason = "picked" if picked else "not_picked"
        told = None if score is None or self._blind() else round(score, 6)
        return Decision(key_of(each.item), "keep" if picked else "drop", reason, score=told)

    def _pick(self, group: list[ItemEmbedding], count: int, start: FloatArray | None) -> Picks:
        strategy, seed = self.options["strategy"], self.options["seed"]
        if strategy == "random":
            return sample.pick_random(len(group), count, seed)
        if strategy == "stratified":
            return sample.pick_stratified([_class_of(each.item) for each in group], count, seed)
        vectors = matrix_of(group)
        if vectors is None:
            return sample.pick_random(0, 0, seed)
        if strategy == "k_center":
            return sample.pick_k_center(vectors, count, seed, start)
        if strategy == "query":
            return sample.pick_query(vectors, query_vector(self.model, self.options["query"]), count)
        if strategy == "cluster_random":
            return sample.pick_cluster_random(vectors, count, seed, self.options["clusters"])
        return _CLUSTERED[strategy](vectors, count, seed)


_CLUSTERED: dict[str, Callable[[FloatArray, int, int], Picks]] = {
    "centroid": sample.pick_centroid,
    "typical": sample.pick_typical,
}


def _class_of(item: DatasetItem) -> int:
    """The item's most frequent label, the lower of two; -1 where it has none."""
    labels = [note.label for note in item.annotations if getattr(note, "label", None) is not None]
    return int(np.bincount(labels).argmax()) if labels else -1
