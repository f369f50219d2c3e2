"""The transform ``clip_outliers``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from datumaro.components.annotation import Bbox, Caption, Label
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.curate.align import FEWEST_PAIRS, BoolArray, Scores
from datumaro_clip.curate.classify import DEFAULT_TEMPLATES, class_scores, prompts
from datumaro_clip.curate.decisions import Decision
from datumaro_clip.curate.groups import IntArray
from datumaro_clip.curate.outliers import (
    caption_leanings,
    doubt_labels,
    fit_labels,
    isolation,
    lower_fence,
    unlike_any_class,
    unlike_captions,
)
from datumaro_clip.host.curation.apply import key_of
from datumaro_clip.host.curation.crops import label_names
from datumaro_clip.host.curation.transform import CurationTransform
from datumaro_clip.host.curation.vectors import class_matrix, matrix_of
from datumaro_clip.host.embedding import ItemEmbedding
from datumaro_clip.host.options import require_choice
from datumaro_clip.vectors import FloatArray

_WHAT = ("pictures", "labels", "both")
# Captions speak for a label where they resemble it, more than another, by half of what is usual.
_DEFENDED = 0.5


class ClipOutliers(CurationTransform):
    """
    Finds pictures that resemble no others, and labels that both the nearest neighbours and the text encoder
    contradict; the label that fits better is proposed.|n
    |n
    A wrong label is marked, or removed with the item, as '--action' says; the report ranks them by doubt. A picture
    that fits neither its label nor its captions (or, without captions, any other class) is an outlier too.|n
    |n
    Example:|n
    |s|sdatum transform -t clip_outliers -o OUT path/to/coco:coco -- --action mark --report REPORT
    """

    NAME = "clip_outliers"
    DEFAULTS = {  # noqa: RUF012 - read, never written
        "what": "both",
        "neighbours": None,
        "min_similarity": None,
        "min_doubt": 0.5,
        "no_texts": False,
    }

    RANGES = {"neighbours": (1, math.inf), "min_doubt": (0, 1)}  # noqa: RUF012

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Declare what to look for, and from where on it counts."""
        add = parser.add_argument
        add("--what", default="both", choices=_WHAT, help="outliers to look for (default: %(default)s)")
        add("--neighbours", type=int, help="look at the K-th neighbour (default: the 10th, or 2 percent of the items)")
        add("--min-similarity", type=float, help="with that neighbour (default: far below the others')")
        add("--min-doubt", type=float, default=0.5, help="of labels, from 0 to 1 (default: %(default)s)")
        add("--no-texts", action="store_true", help="let the neighbours alone judge labels")

    def decide(self, items: list[DatasetItem]) -> tuple[list[Decision], list[str]]:
        """Judge pictures by their neighbours, then labels and pictures by one another."""
        require_choice("what", self.options["what"], _WHAT)
        captioned = any(isinstance(note, Caption) for item in items for note in item.annotations)
        found = self.embedded(items, texts="captions" if captioned and not self.options["no_texts"] else "none")
        able = [each for each in found if each.embedding is not None]
        decided = {id(each): Decision(key_of(each.item), "keep") for each in found}
        if able and self.options["what"] != "labels":
            decided |= self._of_pictures(able)
        belong = [each for each in able if decided[id(each)].action == "keep"]
        judged, notes = self._of_labels(belong, decided)
        return [(decided | judged)[id(each)] for each in found], notes

    def _of_pictures(self, able: list[ItemEmbedding]) -> dict[int, Decision]:
        vectors = matrix_of(able)
        assert vectors is not None
        scores = isolation(vectors, self.options["neighbours"])
        limit = self.options["min_similarity"]
        limit = lower_fence(scores) if limit is None else limit
        return {id(each): _of_picture(each, float(score), limit) for each, score in zip(able, scores, strict=True)}

    def _of_labels(
        self, able: list[ItemEmbedding], decided: dict[int, Decision]
    ) -> tuple[dict[int, Decision], list[str]]:
        names = label_names(self.categories())
        labels = {id(each): label for each in able if (label := only_label(each.item, len(names))) is not None}
        labelled = [each for each in able if id(each) in labels]
        if not labelled or len(names) < 2:
            return {}, []
        if len(labelled) < FEWEST_PAIRS:
            return {}, [f"{len(labelled)} labelled pictures are too few to judge labels (at least {FEWEST_PAIRS})"]
        return self._judged(labelled, [labels[id(each)] for each in labelled], decided, names), []

    def _judged(
        self, labelled: list[ItemEmbedding], labels: list[int], decided: dict[int, Decision], names: list[str]
    ) -> dict[int, Decision]:
        """Decisions about what carries a wrong label, and about what fits nothing that is said of it."""
        witnesses = _Witnesses(labelled, labels, self._classes(names))
        foreign = {
            id(labelled[n]): replace(found, detail=f"fits neither its label ({names[labels[n]]}) nor {other}")
            for n, found, other in witnesses.foreign()
        }
        limit = self.options["min_doubt"]
        wrong = {
            id(labelled[n]): _doubted(decided[id(labelled[n])], doubt, limit, names[labels[n]], names[proposed])
            for n, doubt, proposed in witnesses.doubts(len(names))
            if doubt >= limit and id(labelled[n]) not in foreign
        }
        return {"pictures": foreign, "labels": wrong, "both": foreign | wrong}[self.options["what"]]

    def _classes(self, names: list[str]) -> FloatArray | None:
        """One vector a class, from its prompts; None where texts have no say."""
        if self.options["no_texts"]:
            return None
        return class_matrix(self.model, prompts(names, DEFAULT_TEMPLATES), len(DEFAULT_TEMPLATES))


