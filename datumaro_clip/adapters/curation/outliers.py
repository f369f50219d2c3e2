"""The transform ``clip_outliers``."""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from datumaro.components.annotation import Bbox, Caption, Label
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.adapters.curation.apply import key_of
from datumaro_clip.adapters.curation.crops import label_names
from datumaro_clip.adapters.curation.transform import CurationTransform
from datumaro_clip.adapters.curation.vectors import class_matrix, matrix_of
from datumaro_clip.adapters.embedding import ItemEmbedding
from datumaro_clip.adapters.options import require_choice
from datumaro_clip.curate.align import FEWEST_PAIRS
from datumaro_clip.curate.classify import DEFAULT_TEMPLATES, class_scores, prompts
from datumaro_clip.curate.decisions import Decision
from datumaro_clip.curate.outliers import (
    doubt_labels,
    fit_labels,
    isolation,
    lower_fence,
    unlike_any_class,
    unlike_captions,
)
from datumaro_clip.vectors import FloatArray

_WHAT = ("pictures", "labels", "both")


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
        vectors = matrix_of(labelled)
        assert vectors is not None
        texts = None if self.options["no_texts"] else self._class_scores(vectors, names)
        doubts = doubt_labels(vectors, labels, texts, len(names))
        foreign = {} if texts is None else _foreign(labelled, texts, labels, names)
        limit = self.options["min_doubt"]
        wrong = {
            id(each): _doubted(decided[id(each)], float(doubt), limit, names[label], names[proposed])
            for each, label, doubt, proposed in zip(
                labelled, labels, doubts.doubts, doubts.proposed.tolist(), strict=True
            )
            if doubt >= limit and id(each) not in foreign
        }
        return {"pictures": foreign, "labels": wrong, "both": foreign | wrong}[self.options["what"]]

    def _class_scores(self, vectors: FloatArray, names: list[str]) -> FloatArray:
        sentences = prompts(names, DEFAULT_TEMPLATES)
        return class_scores(vectors, class_matrix(self.embedder(), sentences, len(DEFAULT_TEMPLATES)))


def _foreign(
    labelled: list[ItemEmbedding], texts: FloatArray, labels: list[int], names: list[str]
) -> dict[int, Decision]:
    """Pictures that fit neither their label nor what else is said of them: their captions, or else any class."""
    fits = fit_labels(texts, labels)
    strange = _unlike_what_is_said(labelled, texts)
    return {
        id(labelled[n]): Decision(
            key_of(labelled[n].item),
            "drop",
            "outlier",
            score=round(float(fits.own[n]), 6),
            threshold=round(fits.threshold, 6),
            detail=f"fits neither its label ({names[labels[n]]}) nor {strange[n]}",
        )
        for n in np.flatnonzero(fits.own < fits.threshold).tolist()
        if strange[n]
    }


def _unlike_what_is_said(labelled: list[ItemEmbedding], texts: FloatArray) -> list[str]:
    """What each picture fails to fit; empty where it fits."""
    said = [(n, text.vector) for n, each in enumerate(labelled) for text in each.captions]
    told = {n for n, _ in said} if len(said) >= FEWEST_PAIRS else set()
    unlike = ["" if n in told or not strange else "any other" for n, strange in enumerate(unlike_any_class(texts))]
    if told:
        vectors = matrix_of(labelled)
        assert vectors is not None
        captions = np.stack([vector for _, vector in said]).astype(np.float32)
        for n in np.flatnonzero(unlike_captions(vectors, captions, np.array([n for n, _ in said], np.int64))).tolist():
            unlike[n] = "its captions"
    return unlike


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
