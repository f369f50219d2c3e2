"""The transform ``clip_align``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from datumaro.components.annotation import Caption
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.curate.align import COMBINATIONS, combine, keep_top, margins, mismatch_threshold
from datumaro_clip.curate.decisions import Decision
from datumaro_clip.errors import OptionError
from datumaro_clip.host.apply import key_of
from datumaro_clip.host.curation.transform import CurationTransform
from datumaro_clip.host.embedding import ItemEmbedding
from datumaro_clip.host.items import label_names
from datumaro_clip.host.options import require_choice
from datumaro_clip.vectors import ItemKey

_WITH = ("captions", "labels", "boxes")


class ClipAlign(CurationTransform):
    """
    Scores how well each picture goes with its captions, with its labels through a prompt, or each box's crop with
    the box's label, and drops what does not.|n
    |n
    Without '--min-score' and '--keep-top', texts are compared with other items' pictures, and those that fit their
    own no better than a stranger's are dropped. '--drop-captions' removes only the weak caption (or box).|n
    |n
    Example:|n
    |s|sdatum transform -t clip_align -o OUT path/to/coco:coco -- --keep-top 0.3 --report REPORT
    """

    NAME = "clip_align"
    TEXTS = "captions"
    DEFAULTS = {  # noqa: RUF012 - read, never written
        "against": "captions",
        "captions_score": "max",
        "min_score": None,
        "keep_top": None,
        "per_class": False,
        "drop_captions": False,
    }

    RANGES = {"keep_top": (0, 1)}  # noqa: RUF012

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Declare what is scored, and which scores are enough."""
        add = parser.add_argument
        add("--against", default="captions", choices=_WITH, help="texts to compare (default: %(default)s)")
        add("--captions-score", default="max", choices=COMBINATIONS, help="an item's score (default: %(default)s)")
        add("--min-score", type=float, help="cosine similarity below which to drop")
        add("--keep-top", type=float, metavar="SHARE", help="keep the best share, as 0.3")
        add("--per-class", action="store_true", help="apply --keep-top to each class of labels by itself")
        add("--drop-captions", action="store_true", help="remove weak captions or boxes, never items")

    def decide(self, items: list[DatasetItem]) -> tuple[list[Decision], list[str]]:
        """Score every text, then drop items or texts."""
        require_choice("against", self.options["against"], _WITH)
        if self.options["min_score"] is not None and self.options["keep_top"] is not None:
            raise OptionError("give either --min-score or --keep-top")
        found = self._scored_texts(items)
        scores = _Scores(found, self.options, label_names(self.categories()))
        if not scores.values.size:
            return [Decision(key_of(item), "keep", "no_text") for item in items], ["no item has a text to compare"]
        return scores.decisions(), scores.notes()

    def _scored_texts(self, items: list[DatasetItem]) -> list[ItemEmbedding]:
        if self.options["against"] == "boxes":
            return self.boxes_embedded(items)
        return self.embedded(items, texts="captions" if self.options["against"] == "captions" else "labels")


