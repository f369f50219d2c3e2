"""What datasets say of their labels, as ``labels propose`` weighs it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datumaro_clip.curate.embedder import embed_columns
from datumaro_clip.curate.item import Item
from datumaro_clip.curate.run_model import RunModel
from datumaro_clip.curate.synonyms import LabelledBox, LabelSource, mean_direction
from datumaro_clip.embedding.keys import content_digest
from datumaro_clip.errors import ImageError
from datumaro_clip.host.items import label_names, neutral
from datumaro_clip.host.label_names import instances_of
from datumaro_clip.host.merge import Named
from datumaro_clip.texts import fill_prompt
from datumaro_clip.vectors import FloatArray

# What names are asked for in; their mean is less of a sentence and more of the thing.
_PROMPTS = ("a photo of a {}", "a photo of the {}", "a picture of a {}", "{}")


def label_source(source: Named, model: RunModel | None = None) -> LabelSource:
    """A dataset's labels, its things by picture, and with a model the mean of each label's crops."""
    names = label_names(source.dataset.categories())
    pictures: dict[bytes, list[LabelledBox]] = {}
    items: list[Item] = []
    for item in source.dataset:
        one = neutral(item, names)
        try:
            digest = content_digest(one.request().fetch())
        except ImageError:
            continue
        pictures.setdefault(digest, []).extend(each.box for each in instances_of(item.annotations, names))
        items.append(one)
    return LabelSource(source.name, tuple(names), pictures, {} if model is None else _prototypes(items, names, model))


def _prototypes(items: Sequence[Item], names: Sequence[str], model: RunModel) -> dict[str, FloatArray]:
    columns, _ = embed_columns(items, names, "boxes", model)
    notes = columns.texts.annotation[np.argsort(columns.texts.owner)]
    said = [
        next((str(label.name) for label in items[row].labels if label.annotation == note), "")
        for row, note in zip(columns.rows.tolist(), notes.tolist(), strict=True)
    ]
    return {
        name: mean_direction(columns.vectors[[row for row, told in enumerate(said) if told == name]])
        for name in dict.fromkeys(said)
        if name
    }


def name_vectors(names: Sequence[str], model: RunModel) -> dict[str, FloatArray]:
    """A unit vector for each name: the mean of its prompts."""
    prompts = [fill_prompt(prompt, name) for name in names for prompt in _PROMPTS]
    vectors = model.text_vectors(prompts).reshape(len(names), len(_PROMPTS), -1)
    return {name: mean_direction(rows) for name, rows in zip(names, vectors, strict=True)}
