"""Labels without training: the class whose prompts a picture is most similar to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datumaro_clip.curate.groups import IntArray
from datumaro_clip.errors import OptionError
from datumaro_clip.vectors import FloatArray, unit_rows

# exp(4.6052), the largest logit scale that CLIP was trained with (Radford et al., 2021, section 2.5).
LOGIT_SCALE = 100.0

# A short ensemble after the ImageNet prompts of Radford et al. (2021).
DEFAULT_TEMPLATES = ("a photo of a {}.", "a close-up photo of a {}.", "a picture of the {}.", "a {}.")


class Classified(NamedTuple):
    """Labels proposed for N pictures.

    Attributes
    ----------
    labels : numpy.ndarray
        Shape (N,), int64: index of the class.
    confidences : numpy.ndarray
        Shape (N,), float32, from 0 to 1: softmax over the classes.
    similarities : numpy.ndarray
        Shape (N,), float32: cosine similarity with the class.
    """

    labels: IntArray
    confidences: FloatArray
    similarities: FloatArray


def prompts(names: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Every template of every name, name by name; underscores become spaces.

    Raises
    ------
    OptionError
        If there are no names or templates, or a template does not hold ``{}`` once.
    """
    if not names:
        raise OptionError("there are no classes to choose from; give --labels, or use a dataset with label categories")
    if not templates or any(template.count("{}") != 1 for template in templates):
        raise OptionError("--templates needs texts with exactly one {} each, for the label's name")
    return [template.replace("{}", name.replace("_", " ")) for name in names for template in templates]


def class_vectors(embedded: FloatArray, templates: int) -> FloatArray:
    """One unit row a class (C, D): the mean direction of its prompts' rows (C·templates, D)."""
    return unit_rows(embedded.reshape(-1, templates, embedded.shape[-1]).mean(axis=1))


def class_scores(vectors: FloatArray, classes: FloatArray) -> FloatArray:
    """Cosine similarity of each picture with each class, shape (N, C), float32, to six digits."""
    scores: FloatArray = (vectors.astype(np.float64) @ classes.T.astype(np.float64)).round(6).astype(np.float32)
    return scores


def softmax(scores: FloatArray, scale: float = LOGIT_SCALE) -> FloatArray:
    """Confidence of each class, rows of (N, C) that sum to 1."""
    logits = scale * (scores.astype(np.float64) - scores.max(axis=1, keepdims=True, initial=-1.0))
    weights = np.exp(logits)
    confidences: FloatArray = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return confidences


def classify(vectors: FloatArray, classes: FloatArray) -> Classified:
    """The most similar class of each picture, ties to the lower index.

    Parameters
    ----------
    vectors : numpy.ndarray
        Shape (N, D), float32 unit rows.
    classes : numpy.ndarray
        Shape (C, D), float32 unit rows, C >= 1.
    """
    scores = class_scores(vectors, classes)
    labels = scores.argmax(axis=1).astype(np.int64)
    rows = np.arange(len(vectors))
    return Classified(labels, softmax(scores)[rows, labels], scores[rows, labels])