class _Scores:
    """The scores of texts, and of items through them, with the threshold that applies to each."""

    def __init__(self, found: list[ItemEmbedding], options: dict[str, Any], labels: list[str]) -> None:
        self.found, self.options, self.labels = found, options, labels
        self.texts = [(n, text) for n, each in enumerate(found) for text in each.captions if text.score is not None]
        self.by_text = options["drop_captions"] or options["against"] == "boxes"
        self.cosines = np.array([text.score for _, text in self.texts], np.float64)
        self.owner = np.array([n for n, _ in self.texts], np.int64)
        self.item_cosines: dict[ItemKey, list[float]] = {}
        for n, cosine in zip(self.owner.tolist(), self.cosines.tolist(), strict=True):
            self.item_cosines.setdefault(key_of(found[n].item), []).append(cosine)
        self.judged, self.subjects = self._judged()
        self.values = np.array(self.judged, np.float64)

    def _automatic(self) -> bool:
        return self.options["min_score"] is None and self.options["keep_top"] is None

    def _judged(self) -> tuple[Sequence[float], list[int]]:
        """What each text, or each item, is judged by: margins where no threshold is given, else cosines."""
        measured = self._margins() if self._automatic() and len(self.texts) else self.cosines
        if self.by_text:
            return measured.tolist(), list(range(len(self.texts)))
        by_item: dict[int, list[float]] = {}
        for owner, value in zip(self.owner.tolist(), measured.tolist(), strict=True):
            by_item.setdefault(owner, []).append(value)
        how = self.options["captions_score"]
        return [combine(values, how) or 0.0 for values in by_item.values()], list(by_item)

    def _margins(self) -> Any:
        images = [each.embedding.vector if each.embedding else None for each in self.found]
        rows = {n: place for place, n in enumerate(n for n, image in enumerate(images) if image is not None)}
        matrix = np.stack([image for image in images if image is not None])
        texts = np.stack([text.vector for _, text in self.texts]).astype(np.float32)
        self.margins = margins(matrix, texts, np.array([rows[n] for n in self.owner.tolist()], np.int64))
        return self.margins.own

    def thresholds(self) -> tuple[Any, Any]:
        """Which subjects stay, and the threshold of each."""
        if self.options["keep_top"] is not None:
            classes = [self._class_of(subject) for subject in self.subjects] if self.options["per_class"] else None
            return keep_top(self.values, self.options["keep_top"], classes)
        limit = self.options["min_score"]
        limit = mismatch_threshold(self.margins) if limit is None else limit
        return self.values >= limit, np.full(len(self.values), limit)

    def _class_of(self, subject: int) -> int:
        """The label of the text that is judged, else the first of its item; -1 where there is none."""
        item = self.found[int(self.owner[subject]) if self.by_text else subject].item
        judged = [item.annotations[self.texts[subject][1].annotation_index]] if self.by_text else []
        notes = [*judged, *item.annotations]
        return next((note.label for note in notes if getattr(note, "label", None) is not None), -1)

    def decisions(self) -> list[Decision]:
        """One decision an item, and one a text where texts are judged."""
        kept, limits = self.thresholds()
        by_item: dict[ItemKey, list[Decision]] = {key_of(each.item): [] for each in self.found}
        for place, subject in enumerate(self.subjects):
            item = int(self.owner[subject]) if self.by_text else subject
            decision = self._decision(item, subject, place, bool(kept[place]), float(limits[place]))
            by_item[decision.key].append(decision)
        for key, decided in by_item.items():
            if self.by_text or not decided:
                decided.insert(0, self._of_item(key, bool(decided)))
        return [one for decided in by_item.values() for one in decided]

    def _of_item(self, key: ItemKey, has_texts: bool) -> Decision:
        score = combine(self.item_cosines.get(key, []), self.options["captions_score"])
        marks = {} if score is None else {"clip_score": round(score, 6)}
        return Decision(key, "keep", "" if has_texts else "no_text", attributes=marks)

    def _decision(self, item: int, subject: int, place: int, kept: bool, limit: float) -> Decision:
        key = key_of(self.found[item].item)
        cosines = [float(self.cosines[subject])] if self.by_text else self.item_cosines[key]
        cosine = combine(cosines, self.options["captions_score"]) or 0.0
        return Decision(
            key,
            "keep" if kept else "drop",
            "aligned" if kept else "mismatch",
            score=round(float(self.values[place]), 6),
            threshold=round(limit, 6),
            annotation=self.texts[subject][1].annotation_index if self.by_text else None,
            text="" if kept or not self.by_text else self._text(item, self.texts[subject][1].annotation_index),
            detail=f"cosine similarity {cosine:.3f}" if self._automatic() else "",
            attributes={"clip_score": round(cosine, 6)},
        )

    def _text(self, item: int, annotation: int) -> str:
        """A caption, or the label of a box."""
        note = self.found[item].item.annotations[annotation]
        return str(note.caption) if isinstance(note, Caption) else self.labels[note.label]

    def notes(self) -> list[str]:
        """The distribution of scores, and what thresholds would keep."""
        levels = np.percentile(self.values, [0, 5, 25, 50, 75, 95, 100])
        names = ("min", "5%", "25%", "median", "75%", "95%", "max")
        spread = ", ".join(f"{name} {level:.3f}" for name, level in zip(names, levels, strict=True))
        steps = np.linspace(levels[0], levels[-1], 6)[1:-1]
        would = ", ".join(f"{step:.3f} keeps {np.mean(self.values >= step):.0%}" for step in steps)
        scale = "deviations above a stranger's cosine similarity" if self._automatic() else "cosine similarities"
        return [f"scores, {scale}: {spread}", f"a threshold of {would}"]
