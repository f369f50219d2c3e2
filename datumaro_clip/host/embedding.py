"""Asking for the vectors of items: from the item, else from the cache, else computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.embedding import EmbedResult, ImageRequest, embed_images, embed_texts
from datumaro_clip.errors import ImageError, TextError
from datumaro_clip.host.images import has_picture, image_request
from datumaro_clip.host.options import EmbeddingOptions
from datumaro_clip.host.run_model import RunModel
from datumaro_clip.host.summary import progress
from datumaro_clip.host.texts import ItemText, item_texts
from datumaro_clip.store import CaptionVector
from datumaro_clip.texts import require_texts
from datumaro_clip.vectors import Embedding, FloatArray

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
    """Items in, items with their vectors out, in order.

    Parameters
    ----------
    options : EmbeddingOptions
    categories : mapping
        The dataset's categories.
    model : RunModel, optional
        The run's model, where it has other work too; else a new one.
    """

    def __init__(self, options: EmbeddingOptions, categories: Mapping[Any, Any], model: RunModel | None = None) -> None:
        self.options = options
        self.model = model or RunModel(options)
        self._categories = categories

    def run(self, items: Iterable[DatasetItem], total: int | None = None) -> Iterator[ItemEmbedding]:
        """Embed the items; log the summary at the end."""
        summary = self.model.summary
        self.model.fix_space(items)
        with progress(total) as bar:
            for found in self._with_texts(self._with_images(items)):
                bar.update()
                summary.count(found.error)
                if self._keeps(found):
                    yield found
        self.model.flush()
        summary.log()

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
            carried = self.model.kept(item)
            if carried is None and has_picture(item):
                yield from self._computed(chain([item], rest))
                return
            yield self._known(item, carried)

    def _computed(self, items: Iterable[DatasetItem]) -> Iterator[ItemEmbedding]:
        waiting: deque[tuple[DatasetItem, Embedding | None]] = deque()
        results = embed_images(
            self._requests(items, waiting),
            self.model.encoder,
            cache=self.model.cache,
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
            carried = self.model.kept(item)
            waiting.append((item, carried))
            if carried is None and has_picture(item):
                yield image_request(item)

    def _known_first(self, waiting: deque[tuple[DatasetItem, Embedding | None]]) -> Iterator[ItemEmbedding]:
        while waiting and (waiting[0][1] is not None or not has_picture(waiting[0][0])):
            yield self._known(*waiting.popleft())

    def _known(self, item: DatasetItem, carried: Embedding | None) -> ItemEmbedding:
        self.model.summary.sources["kept" if carried else "no picture"] += 1
        return ItemEmbedding(item, carried)

    def _made(self, item: DatasetItem, result: EmbedResult) -> ItemEmbedding:
        self.model.summary.sources[result.source] += 1
        if result.vector is None:
            return ItemEmbedding(item, None, error=named(result.error, item))
        provenance = self.model.encoder.provenance
        space = provenance.space
        vector = Embedding(result.vector, space.fingerprint, space.model, provenance.precision)
        return ItemEmbedding(item, vector)

    def _with_texts(self, found: Iterator[ItemEmbedding]) -> Iterator[ItemEmbedding]:
        if self.options.texts == "none":
            yield from found
        while window := list(islice(found, _TEXT_WINDOW)):
            yield from self._embed_texts(window)

    def _embed_texts(self, window: list[ItemEmbedding]) -> Iterator[ItemEmbedding]:
        texts = [item_texts(found.item, self._categories, self.options) for found in window]
        for found, of_item in zip(window, texts, strict=True):
            _require_texts(of_item, found.item)
        flat = [text.text for of_item in texts for text in of_item]
        rows = iter(self._text_vectors(flat) if flat else ())
        for found, of_item in zip(window, texts, strict=True):
            vectors = tuple(_caption(found.embedding, text, next(rows)) for text in of_item)
            yield ItemEmbedding(found.item, found.embedding, vectors, found.error)

    def _text_vectors(self, texts: list[str]) -> FloatArray:
        return embed_texts(texts, self.model.encoder, cache=self.model.cache, on_cut=self.model.summary.count_cut)


def _require_texts(texts: Sequence[ItemText], item: DatasetItem) -> None:
    """Raise TextError, naming the item, unless the tokenizer can take its texts."""
    try:
        require_texts([text.text for text in texts])
    except TextError as exc:
        raise TextError(f"item '{item.id}' (subset '{item.subset}'): {exc}") from exc


def _caption(image: Embedding | None, text: ItemText, row: Any) -> CaptionVector:
    """A text's vector, scored by its cosine similarity with the item's picture."""
    score = None if image is None else float(image.vector @ row)
    return CaptionVector(text.annotation_index, row, score)


def named(error: ImageError | None, item: DatasetItem) -> ImageError:
    """A picture's error, with the item that has it in its message."""
    reason, text = (error.reason, str(error)) if error else ("unreadable", "no vector was computed")
    return ImageError(reason, f"item '{item.id}' (subset '{item.subset}'): {text}")
