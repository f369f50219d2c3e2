"""Columns of bare vectors, for tests of tools: no Datumaro, no model, no files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datumaro_clip.curate.columns import Columns, Texts
from datumaro_clip.curate.item import Item


class Answers:
    """Gives the vector of each text that it knows, as a RunModel does."""

    def __init__(self, known: dict[str, np.ndarray]) -> None:
        self.known = known

    def text_vectors(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([self.known[text] for text in texts]).astype(np.float32)


def columns_of(
    vectors: np.ndarray,
    *,
    labels: Sequence[str] | None = None,
    classes: Sequence[str] = (),
    texts: np.ndarray | None = None,
    owner: np.ndarray | None = None,
    answers: dict[str, np.ndarray] | None = None,
    without_vector: Sequence[int] = (),
) -> Columns:
    """N items of which all but ``without_vector`` have a vector; text i belongs to ``owner[i]`` (ascending) or i."""
    rows = np.setdiff1d(np.arange(len(vectors) + len(without_vector)), without_vector)
    count = len(vectors) + len(without_vector)
    owner = np.arange(len(vectors)) if owner is None else owner
    told = np.bincount(owner, minlength=len(vectors)) if texts is not None else np.zeros(len(vectors), np.int64)
    captions = dict(zip(rows.tolist(), told.tolist(), strict=True))
    items = [
        Item.of(
            str(row),
            captions=[f"text {n} of {row}" for n in range(captions.get(row, 0))],
            labels=[] if labels is None else [labels[row]],
        )
        for row in range(count)
    ]
    more = {}
    if texts is not None:
        number = np.arange(len(owner)) - np.searchsorted(owner, owner)
        scores = np.einsum("td,td->t", vectors[owner].astype(np.float64), texts)
        more["texts"] = Texts(texts, owner, number, scores)
    return Columns(items, classes, vectors, rows, Answers(answers or {}), **more)
