"""Vectors of items and of questions, for the transforms that compare them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from datumaro_clip.curate.classify import class_vectors
from datumaro_clip.curate.run_model import RunModel
from datumaro_clip.embedding import ImageRequest, embed_images, embed_texts
from datumaro_clip.host.embedding import ItemEmbedding
from datumaro_clip.images import ImageLike
from datumaro_clip.vectors import FloatArray


def matrix_of(found: Sequence[ItemEmbedding]) -> FloatArray | None:
    """The vectors of the items that have one, (N, D); None where none has."""
    rows = [each.embedding.vector for each in found if each.embedding is not None]
    return np.stack(rows) if rows else None


def query_vector(model: RunModel, text: str) -> FloatArray:
    """The unit vector (D,) of a text."""
    return np.asarray(embed_texts([text], model.encoder, cache=model.cache)[0], np.float32)


def picture_vector(model: RunModel, image: ImageLike | Image.Image) -> FloatArray:
    """The unit vector (D,) of a picture.

    Raises
    ------
    ImageError
        If it cannot be decoded.
    """
    (result,) = embed_images([ImageRequest(image)], model.encoder, cache=model.cache)
    if result.error is not None:
        raise result.error
    return np.asarray(result.vector, np.float32)


def class_matrix(model: RunModel, prompts: list[str], templates: int) -> FloatArray:
    """One unit vector a class, (C, D), from the prompts of each, class by class."""
    embedded = np.asarray(embed_texts(prompts, model.encoder, cache=model.cache), np.float32)
    return class_vectors(embedded, templates)
