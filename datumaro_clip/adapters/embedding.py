"""Asking for the vectors of items: from the item, else from the cache, else computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.adapters.images import has_picture, image_request
from datumaro_clip.adapters.options import EmbeddingOptions
from datumaro_clip.adapters.summary import EmbeddingSummary, progress
from datumaro_clip.adapters.texts import ItemText, item_texts
from datumaro_clip.cache import VectorCache
from datumaro_clip.encoders.base import Encoder
from datumaro_clip.errors import ImageError, SpaceMismatchError
from datumaro_clip.models import load_model
from datumaro_clip.pipeline import EmbedResult, ImageRequest, embed_images, embed_texts
from datumaro_clip.store import CaptionVector
from datumaro_clip.vectors import Embedding, FloatArray, VectorSpace

ATTRIBUTE = "clip_embedding"

# Items whose texts are embedded together: enough to sort by length and fill batches, few enough to hold.
_TEXT_WINDOW = 256


@dataclass(frozen=True)
class ItemEmbedding:
    """An item with what is known of its vectors.

    Attributes
    ----------
    item : DatasetItem
    embedding : Embedding or None
        None for an item without a picture, or with one that could not be embedded.
    captions : tuple of CaptionVector
        Vectors of the item's texts, where they were asked for.
    error : ImageError or None
        Why a picture could not be embedded.
    """

    item: DatasetItem
    embedding: Embedding | None
    captions: tuple[CaptionVector, ...] = ()
    error: ImageError | None = None


def attach(item: DatasetItem, embedding: Embedding) -> DatasetItem:
    """A copy of an item that carries a vector in its attribute ``clip_embedding``."""
    return item.wrap(attributes={**item.attributes, ATTRIBUTE: embedding})


def with_embeddings(
    items: Iterable[DatasetItem],
    options: EmbeddingOptions,
    categories: Mapping[Any, Any] | None = None,
    *,
    total: int | None = None,
) -> Iterator[ItemEmbedding]:
    """The items in their order, each with its vectors; lazily, a few batches ahead at most.

    Parameters
    ----------
    items : iterable of DatasetItem
    options : EmbeddingOptions
    categories : mapping, optional
        The dataset's categories; needed for the texts of labels.
    total : int, optional
        Number of items, for the progress bar.

    Raises
    ------
    SpaceMismatchError
        If an item carries a vector of another space than the model's, or than the items before it.
    ImageError
        With ``on_error="fail"``, for the first picture that cannot be embedded.
    ModelError
        If the model or the device cannot be had.
    """
    return Embedder(options, categories or {}).run(items, total)


class Embedder:
    """One run over a dataset: one vector space, one summary.

    Attributes
    ----------
    summary : EmbeddingSummary
        What has happened so far.
    """

    def __init__(self, options: EmbeddingOptions, categories: Mapping[Any, Any]) -> None:
        self.options = options
        self.summary = EmbeddingSummary()
        self._categories = categories
        self._space: VectorSpace | None = None
        self._encoder: Encoder | None = None
        self._cache: VectorCache | None = None

    @property
    def encoder(self) -> Encoder:
        """The model, found on first use."""
        if self._encoder is None:
            self._encoder = self._load()
        return self._encoder

    @property
    def device(self) -> str:
        """Where this run computes; ``unknown`` as long as nothing needed a model."""
        return "unknown" if self._encoder is None else self._encoder.provenance.device

    def _load(self) -> Encoder:
        options = self.options
        encoder = load_model(
            options.model or self._model_of_items(),
            device=options.device,
            precision=options.precision,
            local_files_only=options.local_files_only,
            self_check=options.self_check,
            streams=options.streams,
        )
        self._require_space(encoder.space, "the model computes vectors of")
        self.summary.computed_by(encoder)
        return encoder

    def _model_of_items(self) -> str | None:
        """The space that the items' own vectors are of, by which their model is found; None where they have none."""
        space = self._space
        return space.fingerprint if space is not None and space.fingerprint.startswith("sha256:") else None

    def run(self, items: Iterable[DatasetItem], total: int | None = None) -> Iterator[ItemEmbedding]:
        """Embed the items; log the summary at the end."""
        if self.options.model is not None:
            self._space = self.encoder.space
        elif isinstance(items, Sequence):
            self._space = self._space or _space_among(items)
        with progress(total) as bar:
            for found in self._with_texts(self._with_images(items)):
                bar.update()
                self.summary.count(found.error)
                if self._keeps(found):
                    yield found
        if self._cache is not None:
            self._cache.flush()
        self.summary.log()

    @property
    def cache(self) -> VectorCache | None:
        """The vector cache, opened on first use; None where it is off."""
        if self._cache is None and self.options.cache != "off":
            self._cache = VectorCache(self.options.cache)
        return self._cache

    def _keeps(self, found: ItemEmbedding) -> bool:
        if found.error is None or self.options.on_error == "keep":
            return True
        if self.options.on_error == "fail":
            raise found.error
        return False

    def _with_images(self, items: Iterable[DatasetItem]) -> Iterator[ItemEmbedding]:
        """Pass on what needs no model; load one at the first item that does."""
        rest = iter(items)
        for item in rest:
            carried = self._carried(item)
            if carried is None and has_picture(item):
                yield from self._computed(chain([item], rest))
                return
            yield self._known(item, carried)

    def _computed(self, items: Iterable[DatasetItem]) -> Iterator[ItemEmbedding]:
        waiting: deque[tuple[DatasetItem, Embedding | None]] = deque()
        results = embed_images(
            self._requests(items, waiting),
            self.encoder,
            cache=self.cache,
            batch_size=self.options.batch_size,
            threads=self.options.threads,
            exact_decode=self.options.exact_decode,
        )
        for result in results:
            yield from self._known_first(waiting)
            yield self._made(waiting.popleft()[0], result)
        yield from self._known_first(waiting)

    def _requests(
        self, items: Iterable[DatasetItem], waiting: deque[tuple[DatasetItem, Embedding | None]]
    ) -> Iterator[ImageRequest]:
        for item in items:
            carried = self._carried(item)
            waiting.append((item, carried))
            if carried is None and has_picture(item):
                yield image_request(item)

    def _known_first(self, waiting: deque[tuple[DatasetItem, Embedding | None]]) -> Iterator[ItemEmbedding]:
        while waiting and (waiting[0][1] is not None or not has_picture(waiting[0][0])):
            yield self._known(*waiting.popleft())

    def _known(self, item: DatasetItem, carried: Embedding | None) -> ItemEmbedding:
        self.summary.sources["kept" if carried else "no picture"] += 1
        return ItemEmbedding(item, carried)

    def _made(self, item: DatasetItem, result: EmbedResult) -> ItemEmbedding:
        self.summary.sources[result.source] += 1
        if result.vector is None:
            return ItemEmbedding(item, None, error=_named(result.error, item))
        provenance = self.encoder.provenance
        space = provenance.space
        vector = Embedding(result.vector, space.fingerprint, space.model, provenance.precision)
        return ItemEmbedding(item, vector)

    def _carried(self, item: DatasetItem) -> Embedding | None:
        """The vector that an item brings, if it is of this run's space."""
        value = item.attributes.get(ATTRIBUTE)
        if value is None:
            return None
        embedding = Embedding.from_attribute(value)
        if self.options.overwrite and self._space not in (None, embedding.vector_space):
            return None
        self._require_space(embedding.vector_space, f"item '{item.id}' (subset '{item.subset}') carries a vector of")
        return embedding

    def _require_space(self, space: VectorSpace, who: str) -> None:
        if self._space is None:
            self._space = space
        if self._space != space:
            raise SpaceMismatchError(
                f"{who} {space}, but this run is in {self._space}. "
                "Name one model with --model, and compute the others again with --overwrite"
            )

    def _with_texts(self, found: Iterator[ItemEmbedding]) -> Iterator[ItemEmbedding]:
        if self.options.texts == "none":
            yield from found
        while window := list(islice(found, _TEXT_WINDOW)):
            yield from self._embed_texts(window)

    def _embed_texts(self, window: list[ItemEmbedding]) -> Iterator[ItemEmbedding]:
        texts = [item_texts(found.item, self._categories, self.options) for found in window]
        flat = [text.text for of_item in texts for text in of_item]
        rows = iter(self._text_vectors(flat) if flat else ())
        for found, of_item in zip(window, texts, strict=True):
            vectors = tuple(_caption(found.embedding, text, next(rows)) for text in of_item)
            yield ItemEmbedding(found.item, found.embedding, vectors, found.error)

    def _text_vectors(self, texts: list[str]) -> FloatArray:
        return embed_texts(texts, self.encoder, cache=self.cache, on_cut=self.summary.count_cut)


def _space_among(items: Sequence[DatasetItem]) -> VectorSpace | None:
    """The space of the first vector that an item brings, so that the items before it get theirs from the same model."""
    values = (item.attributes.get(ATTRIBUTE) for item in items)
    first = next((value for value in values if value is not None), None)
    return None if first is None else Embedding.from_attribute(first).vector_space


def _caption(image: Embedding | None, text: ItemText, row: Any) -> CaptionVector:
    """A text's vector, scored by its cosine similarity with the item's picture."""
    score = None if image is None else float(image.vector @ row)
    return CaptionVector(text.annotation_index, row, score)


def _named(error: ImageError | None, item: DatasetItem) -> ImageError:
    reason, text = (error.reason, str(error)) if error else ("unreadable", "no vector was computed")
    return ImageError(reason, f"item '{item.id}' (subset '{item.subset}'): {text}")
