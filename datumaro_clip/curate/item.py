"""An item of a dataset, whoever holds it: what curation, search and reports work on."""

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
        The class's name; a number, where the dataset has no class of that number.
    annotation : int
        Index of the annotation.
    is_of_picture : bool
        Whether it is about the whole picture; False for the label of a box, a mask or another shape.
    """

    name: str | int
    annotation: int
    is_of_picture: bool = True


class ItemBox(NamedTuple):
    """An object in the picture: its bounding box, and what else is known of where it is.

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
        Polygons (x1, y1, x2, y2, …) in pixels, where the object's are known.
    mask : callable, optional
        Gives the object's mask (H, W), where it has one.
    carried : object
        The vector that the annotation carries, as it has it; see :attr:`embedding`.
    corners : tuple of float or None
        ``(x1, y1, x2, y2)`` of the upright box around it, as the annotation has them; None: those of ``box``.
    found_by : str
        Fingerprint of the detector that made the box, as long as it is as the detector made it; else empty.
    detector : object
        What the annotation says of the detector that made it, whatever that is.
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

        A text counts as none: it is what formats that write all attributes as text, such as ``voc``, leave of a vector.

        Raises
        ------
        InvalidVectorError
            If it carries something else.
        """
        return carried_object(self.carried, self.annotation)

    @property
    def bbox(self) -> tuple[float, float, float, float]:
        """``(x1, y1, x2, y2)`` of the upright box around the object, in pixels."""
        x, y, w, h = self.box
        return self.corners or (x, y, x + w, y + h)


@dataclass(frozen=True, eq=False)
class Item:
    """An item of a dataset, made in one place from whatever holds it.

    Attributes
    ----------
    key : ItemKey
        Id and subset.
    picture : ImageRequest, callable or None
        How to get the picture: a request, or a function that makes one and is called when the picture's turn comes.
        None for an item without a picture.
    labels : tuple of ItemLabel
        Of the picture and of everything in it, boxes included, in the order of the annotations.
    captions : tuple of ItemCaption
    boxes : tuple of ItemBox
    attributes : mapping
        As the dataset has them; a vector that the item carries is under ``clip_embedding``.
    media : str
        Path or URL of the picture; empty where it has none.
    annotation_count : int
        How many annotations the item has, of all kinds.
    size : tuple of int or None
        (width, height) of the picture in pixels, as the dataset says, which its boxes are within; None where it says
        nothing.
    origin : object
        What the item was made from, for whoever made it.
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
        """Make an item of plain values.

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
        told = [f"{name} {len(each)}" for name, each in held.items() if each]
        return f"Item({', '.join([repr(str(self.key)), picture, *told])})"

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
        """Ask for the picture, or for a box of it; where there is none, the answer is an :class:`ImageError`."""
        if self.picture is None:
            return ImageRequest.failing(ImageError("no_image", f"item '{self.key}' has no picture"))
        whole = self.picture() if callable(self.picture) else self.picture
        return whole if box is None else ImageRequest(whole.image, box)

    def class_counts(self) -> Counter[str]:
        """How many of the item's labels name each class, by which its class is known.

        The label of an item is the one class that this counts. Its hard cases:

        - Several classes are named, as in most pictures with boxes: the item has no label. Where each item must belong
          somewhere, as in a stratum, it belongs to the class that is named most often, of several the dataset's first.
        - Only boxes or other shapes are labelled: their classes count like those of the picture.
        - A number that no class has names none.
        """
        return Counter(label.name for label in self.labels if isinstance(label.name, str))

    @property
    def label(self) -> str | None:
        """The item's label, None where it has none or several; see :meth:`class_counts`."""
        counts = self.class_counts()
        return next(iter(counts)) if len(counts) == 1 else None

    def label_of(self, annotation: int) -> str | None:
        """The class that an annotation names, None where it names none."""
        found = (label.name for label in self.labels if label.annotation == annotation)
        return next((name for name in found if isinstance(name, str)), None)

    def said_by(self, annotation: int) -> str:
        """What an annotation says: a caption's text, or the name of its class."""
        captions = (caption.text for caption in self.captions if caption.annotation == annotation)
        return next(captions, self.label_of(annotation) or "")

    def texts(self, kind: str, prompt: str) -> list[ItemCaption]:
        """The texts of one kind, in the order of the annotations.

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
    """The vector in an item's attributes, None where there is none; :class:`InvalidVectorError` if it is no vector."""
    value = attributes.get(EMBEDDING_ATTRIBUTE)
    try:
        return None if value is None else Embedding.from_attribute(value)
    except InvalidVectorError as exc:
        raise InvalidVectorError(f"item '{key.id}' (subset '{key.subset}'): {exc}") from exc


def carried_object(value: Any, annotation: int) -> ObjectEmbedding | None:
    """The vector in an annotation's attribute; as :attr:`ItemBox.embedding`."""
    try:
        return None if value is None or isinstance(value, str) else ObjectEmbedding.from_attribute(value)
    except InvalidVectorError as exc:
        raise InvalidVectorError(f"annotation {annotation}: {exc}") from exc
