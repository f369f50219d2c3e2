"""Label pictures without training, by the class whose prompts are most similar."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datumaro_clip.curate.columns import Columns, Verdicts
from datumaro_clip.curate.item import Item
from datumaro_clip.curate.tools import Tool
from datumaro_clip.errors import OptionError
from datumaro_clip.options import Option, Several, Share, Text, Values
from datumaro_clip.vectors import FloatArray

# exp(4.6052), the largest logit scale that CLIP was trained with (Radford et al., 2021, section 2.5).
LOGIT_SCALE = 100.0

# A short ensemble after the ImageNet prompts of Radford et al. (2021).
DEFAULT_TEMPLATES = ("a photo of a {}.", "a close-up photo of a {}.", "a picture of the {}.", "a {}.")


def _template_problem(text: str) -> str | None:
    return None if text.count("{}") == 1 else "needs texts with exactly one {} each, for the label's name"


def _name_problem(text: str) -> str | None:
    return None if text.strip() else "names classes: a class needs a name"


OPTIONS = (
    Option(
        "labels",
        Several(of=Text(metavar="NAME", check=_name_problem)),
        (),
        "names of the classes",
        unset="the dataset's categories",
    ),
    Option(
        "templates",
        Several(of=Text(metavar="TEXT", check=_template_problem)),
        DEFAULT_TEMPLATES,
        "prompts; {} stands for the class",
    ),
    Option("min-probability", Share(), 0.0, "least softmax probability to label", former="min-confidence"),
)


def propose_labels(columns: Columns, options: Values) -> Verdicts:
    """Propose for each picture the class whose prompts are most similar; ties go to the first class."""
    verdicts = Verdicts(columns.keys)
    verdicts.set(~columns.has_vector, reason="no_picture")
    if not len(columns.vectors):
        return verdicts
    names = _names(options, columns.classes)
    scores = class_scores(columns.vectors, columns.class_vectors(names, options.templates))
    best = scores.argmax(axis=1)
    # The softmax of the best score, whose own weight is 1.
    weights = np.exp(LOGIT_SCALE * (scores.astype(np.float64) - scores.max(axis=1, keepdims=True)))
    probability = (1 / weights.sum(axis=1)).astype(np.float32)
    labels, sure = [names[label] for label in best], probability >= options.min_probability
    verdicts.set(columns.rows, reason="unsure", score=probability, threshold=options.min_probability, label=labels)
    verdicts.measured("probability of the proposed class", probability, sure, options.min_probability or None, 1.0)
    verdicts.set(columns.rows[sure], reason="classified", action="label" if options.action == "drop" else "mark")
    if options.action != "drop":
        marks = [{"clip_label": labels[n], "clip_confidence": probability[n]} for n in np.flatnonzero(sure)]
        verdicts.set(columns.rows[sure], attributes=marks)
    return verdicts


def _names(options: Values, classes: Sequence[str]) -> list[str]:
    """Return the classes to choose from, each once: those that were named, else the dataset's."""
    return list(dict.fromkeys(options.labels or classes))


def _check_items(values: Values, items: Sequence[Item], classes: Sequence[str]) -> None:
    if not _names(values, classes):
        raise OptionError("there are no classes to choose from; give --labels, or use a dataset with label categories")


TOOL = Tool(
    "clip_classify",
    propose_labels,
    OPTIONS,
    "Labels each picture with the class whose prompts it resembles most, without training.\n\n"
    "The classes are the dataset's own, or those of '--labels', which are added to the dataset. A picture gets no "
    "label where the best class is less probable than '--min-probability'. '--action mark' writes the attributes "
    "'clip_label' and 'clip_confidence' instead of a label.",
    ("--labels cat dog --min-probability 0.6",),
    check_items=_check_items,
    new_classes=lambda values: [] if values.action == "mark" else values.labels,
    takes_objects=True,
    nothing="no label was proposed",
)


def class_scores(vectors: FloatArray, classes: FloatArray) -> FloatArray:
    """Return the cosine similarity of each picture with each class, shape (N, C), float32, to six digits."""
    scores: FloatArray = np.round(vectors.astype(np.float64) @ classes.T.astype(np.float64), 6).astype(np.float32)
    return scores
