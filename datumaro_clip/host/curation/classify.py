"""The transform ``clip_classify``."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.curate.classify import DEFAULT_TEMPLATES, classify, prompts
from datumaro_clip.curate.decisions import Decision, Scalar
from datumaro_clip.errors import OptionError
from datumaro_clip.host.apply import key_of
from datumaro_clip.host.curation.transform import CurationTransform
from datumaro_clip.host.curation.vectors import class_matrix
from datumaro_clip.host.embedding import ItemEmbedding
from datumaro_clip.host.items import label_names, with_labels


class ClipClassify(CurationTransform):
    """
    Labels each picture with the class whose prompts it resembles most, without training.|n
    |n
    Classes are the dataset's label categories, or '--labels'; new ones are added to the categories. Labels below
    '--min-confidence' are not added. '--action mark' writes the attributes 'clip_label' and 'clip_confidence'
    instead of a label.|n
    |n
    Example:|n
    |s|sdatum transform -t clip_classify -o OUT path/to/images:image_dir -- --labels cat dog --min-confidence 0.6
    """

    NAME = "clip_classify"
    DEFAULTS = {  # noqa: RUF012 - read, never written
        "labels": (),
        "templates": DEFAULT_TEMPLATES,
        "min_confidence": 0.0,
    }

    RANGES = {"min_confidence": (0, 1)}  # noqa: RUF012

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Declare the classes and the prompts."""
        add = parser.add_argument
        add("--labels", nargs="+", default=(), metavar="NAME", help="classes (default: the dataset's categories)")
        add("--templates", nargs="+", default=DEFAULT_TEMPLATES, metavar="TEXT", help="prompts, {} for the name")
        add("--min-confidence", type=float, default=0.0, help="softmax over the classes (default: %(default)s)")

    def categories(self) -> Any:
        """The dataset's categories, with the classes that it did not have."""
        return with_labels(self._extractor.categories(), () if self._given.get("action") == "mark" else self._classes)

    @property
    def _classes(self) -> list[str]:
        """The classes that were named, each once."""
        named = self._given.get("labels", ())
        classes = [named] if isinstance(named, str) else list(dict.fromkeys(named))
        if not all(classes):
            raise OptionError("--labels: a class needs a name, got an empty one")
        return classes

    def decide(self, items: list[DatasetItem]) -> tuple[list[Decision], list[str]]:
        """Propose a label for each picture that has a vector."""
        names = self._classes or label_names(self.categories())
        sentences = prompts(names, self.options["templates"])
        found = self.embedded(items)
        able = [each for each in found if each.embedding is not None]
        if not able:
            return [Decision(key_of(each.item), "keep", "no_picture") for each in found], []
        classes = class_matrix(self.model, sentences, len(self.options["templates"]))
        proposed = classify(np.stack([each.embedding.vector for each in able if each.embedding]), classes)
        said = zip(able, proposed.labels.tolist(), proposed.confidences.tolist(), strict=True)
        by_key = {id(each): self._decision(each, names[label], sure) for each, label, sure in said}
        return [by_key.get(id(each), Decision(key_of(each.item), "keep", "no_picture")) for each in found], []

    def _decision(self, each: ItemEmbedding, label: str, confidence: float) -> Decision:
        limit = self.options["min_confidence"]
        sure = confidence >= limit
        marks: dict[str, Scalar] = {"clip_label": label, "clip_confidence": round(confidence, 6)}
        marks_only = self.options["action"] != "drop"
        return Decision(
            key_of(each.item),
            ("mark" if marks_only else "label") if sure else "keep",
            "classified" if sure else "unsure",
            score=round(confidence, 6),
            threshold=limit,
            label=label,
            attributes=marks if sure and marks_only else {},
        )
