"""The transform ``clip_search``."""

from __future__ import annotations

import argparse
import math

from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.curate.decisions import Decision
from datumaro_clip.errors import OptionError
from datumaro_clip.host.apply import key_of
from datumaro_clip.host.curation.transform import CurationTransform
from datumaro_clip.host.curation.vectors import matrix_of, picture_vector, query_vector
from datumaro_clip.host.embedding import ItemEmbedding
from datumaro_clip.similarity import top_k
from datumaro_clip.vectors import FloatArray


class ClipSearch(CurationTransform):
    """
    Keeps the pictures most similar to a text, to a picture, or to an item of the dataset, best first.|n
    |n
    Each hit carries its cosine similarity in the attribute 'clip_score' and its place in 'clip_rank'.|n
    |n
    Example:|n
    |s|sdatum transform -t clip_search -o OUT path/to/coco:coco -- --query "a dog on a beach" -k 20
    """

    NAME = "clip_search"
    DEFAULTS = {"query": None, "image": None, "item": None, "k": 10, "min_score": -1.0}  # noqa: RUF012

    RANGES = {"k": (1, math.inf), "min_score": (-1, 1)}  # noqa: RUF012

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Declare what to look for, and how many hits to keep."""
        add = parser.add_argument
        add("--query", metavar="TEXT", help="a text")
        add("--image", metavar="FILE", help="a picture")
        add("--item", metavar="ID[@SUBSET]", help="an item of the dataset")
        add("-k", dest="k", type=int, default=10, help="hits, at most (default: %(default)s)")
        add("--min-score", type=float, default=-1.0, help="cosine similarity, at least")

    def decide(self, items: list[DatasetItem]) -> tuple[list[Decision], list[str]]:
        """Rank the items by similarity to the query."""
        if sum(self.options[name] is not None for name in ("query", "image", "item")) != 1:
            raise OptionError("give one of --query TEXT, --image FILE and --item ID[@SUBSET]")
        found = self.embedded(items)
        matrix = matrix_of(found)
        if matrix is None:
            return [Decision(key_of(each.item), "drop", "no_picture") for each in found], []
        able = [n for n, each in enumerate(found) if each.embedding is not None]
        indices, scores = top_k(self._question(found)[None], matrix, min(self.options["k"], len(matrix)))
        ranked = enumerate(zip(indices[0].tolist(), scores[0].tolist(), strict=True))
        hits = {able[row]: (rank, score) for rank, (row, score) in ranked}
        return [self._decision(each, *hits.get(n, (None, None))) for n, each in enumerate(found)], []

    def _decision(self, each: ItemEmbedding, rank: int | None, score: float | None) -> Decision:
        limit = self.options["min_score"]
        if rank is None or score is None:
            return Decision(key_of(each.item), "drop", "no_hit")
        told = round(score, 6)
        if score < limit:
            return Decision(key_of(each.item), "drop", "no_hit", score=told, threshold=limit)
        marks = {"clip_score": told, "clip_rank": rank}
        return Decision(key_of(each.item), "keep", "hit", score=told, threshold=limit, rank=rank, attributes=marks)

    def _question(self, found: list[ItemEmbedding]) -> FloatArray:
        if self.options["query"] is not None:
            return query_vector(self.model, self.options["query"])
        if self.options["image"] is not None:
            return picture_vector(self.model, self.options["image"])
        return _vector_of(self.options["item"], found)


def _vector_of(name: str, found: list[ItemEmbedding]) -> FloatArray:
    """The vector of the item that is called ``id`` or ``id@subset``."""
    matches = [each for each in found if name in (str(each.item.id), str(key_of(each.item)))]
    if len(matches) != 1:
        many = "no item" if not matches else f"{len(matches)} items"
        raise OptionError(f"{many} called {name!r}; write ID@SUBSET")
    if matches[0].embedding is None:
        raise OptionError(f"item {name!r} has no picture to search with")
    return matches[0].embedding.vector