class _Witnesses:
    """What neighbours, class prompts and captions say of labelled pictures."""

    def __init__(self, labelled: list[ItemEmbedding], labels: list[int], classes: FloatArray | None) -> None:
        vectors = matrix_of(labelled)
        assert vectors is not None
        self.items = [each.item for each in labelled]
        self.vectors, self.labels, self.classes = vectors, labels, classes
        self.texts = None if classes is None else class_scores(vectors, classes)
        said = [(n, text.vector) for n, each in enumerate(labelled) for text in each.captions]
        self.owner = np.array([n for n, _ in said], np.int64)
        self.captions = np.array([vector for _, vector in said], np.float32)

    def foreign(self) -> Iterator[tuple[int, Decision, str]]:
        """Pictures that fit neither their label nor what else is said of them, and what that is.

        A label that fits unusually badly is enough where no caption fits either; where one does, the label is wrong,
        and not the picture.
        """
        if self.texts is None:
            return
        fits = fit_labels(self.texts, self.labels)
        captions = self._unlike_captions()
        classes = unlike_any_class(self.texts) & ~self._captioned()
        for unlike, limit, what in ((captions, fits.fence, "its captions"), (classes, fits.threshold, "any other")):
            for n in np.flatnonzero(unlike & (fits.own < limit)).tolist():
                yield n, _outlier(self.items[n], float(fits.own[n]), limit), what

    def doubts(self, count: int) -> Iterator[tuple[int, float, int]]:
        """Each picture with the doubt of its label, none where its captions speak for it, and the label proposed."""
        found = doubt_labels(self.vectors, self.labels, self.texts, count)
        doubts = np.where(self._leanings(found.proposed) > _DEFENDED, 0, found.doubts)
        for n, (doubt, proposed) in enumerate(zip(doubts.tolist(), found.proposed.tolist(), strict=True)):
            yield n, doubt, proposed

    def _captioned(self) -> BoolArray:
        """Which pictures have captions; none where there are too few to compare."""
        told = np.zeros(len(self.items), np.bool_)
        if len(self.owner) >= FEWEST_PAIRS:
            told[self.owner] = True
        return told

    def _unlike_captions(self) -> BoolArray:
        told = self._captioned()
        return unlike_captions(self.vectors, self.captions, self.owner) if told.any() else told

    def _leanings(self, rivals: IntArray) -> Scores:
        """How far captions speak for the given labels and against their rivals."""
        if self.classes is None or not len(self.owner):
            return np.zeros(len(self.labels))
        return caption_leanings(class_scores(self.captions, self.classes), self.owner, self.labels, rivals)


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
    if score < limit:
        return _outlier(each.item, score, limit)
    return Decision(key_of(each.item), "keep", score=round(score, 6), threshold=round(limit, 6))


def _outlier(item: DatasetItem, score: float, limit: float) -> Decision:
    return Decision(key_of(item), "drop", "outlier", score=round(score, 6), threshold=round(limit, 6))
