"""The vectors of Datumaro's items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.curate import embedder
from datumaro_clip.curate.objects import Objects
from datumaro_clip.curate.run_model import RunModel
from datumaro_clip.curate.vector_options import EmbeddingOptions
from datumaro_clip.host.items import label_names, neutral, with_labels
from datumaro_clip.host.objects import class_numbers, with_objects
from datumaro_clip.objects.detector import same_name
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE, Embedding

#: An item of Datumaro's with what is known of its vectors.
ItemEmbedding = embedder.ItemEmbedding[DatasetItem]


def attach(item: DatasetItem, embedding: Embedding) -> DatasetItem:
    """Return a copy of an item that carries a vector in its attribute ``clip_embedding``."""
    return item.wrap(attributes={**item.attributes, EMBEDDING_ATTRIBUTE: embedding})


class Embedder:
    """Items in, items with their vectors out, in order; see :class:`datumaro_clip.curate.embedder.Embedder`.

    Parameters
    ----------
    options : EmbeddingOptions
    categories : mapping
        The dataset's categories; the texts of labels are their names.
    model : RunModel, optional
        The run's model, where it has other work too; else a new one.
    objects : Objects, optional
        The objects to embed beside the pictures; the items then carry their vectors, and the boxes that were found.
    """

    def __init__(
        self,
        options: EmbeddingOptions,
        categories: Mapping[Any, Any],
        model: RunModel | None = None,
        objects: Objects | None = None,
    ) -> None:
        self.model = model or RunModel(options)
        self._embedder = embedder.Embedder(options, self.model, objects)
        self._classes = label_names(categories)
        detector = None if objects is None else objects.detector
        self._detector = "" if detector is None else detector.fingerprint
        self._numbers = {} if detector is None else class_numbers(self._classes, detector.labels)

    def run(self, items: Iterable[DatasetItem], total: int | None = None) -> Iterator[ItemEmbedding]:
        """Embed the items, lazily; log the summary at the end."""
        neutral_items = (neutral(item, self._classes) for item in items)
        listed = list(neutral_items) if isinstance(items, Sequence) else neutral_items
        for found in self._embedder.run(listed, total):
            item = found.item.origin
            if self._embedder.objects is not None:
                item = with_objects(item, found.objects, found.detected, self._detector, self._numbers)
            yield replace(found, item=item)


def with_detected_labels(categories: Any, objects: Objects | None) -> Any:
    """Return a dataset's categories, with the labels added that the detector may give and that name no class yet."""
    if objects is None or objects.detector is None:
        return categories
    labels = objects.detector.labels
    wanted = objects.detector.indices_of(objects.detection.classes) or range(len(labels))
    known = {same_name(name) for name in label_names(categories)}
    return with_labels(categories, [labels[index] for index in wanted if same_name(labels[index]) not in known])
