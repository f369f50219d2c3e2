"""Asking for the vectors of items: from the item, else from the cache, else computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Generic, TypeVar

import numpy as np

from datumaro_clip.curate.columns import NO_TEXTS, Columns, Texts
from datumaro_clip.curate.item import Item, ItemText
from datumaro_clip.curate.run_model import RunModel
from datumaro_clip.curate.summary import progress
from datumaro_clip.curate.vector_options import EmbeddingOptions
from datumaro_clip.embedding import EmbedResult, ImageRequest
from datumaro_clip.errors import ImageError, TextError
from datumaro_clip.store import CaptionVector
from datumaro_clip.texts import fill_prompt, require_texts
from datumaro_clip.vectors import Embedding, FloatArray, ItemKey

# Items whose texts are embedded together: enough to sort by length and fill batches, few enough to hold.
_TEXT_WINDOW = 256
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class ItemEmbedding(Generic[_Item]):
    """An item with what is known of its vectors.

    Attributes
    ----------
    item : Item
        Or what another house calls an item.
    embedding : Embedding or None
        None for an item without a picture, or with one that could not be embedded.
    captions : tuple of CaptionVector
        Vectors of the item's texts, where they were asked for.
    error : ImageError or None
        Why a picture could not be embedded.
    """

    item: _Item
    embedding: Embedding | None
    captions: tuple[CaptionVector, ...] = ()
    error: ImageError | None = None


class Embedder:
    """Items in, items with their vectors out, in order.

    Parameters
    ----------
    options : EmbeddingOptions
    model : RunModel, optional
        The run's model, where it has other work too; else a new one.
    """

    def __init__(self, options: EmbeddingOptions, model: RunModel | None = None) -> None:
        self.options = options
        self.model = model or RunModel(options)

    def run(self, items: Iterable[Item], total: int | None = None) -> Iterator[ItemEmbedding[Item]]:
        """The items in their order, each with its vectors; lazily, a few batches ahead at most.

        Parameters
        ----------
        items : iterable of Item
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
        summary = self.model.summary
        self.model.fix_space(items)
        with progress(total) as bar:
            for found in self._with_texts(self._with_images(items)):
                bar.update()
                summary.count(found.error)
                if found.error is not None and self.options.on_error == "fail":
                    raise found.error
                if found.error is None or self.options.on_error == "keep":
                    yield found
        self.model.flush()
        summary.log()

    def _with_images(self, items: Iterable[Item]) -> Iterator[ItemEmbedding[Item]]:
        """Pass on what needs no model; load one at the first item that does."""
        rest = iter(items)
        for item in rest:
            carried = self.model.kept(item)
            if carried is None and item.picture is not None:
                yield from self._computed(chain([item], rest))
                return
            yield self._known(item, carried)

    def _computed(self, items: Iterable[Item]) -> Iterator[ItemEmbedding[Item]]:
        waiting: deque[tuple[Item, Embedding | None]] = deque()
        for result in self.model.embed(self._requests(items, waiting)):
            yield from self._known_first(waiting)
            yield self._made(waiting.popleft()[0], result)
        yield from self._known_first(waiting)

    def _requests(self, items: Iterable[Item], waiting: deque[tuple[Item, Embedding | None]]) -> Iterator[ImageRequest]:
        for item in items:
            carried = self.model.kept(item)
            waiting.append((item, carried))
            if carried is None and item.picture is not None:
                yield item.request()

    def _known_first(self, waiting: deque[tuple[Item, Embedding | None]]) -> Iterator[ItemEmbedding[Item]]:
        while waiting and (waiting[0][1] is not None or waiting[0][0].picture is None):
            yield self._known(*waiting.popleft())

    def _known(self, item: Item, carried: Embedding | None) -> ItemEmbedding[Item]:
        self.model.summary.sources["kept" if carried else "no picture"] += 1
        return ItemEmbedding(item, carried)

    def _made(self, item: Item, result: EmbedResult) -> ItemEmbedding[Item]:
        self.model.summary.sources[result.source] += 1
        if result.vector is None:
            return ItemEmbedding(item, None, error=_named(result.error, item))
        return ItemEmbedding(item, self.model.embedding_of(result.vector))

    def _with_texts(self, found: Iterator[ItemEmbedding[Item]]) -> Iterator[ItemEmbedding[Item]]:
        if self.options.texts == "none":
            yield from found
        while window := list(islice(found, _TEXT_WINDOW)):
            yield from self._embed_texts(window)

    def _embed_texts(self, window: list[ItemEmbedding[Item]]) -> Iterator[ItemEmbedding[Item]]:
        texts = [found.item.texts(self.options.texts, self.options.prompt) for found in window]
        for found, of_item in zip(window, texts, strict=True):
            _require_texts(of_item, found.item)
        flat = [text.text for of_item in texts for text in of_item if text.vector is None]
        rows = iter(self.model.text_vectors(flat) if flat else ())
        for found, of_item in zip(window, texts, strict=True):
            known = ((text, next(rows) if text.vector is None else text.vector) for text in of_item)
            vectors = tuple(_caption(found.embedding, text, row) for text, row in known)
            yield ItemEmbedding(found.item, found.embedding, vectors, found.error)


