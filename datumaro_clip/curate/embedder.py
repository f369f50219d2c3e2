"""Find the vectors of items: those that they carry, else from the cache, else computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Generic, TypeVar

import numpy as np

from datumaro_clip.curate.columns import NO_TEXTS, Columns, Texts
from datumaro_clip.curate.item import Item, ItemBox
from datumaro_clip.curate.objects import Objects
from datumaro_clip.curate.run_model import RunModel
from datumaro_clip.curate.vector_options import EmbeddingOptions
from datumaro_clip.embedding import EmbedResult, PartsRequest, PartsResult
from datumaro_clip.errors import ImageError, TextError
from datumaro_clip.images import Region
from datumaro_clip.store import CaptionVector
from datumaro_clip.system.terminal import progress
from datumaro_clip.texts import fill_prompt, require_texts
from datumaro_clip.vectors import Embedding, FloatArray, ItemKey

# Items whose texts are embedded together: enough to fill batches of each length, few enough to hold.
_TEXT_WINDOW = 1024
_Item = TypeVar("_Item")
_Asker = TypeVar("_Asker")
_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class ItemEmbedding(Generic[_Item]):
    """An item with its vectors.

    Attributes
    ----------
    item : Item
        Or what an adapter makes of it, such as Datumaro's item.
    embedding : Embedding or None
        None for an item without a picture, or with one that could not be embedded.
    captions : tuple of CaptionVector
        Vectors of the item's texts, where they are wanted.
    error : ImageError or None
        Why a picture could not be embedded.
    objects : tuple of ItemBox
        The item's objects that have vectors, where they are wanted.
    detected : tuple of ItemBox or None
        The detected objects, with vectors where they could be computed; None where no detector looked at the picture.
    """

    item: _Item
    embedding: Embedding | None
    captions: tuple[CaptionVector, ...] = ()
    error: ImageError | None = None
    objects: tuple[ItemBox, ...] = ()
    detected: tuple[ItemBox, ...] | None = None


def answered(
    asked: Iterable[tuple[_Asker, _Request | None]], run: Callable[[Iterator[_Request]], Iterator[_Answer]]
) -> Iterator[tuple[_Asker, _Answer | None]]:
    """Pair whoever asks with the answer to its request, in order; with None where it has no request.

    Parameters
    ----------
    asked : iterable of (asker, request)
        Taken a few ahead, as ``run`` takes requests.
    run : callable
        Gives an answer to each request, in order, lazily; not called before there is a request.
    """
    rest = iter(asked)
    waiting: deque[tuple[_Asker, bool]] = deque()

    def requests(first: _Request) -> Iterator[_Request]:
        yield first
        for asker, request in rest:
            waiting.append((asker, request is not None))
            if request is not None:
                yield request

    for asker, request in rest:
        if request is None:
            yield asker, None
            continue
        waiting.append((asker, True))
        for answer in run(requests(request)):
            while not waiting[0][1]:
                yield waiting.popleft()[0], None
            yield waiting.popleft()[0], answer
    yield from ((asker, None) for asker, _ in waiting)


class Embedder:
    """Adds vectors to items, in order.

    Parameters
    ----------
    options : EmbeddingOptions
    model : RunModel, optional
        The run's model, if it is used elsewhere too; else a new one.
    objects : Objects, optional
        The objects to embed too.
    """

    def __init__(
        self, options: EmbeddingOptions, model: RunModel | None = None, objects: Objects | None = None
    ) -> None:
        self.options, self.objects = options, objects
        self.model = model or RunModel(options)

    def run(self, items: Iterable[Item], total: int | None = None) -> Iterator[ItemEmbedding[Item]]:
        """Yield the items in order, each with its vectors; lazily, a few batches ahead at most.

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

    @property
    def _has_pictures(self) -> bool:
        """Whether the pictures' own vectors are wanted."""
        return self.objects is None or self.objects.has_pictures

    def _with_images(self, items: Iterable[Item]) -> Iterator[ItemEmbedding[Item]]:
        """Embed pictures and objects; a model is loaded at the first item that needs one."""
        for (item, carried, boxes), found in answered(map(self._asked, items), self.model.embed_parts):
            if found is None:
                self.model.summary.sources["kept" if carried else "no picture"] += 1
                yield ItemEmbedding(item, carried)
            else:
                yield self._made(item, carried, boxes, found)

    def _asked(self, item: Item) -> tuple[tuple[Item, Embedding | None, list[ItemBox]], PartsRequest | None]:
        """Return the item, its carried vector and its large objects; and a request, if there is anything to embed."""
        carried, wanted = self.model.kept(item), self.objects
        if item.picture is None:
            return (item, carried, []), None
        parts: list[Region | None] = [None] if carried is None and self._has_pictures else []
        if wanted is None:
            return (item, carried, []), PartsRequest(item.request(), parts) if parts else None
        among = wanted.among(item.boxes)
        shown = [(box, region) for box in among if (region := wanted.crop.region(box)) is not None]
        boxes = [box for box, _ in shown]
        self.model.summary.objects["too_small"] += len(among) - len(boxes)
        kept = [each for box in boxes if (each := self.model.kept_object(item, box)) is not None]
        request = PartsRequest(
            item.request(),
            [*parts, *(region for _, region in shown)],
            None if wanted.detector is None else wanted.find,
            wanted.crop.region_of,
            {each.source: each.vector for each in kept},
            item.size,
        )
        return (item, carried, boxes), request if request.parts or request.find else None

    def _made(
        self, item: Item, carried: Embedding | None, boxes: Sequence[ItemBox], found: PartsResult
    ) -> ItemEmbedding[Item]:
        results, embedding, error = deque(found.results), carried, None
        if self._has_pictures:
            source = "kept"
            if carried is None:
                whole = results.popleft()
                source = whole.source
                embedding = None if whole.vector is None else self.model.embedding_of(whole.vector)
                error = None if embedding is not None else named(whole.error, item)
            self.model.summary.sources[source] += 1
        objects = [self._object(item, box, results.popleft(), error) for box in boxes]
        detected = None
        if self.objects is not None and found.found is not None:
            places = self.objects.boxes_of(found.found)
            detected = tuple(self._object(item, box, results.popleft(), error) for box in places)
        able = tuple(box for box in objects if box.embedding is not None)
        return ItemEmbedding(item, embedding, error=error, objects=able, detected=detected)

    def _object(self, item: Item, box: ItemBox, result: EmbedResult, of_picture: ImageError | None) -> ItemBox:
        """Add the vector to an object; without one, count why."""
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

    def _with_texts(self, found: Iterator[ItemEmbedding[Item]]) -> Iterator[ItemEmbedding[Item]]:
        """Add the vectors of the items' texts, and each one's cosine similarity with the item's picture."""
        if self.options.texts == "none":
            yield from found
        while window := list(islice(found, _TEXT_WINDOW)):
            texts = [each.item.texts(self.options.texts, self.options.prompt) for each in window]
            for each, of_item in zip(window, texts, strict=True):
                try:
                    require_texts([text.text for text in of_item])
                except TextError as exc:
                    key = each.item.key
                    raise TextError(f"item '{key.id}' (subset '{key.subset}'): {exc}") from exc
            flat = [text.text for of_item in texts for text in of_item if text.vector is None]
            rows = iter(self.model.text_vectors(flat) if flat else ())
            for each, of_item in zip(window, texts, strict=True):
                known = ((text.annotation, next(rows) if text.vector is None else text.vector) for text in of_item)
                yield replace(each, captions=tuple(_scored(each.embedding, *text) for text in known))


