"""The transform ``clip_outliers``."""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from datumaro.components.annotation import Bbox, Label
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.adapters.curation.apply import key_of
from datumaro_clip.adapters.curation.crops import label_names
from datumaro_clip.adapters.curation.transform import CurationTransform
from datumaro_clip.adapters.curation.vectors import class_matrix, matrix_of
from datumaro_clip.adapters.embedding import ItemEmbedding
from datumaro_clip.adapters.options import require_choice
from datumaro_clip.curate.classify import DEFAULT_TEMPLATES, class_scores, prompts
from datumaro_clip.curate.decisions import Decision
from datumaro_clip.curate.outliers import doubt_labels, fit_classes, isolation, lower_fence
from datumaro_clip.vectors import FloatArray

_WHAT = ("pictures", "labels", "both")


class ClipOutliers(CurationTransform):
    """
    Finds pictures that resemble no others, and labels that both the nearest neighbours and the text encoder
    contradict; the label that fits better is proposed.|n
    |n
    A wrong label is marked, or removed with the item, as '--action' says; the report ranks them by doubt. A picture
    that fits neither its own class nor any other counts as an outlier too.|n
    |n
    Example:|n
    |s|sdatum transform -t clip_outliers -o OUT path/to/coco:coco -- --action mark --report REPORT
    """

    NAME = "clip_outliers"
    DEFAULTS = {  # noqa: RUF012 - read, never written
        "what": "both",
        "neighbours": None,
        "min_similarity": None,
        "min_doubt": 0.1,
        "no_texts": False,
    }

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Declare what to look for, and from where on it counts."""
        add = parser.add_argument
        add("--what", default="both", choices=_WHAT, help="outliers to look for (default: %(default)s)")
        add("--neighbours", type=int, help="look at the K-th neighbour (default: the 10th, or 2 percent of the items)")
        add("--min-similarity", type=float, help="with that neighbour (default: far below the others')")
        add("--min-doubt", type=float, default=0.1, help="of labels, from 0 to 1 (default: %(default)s)")
        add("--no-texts", action="store_true", help="let the neighbours alone judge labels")

    def decide(self, items: list[DatasetItem]) -> tuple[list[Decision], list[str]]:
        """Judge pictures, then the labels of those that belong."""
        require_choice("what", self.options["what"], _WHAT)
        found = self.embedded(items)
        able = [each for each in found if each.embedding is not None]
        decided = {id(each): Decision(key_of(each.item), "keep") for each in found}
        if able:
            if self.options["what"] != "labels":
                decided |= self._of_pictures(able)
            if self.options["what"] != "pictures":
                belong = [each for each in able if decided[id(each)].action == "keep"]
                decided |= self._of_labels(belong, decided)
        return [decided[id(each)] for each in found], []

    def _of_pictures(self, able: list[ItemEmbedding]) -> dict[int, Decision]:
        vectors = matrix_of(able)
        assert vectors is not None
        scores = isolation(vectors, self.options["neighbours"])
        limit = self.options["min_similarity"]
        limit = lower_fence(scores) if limit is None else limit
        return {id(each): _of_picture(each, float(score), limit) for each, score in zip(able, scores, strict=True)}

    def _of_labels(self, able: list[ItemEmbedding], decided: dict[int, Decision]) -> dict[int, Decision]:
        names = label_names(self.categories())
        labelled = [(each, label) for each in able if (label := only_label(each.item, len(names))) is not None]
        vectors = matrix_of([each for each, _ in labelled])
        if vectors is None or len(names) < 2:
            return {}
        labels = [label for _, label in labelled]
        texts = None if self.options["no_texts"] else self._class_scores(vectors, names)
        foreign = {} if texts is None else self._foreign([each for each, _ in labelled], texts, labels)
        doubts = doubt_labels(vectors, labels, texts, len(names))
        limit = self.options["min_doubt"]
        judged = {
            id(each): _doubted(decided[id(each)], float(doubt), limit, names[label], names[proposed])
            for (each, label), doubt, proposed in zip(labelled, doubts.doubts, doubts.proposed.tolist(), strict=True)
            if doubt > limit
        }
        return judged | foreign

    def _class_scores(self, vectors: FloatArray, names: list[str]) -> FloatArray:
        sentences = prompts(names, DEFAULT_TEMPLATES)
        return class_scores(vectors, class_matrix(self.embedder(), sentences, len(DEFAULT_TEMPLATES)))

    def _foreign(self, labelled: list[ItemEmbedding], texts: FloatArray, labels: list[int]) -> dict[int, Decision]:
        """Pictures that fit neither their own class nor any other."""
        if self.options["what"] != "both":
            return {}
        fits = fit_classes(texts, labels)
        return {
            id(labelled[n]): Decision(
                key_of(labelled[n].item),
                "drop",
                "outlier",
                score=round(float(fits.best[n]), 6),
                threshold=round(fits.fence, 6),
                detail="resembles neither its own class nor any other",
            )
            for n in np.flatnonzero(fits.foreign).tolist()
        }


def _doubted(decision: Decision, doubt: float, limit: float, given: str, proposed: str) -> Decision:
    return replace(
        decision,
        action="drop",
        reason="wrong_label",
        score=round(doubt, 6),
        threshold=limit,
        label=proposed,
        detail=f"labelled {given}, more likely {proposed}",
        attributes={"clip_label": proposed},
    )


def only_label(item: DatasetItem, count: int) -> int | None:
    """The one label of an item, of its own or of its boxes; None where it has none, or several."""
    labels = {note.label for note in item.annotations if isinstance(note, Label | Bbox)}
    known = [label for label in labels if label is not None and 0 <= label < count]
    return int(known[0]) if len(known) == 1 else None


def _of_picture(each: ItemEmbedding, score: float, limit: float) -> Decision:
    action, reason = ("drop", "outlier") if score < limit else ("keep", "")
    return Decision(key_of(each.item), action, reason, score=round(score, 6), threshold=round(limit, 6))
