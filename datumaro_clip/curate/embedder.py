"""Asking for the vectors of items: from the item, else from the cache, else computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Generic, TypeVar

import numpy as np

from datumaro_clip.curate.columns import NO_TEXTS, Columns, Texts
from datumaro_clip.curate.item import Item, ItemBox, ItemText
from datumaro_clip.curate.objects import Objects
from datumaro_clip.curate.run_model import RunModel
from datumaro_clip.curate.vector_options import EmbeddingOptions
from datumaro_clip.embedding import EmbedResult, PartsRequest, PartsResult
from datumaro_clip.errors import ImageError, TextError
from datumaro_clip.images import Region
from datumaro_clip.store import CaptionVector
from datumaro_clip.system.progress import progress
from datumaro_clip.texts import fill_prompt, require_texts
from datumaro_clip.vectors import Embedding, FloatArray, ItemKey

# Items whose texts are embedded together: enough to fill batches of each length, few enough to hold.
_TEXT_WINDOW = 1024
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
    objects : tuple of ItemBox
        The item's objects with their vectors, where those were asked for; without the ones that could not be embedded.
    detected : tuple of ItemBox or None
        What a detector found in the picture, with vectors where they could be had; None where it did not look at it.
    """

    item: _Item
    embedding: Embedding | None
    captions: tuple[CaptionVector, ...] = ()
    error: ImageError | None = None
    objects: tuple[ItemBox, ...] = ()
    detected: tuple[ItemBox, ...] | None = None


@dataclass(frozen=True, eq=False)
class _Asked:
    """An item on its way: the vector that it carries, the objects to embed, and whether anything was asked for."""

    item: Item
    carried: Embedding | None
    boxes: tuple[ItemBox, ...]
    is_asked: bool