def embed_columns(
    items: Sequence[Item], classes: Sequence[str], wanted: str, model: RunModel, protected: frozenset[str] = frozenset()
) -> tuple[Columns, dict[ItemKey, str]]:
    """Make the columns of a dataset, with the vectors that a tool wants.

    Parameters
    ----------
    items : sequence of Item
    classes : sequence of str
        Names of the dataset's classes.
    wanted : str
        ``none``; ``pictures``; pictures and their ``captions``, or their ``labels`` through the prompt; or labelled
        ``boxes``, cut out of the pictures as they are stored, each with its label through the prompt.
    model : RunModel
    protected : frozenset of str

    Returns
    -------
    columns : Columns
        With ``on_error="skip"``, without the items of which nothing could be embedded.
    failed : dict
        The reason of each of those items.
    """
    bare = Columns(items, classes, np.empty((0, 0), np.float32), np.empty(0, np.int64), model, protected=protected)
    if wanted == "none":
        return bare, {}
    found = list(_boxes(items, model) if wanted == "boxes" else embed_all(items, model, texts=wanted))
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
        return replace(bare, items=items), failed
    rows = np.array([place[id(each.item)] for each, _ in have], np.int64)
    owned_texts = [(owner, text) for owner, (each, _) in enumerate(have) for text in each.captions]
    texts = NO_TEXTS
    if owned_texts:
        texts = Texts(
            np.stack([text.vector for _, text in owned_texts]),
            np.array([owner for owner, _ in owned_texts], np.int64),
            np.array([text.annotation_index for _, text in owned_texts], np.int64),
            np.array([text.score for _, text in owned_texts], np.float64),
        )
    return replace(bare, items=items, vectors=np.stack([row for _, row in have]), rows=rows, texts=texts), failed


def embed_all(
    items: Sequence[Item], model: RunModel, *, texts: str = "none", objects: Objects | None = None
) -> Iterator[ItemEmbedding[Item]]:
    """Embed items; yield failed ones, too, unless ``on_error`` is ``fail``; ``texts`` as in :func:`embed_columns`."""
    on_error = "fail" if model.options.on_error == "fail" else "keep"
    options = replace(model.options, texts="none" if texts == "pictures" else texts, on_error=on_error)
    return Embedder(options, model, objects).run(items)


def _boxes(items: Sequence[Item], model: RunModel) -> Iterator[ItemEmbedding[Item]]:
    """Embed each labelled box: the crop as the picture, and its label's prompt as the only text."""
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
            yield ItemEmbedding(item, crop, (_scored(crop, box.annotation, texts[str(box.label)]),))
            continue
        error = named(result.error, item)
        if model.options.on_error == "fail":
            raise error
        model.summary.count(error)
        yield ItemEmbedding(item, None, error=error)
    model.flush()
    model.summary.log()


def _scored(image: Embedding | None, annotation: int, vector: FloatArray) -> CaptionVector:
    """Add to a text's vector its cosine similarity with the picture."""
    return CaptionVector(annotation, vector, None if image is None else float(image.vector @ vector))


def named(error: ImageError | None, item: Item, box: ItemBox | None = None) -> ImageError:
    """Name the item in the message of a picture's error, or of an object's."""
    reason, text = (error.reason, str(error)) if error else ("unreadable", "no vector was computed")
    which = "" if box is None or box.annotation < 0 else f", annotation {box.annotation}"
    return ImageError(reason, f"item '{item.key.id}' (subset '{item.key.subset}'){which}: {text}")