def embed_columns(
    items: Sequence[Item], classes: Sequence[str], wanted: str, model: RunModel, protected: frozenset[str] = frozenset()
) -> tuple[Columns, dict[ItemKey, str]]:
    """A dataset in columns, with the vectors that a tool wants.

    Parameters
    ----------
    items : sequence of Item
    classes : sequence of str
        Names of the classes that the dataset knows.
    wanted : str
        ``none``; ``pictures``; pictures and their ``captions``, or their ``labels`` through the prompt; or labelled
        ``boxes``, cut out of the pictures as they are stored, each with its label through the prompt.
    model : RunModel
    protected : frozenset of str

    Returns
    -------
    columns : Columns
        With ``on_error="skip"`` without the items of which nothing could be embedded.
    failed : dict
        Those items, and the reason of each.
    """
    if wanted == "none":
        return Columns(items, classes, *_NO_VECTORS, model, NO_TEXTS, protected), {}
    found = list(_boxes(items, model) if wanted == "boxes" else _pictures(items, wanted, model))
    failed: dict[ItemKey, str] = {}
    if model.options.on_error == "skip":
        able = {id(each.item) for each in found if each.error is None}
        failed = {
            each.item.key: each.error.reason for each in found if each.error is not None and id(each.item) not in able
        }
        items = [item for item in items if item.key not in failed]
    place = {id(item): row for row, item in enumerate(items)}
    have = [(each, each.embedding.vector) for each in found if each.embedding is not None]
    if not have:
        return Columns(items, classes, *_NO_VECTORS, model, NO_TEXTS, protected), failed
    rows = np.array([place[id(each.item)] for each, _ in have], np.int64)
    vectors = np.stack([vector for _, vector in have])
    told = [(owner, text) for owner, (each, _) in enumerate(have) for text in each.captions]
    texts = NO_TEXTS
    if told:
        texts = Texts(
            np.stack([text.vector for _, text in told]).astype(np.float32),
            np.array([owner for owner, _ in told], np.int64),
            np.array([text.annotation_index for _, text in told], np.int64),
            np.array([text.score for _, text in told], np.float64),
        )
    return Columns(items, classes, vectors, rows, model, texts, protected), failed


_NO_VECTORS = (np.empty((0, 0), np.float32), np.empty(0, np.int64))


def _pictures(items: Sequence[Item], wanted: str, model: RunModel) -> Iterator[ItemEmbedding[Item]]:
    """Every item, those that failed too, unless the run is to fail then."""
    texts = "none" if wanted == "pictures" else wanted
    on_error = "fail" if model.options.on_error == "fail" else "keep"
    return Embedder(replace(model.options, texts=texts, on_error=on_error), model).run(items)


def _boxes(items: Sequence[Item], model: RunModel) -> Iterator[ItemEmbedding[Item]]:
    """One entry a labelled box of a picture: the crop's vector, and its label's prompt as its only text."""
    boxes = [
        (item, box) for item in items if item.picture is not None for box in item.boxes if isinstance(box.label, str)
    ]
    if not boxes:
        return
    names = list(dict.fromkeys(str(box.label) for _, box in boxes))
    prompts = model.text_vectors([fill_prompt(model.options.prompt, name) for name in names])
    texts = dict(zip(names, prompts, strict=True))
    results = model.embed(item.request(box.box) for item, box in boxes)
    for (item, box), result in zip(boxes, results, strict=True):
        model.summary.sources[result.source] += 1
        if result.vector is not None:
            crop = model.embedding_of(result.vector)
            yield ItemEmbedding(item, crop, (_caption(crop, ItemText(box.annotation, ""), texts[str(box.label)]),))
            continue
        error = _named(result.error, item)
        model.summary.count(error)
        if model.options.on_error == "fail":
            raise error
        yield ItemEmbedding(item, None, error=error)
    model.flush()
    model.summary.log()


def _require_texts(texts: Sequence[ItemText], item: Item) -> None:
    """Raise TextError, naming the item, unless the tokenizer can take its texts."""
    try:
        require_texts([text.text for text in texts])
    except TextError as exc:
        raise TextError(f"item '{item.key.id}' (subset '{item.key.subset}'): {exc}") from exc


def _caption(image: Embedding | None, text: ItemText, row: FloatArray) -> CaptionVector:
    """A text's vector, scored by its cosine similarity with the item's picture."""
    score = None if image is None else float(image.vector @ row)
    return CaptionVector(text.annotation, row, score)


def _named(error: ImageError | None, item: Item) -> ImageError:
    """A picture's error, with the item that has it in its message."""
    reason, text = (error.reason, str(error)) if error else ("unreadable", "no vector was computed")
    return ImageError(reason, f"item '{item.key.id}' (subset '{item.key.subset}'): {text}")
