"""A dataset's item, independent of its source: what curation, search and reports work on."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from datumaro_clip.embedding import ImageRequest
from datumaro_clip.errors import ImageError, InvalidVectorError
from datumaro_clip.images import Box, ImageLike
from datumaro_clip.images.regions import Mask
from datumaro_clip.texts import fill_prompt
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE, Embedding, FloatArray, ItemKey, ObjectEmbedding


class ItemCaption(NamedTuple):
    """A caption, or a class in a prompt; the index of its annotation; its unit vector (D,) where that is known."""

    text: str
    annotation: int
    vector: FloatArray | None = None


class ItemLabel(NamedTuple):
    """A class that an annotation names.

    Attributes
    ----------
    name : str or int
        The class's name; or its number, where the dataset has no such class.
    annotation : int
        Index of the annotation.
    is_of_picture : bool
        Whether it labels the whole picture; False for the label of a box, a mask or another shape.
    """

    name: str | int
    annotation: int
    is_of_picture: bool = True


class ItemBox(NamedTuple):
    """An object in the picture: its bounding box, outline or mask, and its label.

    Attributes
    ----------
    box : tuple of float
        ``(x, y, width, height)`` in pixels, from the upper left corner; of a rotated box, before its rotation.
    label : str, int or None
        As :attr:`ItemLabel.name`; None where the box has no label.
    confidence : float or None
        From 0 to 1, where a detector gave one.
    annotation : int
        Index of the annotation.
    angle : float
        Degrees by which the box is rotated about its centre, clockwise as the picture is seen.
    outline : tuple of tuple of float
        The object's polygons (x1, y1, x2, y2, …) in pixels, if any.
    mask : callable, optional
        Returns the object's mask (H, W), if it has one.
    carried : object
        The vector in the annotation's attribute, unchecked; see :attr:`embedding`.
    corners : tuple of float or None
        ``(x1, y1, x2, y2)`` of the upright box around it in the annotation; None for those of ``box``.
    found_by : str
        Fingerprint of the detector that made the box, if the box was not changed since; else empty.
    detector : object
        The annotation's attribute about its detector, unchecked.
    """

    box: Box
    label: str | int | None
    confidence: float | None
    annotation: int
    angle: float = 0.0
    outline: tuple[tuple[float, ...], ...] = ()
    mask: Callable[[], Mask] | None = None
    carried: Any = None
    corners: tuple[float, float, float, float] | None = None
    found_by: str = ""
    detector: Any = None

    @property
    def embedding(self) -> ObjectEmbedding | None:
        """The vector that the annotation carries, None where it has none.

        A text counts as none: formats that write all attributes as text, such as ``voc``, make one of a vector.

        Raises
        ------
        InvalidVectorError
            If the attribute is something else.
        """
        return carried_object(self.carried, self.annotation)

    @property
    def bbox(self) -> tuple[float, float, float, float]:
        """``(x1, y1, x2, y2)`` of the upright box around the object, in pixels."""
        x, y, w, h = self.box
        return self.corners or (x, y, x + w, y + h)


@dataclass(frozen=True, eq=False)
class Item:
    """An item of a dataset.

    Attributes
    ----------
    key : ItemKey
        Id and subset.
    picture : ImageRequest, callable or None
        A request for the picture, or a function that makes one when the picture is needed; None for an item without a
        picture.
    labels : tuple of ItemLabel
        Labels of the picture and of its boxes and shapes, in the order of the annotations.
    captions : tuple of ItemCaption
    boxes : tuple of ItemBox
    attributes : mapping
        The dataset's attributes; a vector that the item carries is ``clip_embedding``.
    media : str
        Path or URL of the picture; empty where it has none.
    annotation_count : int
        How many annotations the item has, of all kinds.
    size : tuple of int or None
        (width, height) of the picture in pixels, as in the dataset; boxes are within it. None where it is unknown.
    origin : object
        The object that the item was made from, for its maker.
    """

    key: ItemKey
    picture: ImageRequest | Callable[[], ImageRequest] | None = None
    labels: tuple[ItemLabel, ...] = ()
    captions: tuple[ItemCaption, ...] = ()
    boxes: tuple[ItemBox, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    media: str = ""
    annotation_count: int = 0
    size: tuple[int, int] | None = None
    origin: Any = None

    @classmethod
    def of(
        cls,
        id: str,
        picture: ImageLike | None = None,
        *,
        subset: str = "default",
        captions: Sequence[str] = (),
        labels: Sequence[str] = (),
        boxes: Sequence[tuple[Box, str]] = (),
        embedding: Embedding | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Item:
        """Make an item from plain values.

        Parameters
        ----------
        id : str
        picture : path, bytes, array or None
            What :func:`datumaro_clip.images.decode` takes; an array is RGB.
        subset : str
        captions, labels : sequence of str
            Of the picture.
        boxes : sequence of (box, label)
            Each box ``(x, y, width, height)`` in pixels.
        embedding : Embedding, optional
            The picture's vector, where it is known.
        attributes : mapping, optional

        Examples
        --------
        >>> Item.of("a dog", captions=["a dog on a beach"], labels=["dog"]).label
        'dog'
        """
        first_label, first_box = len(captions), len(captions) + len(labels)
        named = [ItemLabel(name, first_label + n) for n, name in enumerate(labels)]
        boxed = [ItemBox(box, name, None, first_box + n) for n, (box, name) in enumerate(boxes)]
        own = {} if embedding is None else {EMBEDDING_ATTRIBUTE: embedding}
        return cls(
            ItemKey(id, subset),
            None if picture is None else ImageRequest(picture),
            (*named, *(ItemLabel(each.label, each.annotation, False) for each in boxed if each.label is not None)),
            tuple(ItemCaption(text, n) for n, text in enumerate(captions)),
            tuple(boxed),
            {**(attributes or {}), **own},
            os.fspath(picture) if isinstance(picture, str | os.PathLike) else "",
            first_box + len(boxed),
        )

    def __repr__(self) -> str:
        picture = "no picture" if self.picture is None else repr(self.media) if self.media else "a picture"
        held = {"labels": self.labels, "captions": self.captions, "boxes": self.boxes}
        counts = [f"{name} {len(each)}" for name, each in held.items() if each]
        return f"Item({', '.join([repr(str(self.key)), picture, *counts])})"

    @property
    def embedding(self) -> Embedding | None:
        """The vector that the item carries, None where it has none.

        Raises
        ------
        InvalidVectorError
            If the attribute ``clip_embedding`` holds something else.
        """
        return carried_embedding(self.key, self.attributes)

    def request(self, box: Box | None = None) -> ImageRequest:
        """Request the picture, or a box of it; without a picture, fetching raises :class:`ImageError`."""
        if self.picture is None:
            return ImageRequest.failing(ImageError("no_image", f"item '{self.key}' has no picture"))
        whole = self.picture() if callable(self.picture) else self.picture
        return whole if box is None else ImageRequest(whole.image, box)

    def fetch(self) -> ImageLike:
        """Read the picture; raise :class:`ImageError` where there is none, or it cannot be read."""
        return self.request().fetch()

    def class_counts(self) -> Counter[str]:
        """Count the item's labels by class.

        The label of an item is the one class that is counted. Hard cases:

        - Several classes are counted, as in most pictures with boxes: the item has no label. Where each item must
          belong somewhere, as in a stratum, it belongs to the most frequent class, of several the dataset's first.
        - Labels of boxes and other shapes count like those of the picture.
        - A number without a class is not counted.
        """
        return Counter(label.name for label in self.labels if isinstance(label.name, str))

    @property
    def label(self) -> str | None:
        """The item's label, None where it has none or several; see :meth:`class_counts`."""
        counts = self.class_counts()
        return next(iter(counts)) if len(counts) == 1 else None

    def label_of(self, annotation: int) -> str | None:
        """Return the class of an annotation, None where it has none."""
        found = (label.name for label in self.labels if label.annotation == annotation)
        return next((name for name in found if isinstance(name, str)), None)

    def said_by(self, annotation: int) -> str:
        """Return the text of an annotation: its caption, or the name of its class."""
        captions = (caption.text for caption in self.captions if caption.annotation == annotation)
        return next(captions, self.label_of(annotation) or "")

    def texts(self, kind: str, prompt: str) -> list[ItemCaption]:
        """Return the texts of one kind, in the order of the annotations.

        Parameters
        ----------
        kind : str
            ``captions``; ``labels``: each class once, through the prompt; ``none``.
        prompt : str
            With ``{}`` for the class's name.
        """
        if kind == "captions":
            return list(self.captions)
        first: dict[str, int] = {}
        for label in self.labels if kind == "labels" else ():
            if isinstance(label.name, str):
                first.setdefault(label.name, label.annotation)
        return [ItemCaption(fill_prompt(prompt, name), annotation) for name, annotation in first.items()]


def carried_embedding(key: ItemKey, attributes: Mapping[str, Any]) -> Embedding | None:
    """Read the vector in an item's attributes, None for none; raise :class:`InvalidVectorError` if it is no vector."""
    value = attributes.get(EMBEDDING_ATTRIBUTE)
    try:
        return None if value is None else Embedding.from_attribute(value)
    except InvalidVectorError as exc:
        raise InvalidVectorError(f"item '{key.id}' (subset '{key.subset}'): {exc}") from exc


def carried_object(value: Any, annotation: int) -> ObjectEmbedding | None:
    """Read the vector in an annotation's attribute; as :attr:`ItemBox.embedding`."""
    try:
        return None if value is None or isinstance(value, str) else ObjectEmbedding.from_attribute(value)
    except InvalidVectorError as exc:
        raise InvalidVectorError(f"annotation {annotation}: {exc}") from exc