class Embedder:
    """Items in, items with their vectors out, in order.

    Parameters
    ----------
    options : EmbeddingOptions
    model : RunModel, optional
        The run's model, where it has other work too; else a new one.
    objects : Objects, optional
        Whose vectors are wanted beside the pictures'.
    """

    def __init__(
        self, options: EmbeddingOptions, model: RunModel | None = None, objects: Objects | None = None
    ) -> None:
        self.options, self.objects = options, objects
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
                if found.error is not None and self.options.on_error == "fail":
                    raise found.error
                summary.count(found.error)
                if found.error is None or self.options.on_error == "keep":
                    yield found
        self.model.flush()
        summary.log()

    def _with_images(self, items: Iterable[Item]) -> Iterator[ItemEmbedding[Item]]:
        """Pass on what needs no model; load one at the first item that does."""
        rest = iter(items)
        for item in rest:
            carried = self.model.kept(item)
            if item.picture is not None and ((carried is None and self._has_pictures) or self._objects_of(item)):
                yield from self._computed(chain([item], rest))
                return
            yield self._known(item, carried)

    @property
    def _has_pictures(self) -> bool:
        """Whether the pictures' own vectors are wanted."""
        return self.objects is None or self.objects.has_pictures

    def _objects_of(self, item: Item) -> bool:
        """Whether objects of an item are wanted, those included that a detector may find."""
        wanted = self.objects
        return wanted is not None and (wanted.detector is not None or bool(item.boxes))

    def _computed(self, items: Iterable[Item]) -> Iterator[ItemEmbedding[Item]]:
        waiting: deque[_Asked] = deque()
        for result in self.model.embed_parts(self._requests(items, waiting)):
            yield from self._known_first(waiting)
            yield self._made(waiting.popleft(), result)
        yield from self._known_first(waiting)

    def _requests(self, items: Iterable[Item], waiting: deque[_Asked]) -> Iterator[PartsRequest]:
        for item in items:
            carried = self.model.kept(item)
            boxes = () if item.picture is None else tuple(self._large_enough(item))
            request = self._request(item, carried, boxes)
            is_asked = item.picture is not None and bool(request.parts or request.find)
            waiting.append(_Asked(item, carried, boxes, is_asked))
            if is_asked:
                yield request

    def _request(self, item: Item, carried: Embedding | None, boxes: Sequence[ItemBox]) -> PartsRequest:
        """Ask for an item's picture and objects, but for the vectors that it carries."""
        whole: list[Region | None] = [None] if carried is None and self._has_pictures else []
        if self.objects is None:
            return PartsRequest(item.request(), whole)
        kept = [each for box in boxes if (each := self.model.kept_object(item, box)) is not None]
        return PartsRequest(
            item.request(),
            [*whole, *map(self.objects.crop.region, boxes)],
            None if self.objects.detector is None else self.objects.find,
            self.objects.crop.region_of,
            {each.source: each.vector for each in kept},
            item.size,
        )

    def _known_first(self, waiting: deque[_Asked]) -> Iterator[ItemEmbedding[Item]]:
        while waiting and not waiting[0].is_asked:
            asked = waiting.popleft()
            yield self._known(asked.item, asked.carried)

    def _known(self, item: Item, carried: Embedding | None) -> ItemEmbedding[Item]:
        self.model.summary.sources["kept" if carried else "no picture"] += 1
        return ItemEmbedding(item, carried)

    def _made(self, asked: _Asked, found: PartsResult) -> ItemEmbedding[Item]:
        item, results, error = asked.item, deque(found.results), None
        embedding = asked.carried
        if embedding is None and self._has_pictures:
            whole = results.popleft()
            self.model.summary.sources[whole.source] += 1
            embedding = None if whole.vector is None else self.model.embedding_of(whole.vector)
            error = None if embedding is not None else named(whole.error, item)
        elif self._has_pictures:
            self.model.summary.sources["kept"] += 1
        objects = [self._object(item, box, results.popleft(), error) for box in asked.boxes]
        detected = None
        if self.objects is not None and found.found is not None:
            boxes = self.objects.boxes_of(found.found)
            detected = tuple(self._object(item, box, results.popleft(), error) for box in boxes)
        able = tuple(box for box in objects if box.embedding is not None)
        return ItemEmbedding(item, embedding, error=error, objects=able, detected=detected)

    def _object(self, item: Item, box: ItemBox, result: EmbedResult, of_picture: ImageError | None) -> ItemBox:
        """An object with its vector; without one, and counted, where there is none."""
        if result.vector is not None:
            self.model.summary.objects[result.source] += 1
            if result.source == "kept":
                return box
            return box._replace(carried=self.model.object_embedding_of(result, box))
        reason = result.error.reason if result.error else "unreadable"
        if reason == "too_small":
            self.model.summary.objects[reason] += 1
        else:
            error = named(result.error, item, box)
            if self.options.on_error == "fail":
                raise error
            self.model.summary.count_object(error, is_named=of_picture is None)
        return box._replace(carried=None)

    def _large_enough(self, item: Item) -> list[ItemBox]:
        """The objects of an item that shall get a vector; those that are too small are counted."""
        if self.objects is None:
            return []
        boxes = self.objects.among(item.boxes)
        large = [box for box in boxes if self.objects.crop.region(box) is not None]
        self.model.summary.objects["too_small"] += len(boxes) - len(large)
        return large

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
            yield replace(found, captions=vectors)


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
    by_item = [(item, [box for _, box in group]) for item, group in groupby(boxes, key=itemgetter(0))]
    asked = (
        PartsRequest(item.request(), [Region(box.box, box.angle) for box in own], size=item.size)
        for item, own in by_item
    )
    results = chain.from_iterable(found.results for found in model.embed_parts(asked))
    for (item, box), result in zip(boxes, results, strict=True):
        model.summary.sources[result.source] += 1
        if result.vector is not None:
            crop = model.embedding_of(result.vector)
            yield ItemEmbedding(item, crop, (_caption(crop, ItemText(box.annotation, ""), texts[str(box.label)]),))
            continue
        error = named(result.error, item)
        if model.options.on_error == "fail":
            raise error
        model.summary.count(error)
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


def named(error: ImageError | None, item: Item, box: ItemBox | None = None) -> ImageError:
    """A picture's error, or an object's, with the item that has it in its message."""
    reason, text = (error.reason, str(error)) if error else ("unreadable", "no vector was computed")
    which = "" if box is None or box.annotation < 0 else f", annotation {box.annotation}"
    return ImageError(reason, f"item '{item.key.id}' (subset '{item.key.subset}'){which}: {text}")
