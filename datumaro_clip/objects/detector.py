"""The base class of detectors: a detector implements one method, and pictures, tiles and options are handled here."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from PIL import Image

from datumaro_clip.errors import OptionError
from datumaro_clip.objects.detections import Detections
from datumaro_clip.objects.placement import InputSettings
from datumaro_clip.options import Option, Several, Share, Text, Whole, read_options
from datumaro_clip.vectors import FloatArray

#: The smallest side of a tile, in pixels: a smaller one shows hardly more than a part of an object.
LEAST_TILE = 64
# Share of a tile that it has in common with its neighbour: smaller objects lie whole in one of them.
_OVERLAP = 0.25
# A box that ends within so many pixels of an inner edge of a tile is taken for cut off there.
_EDGE = 2.0

Tile = tuple[int, int, int, int]


_option = partial(Option, group="detector")
#: The options of :class:`DetectionOptions`.
DETECTION_OPTIONS = (
    _option("min-confidence", Share(), 0.25, "least confidence of an object"),
    _option("classes", Several(of=Text(metavar="NAME")), (), "classes to keep", unset="all of the detector"),
    _option("iou", Share(), 0.65, "boxes of one class that overlap more are one object"),
    _option("max-objects", Whole(at_least=1, metavar="N"), 100, "most objects of a picture"),
    _option(
        "tile",
        Whole(at_least=LEAST_TILE, metavar="PIXELS"),
        None,
        "also look at overlapping tiles of this size, for small objects",
        unset="the whole picture only",
    ),
)


@dataclass(frozen=True)
class DetectionOptions:
    """Which boxes are wanted; checked against :data:`DETECTION_OPTIONS`.

    Attributes
    ----------
    min_confidence : float
        Least score, 0 to 1.
    classes : tuple of str
        Labels; all if empty.
    iou : float
        Boxes of one class that overlap by more, as intersection over union, are one object. 0.65 is what YOLOX is
        evaluated with.
    max_objects : int
        At most so many boxes a picture, the best ones.
    tile : int, optional
        Look at overlapping tiles of this side, too, in pixels; only at the whole picture if omitted.
    """

    min_confidence: float = 0.25
    classes: tuple[str, ...] = ()
    iou: float = 0.65
    max_objects: int = 100
    tile: int | None = None

    def __post_init__(self) -> None:
        read_options(DETECTION_OPTIONS, vars(self), "the detector")


class Detector(ABC):
    """Finds objects in pictures.

    A new detector sets the three attributes and implements :meth:`submit`.

    Attributes
    ----------
    fingerprint : str
        ``sha256:`` and 64 hexadecimal digits over everything that decides which boxes it finds.
    labels : tuple of str
        Names of its classes, in the order of their indices.
    input : InputSettings
        How to prepare its pictures.
    """

    fingerprint: str
    labels: tuple[str, ...]
    input: InputSettings

    @abstractmethod
    def submit(self, pixel_values: FloatArray, least: float) -> Future[Detections]:
        """Start looking at a picture; block while the queue is full.

        Parameters
        ----------
        pixel_values : numpy.ndarray
            Shape (3, H, W), float32, as :attr:`input` makes it.
        least : float
            Leave out boxes with a lower score.

        Returns
        -------
        concurrent.futures.Future
            Boxes in pixels of the input, before non-maximum suppression; or
            :class:`~datumaro_clip.errors.InferenceError`.
        """

    def find(self, picture: Image.Image, options: DetectionOptions) -> Detections:
        """Find the objects in a picture, best first.

        Parameters
        ----------
        picture : PIL.Image.Image
            Mode ``RGB``.
        options : DetectionOptions

        Returns
        -------
        Detections
            In pixels of the picture, rounded to hundredths, clipped to it.

        Raises
        ------
        OptionError
            If a class is not among the labels.
        InferenceError
            If the device fails.
        """
        wanted = self.indices_of(options.classes)
        tiles: list[Tile | None] = [None]
        if options.tile is not None:
            tiles += tiles_of(picture.size, options.tile)
        begun = []
        for tile in tiles:
            pixel_values, placed = self.input.fit(picture if tile is None else picture.crop(tile))
            begun.append((self.submit(pixel_values, options.min_confidence), placed, tile))
        parts = []
        for future, placed, tile in begun:
            part = replace(future.result(), boxes=placed.to_picture(future.result().boxes))
            parts.append(part if tile is None else _from_tile(part, tile, picture.size))
        found = Detections.together(parts)
        if options.classes:
            found = found.of_classes(wanted)
        return found.within(picture.size).distinct(options.iou)[: options.max_objects].rounded()

    def indices_of(self, classes: Sequence[str]) -> list[int]:
        """Return the indices of classes by their names, whatever the case, and ``_`` for a space.

        Raises
        ------
        OptionError
            If one is not among the labels.
        """
        known = {same_name(label): index for index, label in enumerate(self.labels)}
        if unknown := [name for name in classes if same_name(name) not in known]:
            raise OptionError(f"the detector knows no class {unknown[0]!r}; it knows: {', '.join(self.labels)}")
        return [known[same_name(name)] for name in classes]


def same_name(name: str) -> str:
    """Normalise a label's name for comparison: case folded, ``_`` as a space, single spaces between words."""
    return " ".join(name.replace("_", " ").casefold().split())


def tiles_of(size: tuple[int, int], side: int) -> list[Tile]:
    """Cover a picture of (width, height) pixels with tiles (left, top, right, bottom); none if one would do."""
    columns, rows = (_starts(length, side) for length in size)
    if len(columns) == len(rows) == 1:
        return []
    width, height = size
    return [(x, y, min(x + side, width), min(y + side, height)) for y in rows for x in columns]


def _starts(length: int, side: int) -> list[int]:
    """Return where the tiles along one axis begin, evenly spaced."""
    if length <= side:
        return [0]
    count = math.ceil((length - side) / (side * (1 - _OVERLAP))) + 1
    return [round(n * (length - side) / (count - 1)) for n in range(count)]


def _from_tile(found: Detections, tile: Tile, size: tuple[int, int]) -> Detections:
    """Move boxes from pixels of a tile to pixels of the picture; drop those at edges of the tile inside the picture.

    Such an edge may cut an object off: the neighbouring tile, or the whole picture, shows it whole.
    """
    left, top, right, bottom = tile
    width, height = size
    x1, y1, x2, y2 = found.boxes.T
    cut = (left > 0) & (x1 < _EDGE) | (top > 0) & (y1 < _EDGE)
    cut |= (right < width) & (x2 > right - left - _EDGE) | (bottom < height) & (y2 > bottom - top - _EDGE)
    return replace(found, boxes=found.boxes + np.array([left, top, left, top], np.float32))[~cut]
