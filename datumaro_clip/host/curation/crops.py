"""Boxes cut out of their pictures, each against its label's prompt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from datumaro.components.annotation import Bbox
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.curate.embedder import _named
from datumaro_clip.curate.run_model import RunModel
from datumaro_clip.embedding import EmbedResult, ImageRequest, embed_images, embed_texts
from datumaro_clip.host.embedding import ItemEmbedding
from datumaro_clip.host.images import has_picture, image_request
from datumaro_clip.host.items import label_names, neutral
from datumaro_clip.store import CaptionVector
from datumaro_clip.vectors import Embedding, FloatArray


def embed_boxes(items: list[DatasetItem], model: RunModel, categories: Any) -> list[ItemEmbedding]:
    """One entry for each labelled box: the crop's vector, and its label's prompt as its only text.

    Crops are cut out of the pictures as they are stored, not out of the encoder's input. An item without such a box
    gets one entry with neither.

    Raises
    ------
    ImageError
        With ``on_error="fail"``, for the first box whose picture cannot be embedded.
    """
    names = label_names(categories)
    boxes = [(item, index, box) for item in items for index, box in _labelled(item, len(names))]
    bare = [ItemEmbedding(item, None) for item in items if not any(_labelled(item, len(names)))]
    if not boxes:
        return bare
    texts = _prompt_vectors(model, names)
    requests = (ImageRequest(image_request(item).image, (box.x, box.y, box.w, box.h)) for item, _, box in boxes)
    found = zip(boxes, _embedded(requests, model), strict=True)
    entries = [_entry(item, index, texts[box.label], result, model) for (item, index, box), result in found]
    model.summary.log()
    return [*entries, *bare]


def _labelled(item: DatasetItem, labels: int) -> Iterator[tuple[int, Bbox]]:
    if not has_picture(item):
        return
    for index, annotation in enumerate(item.annotations):
        if isinstance(annotation, Bbox) and annotation.label is not None and 0 <= annotation.label < labels:
            yield index, annotation


def _embedded(requests: Iterator[ImageRequest], model: RunModel) -> Iterator[EmbedResult]:
    """The crops' vectors, computed as the run's options say."""
    options = model.options
    return embed_images(
        requests,
        model.encoder,
        cache=model.cache,
        batch_size=options.batch_size,
        threads=options.threads,
        exact_decode=options.exact_decode,
    )


def _entry(item: DatasetItem, index: int, text: FloatArray, result: EmbedResult, model: RunModel) -> ItemEmbedding:
    model.summary.sources[result.source] += 1
    if result.vector is None:
        error = _named(result.error, neutral(item, []))
        model.summary.count(error)
        if model.options.on_error == "fail":
            raise error
        return ItemEmbedding(item, None, error=error)
    provenance = model.encoder.provenance
    space = provenance.space
    crop = Embedding(result.vector, space.fingerprint, space.model, provenance.precision)
    return ItemEmbedding(item, crop, (CaptionVector(index, text, float(crop.vector @ text)),))


def _prompt_vectors(model: RunModel, names: list[str]) -> FloatArray:
    prompt = model.options.prompt
    texts = [prompt.replace("{}", name.replace("_", " ")) for name in names]
    return np.asarray(embed_texts(texts, model.encoder, cache=model.cache), np.float32)
