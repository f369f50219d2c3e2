"""What every detector is: one method, and everything else built on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from PIL import Image

from datumaro_clip.errors import OptionError
from datumaro_clip.objects.detections import Detections
from datumaro_clip.objects.placement import InputSettings, Placed
from datumaro_clip.objects.tiles import Window, inside, tiles_of
from datumaro_clip.vectors import FloatArray


@dataclass(frozen=True)
class DetectionOptions:
    """Which boxes are wanted.

    Attributes
    ----------
    min_confidence : float
        Least score, 0 to 1.
    classes : tuple of str
        Labels; all where empty.
    iou : float
        Boxes of one class that overlap by more, as intersection over union, are one object. 0.65 is what YOLOX is
        evaluated with.
    max_objects : int
        Most boxes a picture, best first.
    tile : int, optional
        Side of the overlapping tiles that a picture is cut into, in pixels; not cut where omitted.
    """

    min_confidence: float = 0.25
    classes: tuple[str, ...] = ()
    iou: float = 0.65
    max_objects: int = 100
    tile: int | None = None

    def __post_init__(self) -> None:
        for name in ("min_confidence", "iou"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise OptionError(f"--{name.replace('_', '-')} must be from 0 to 1, got {value}")
        if self.max_objects < 1:
            raise OptionError(f"--max-objects must be at least 1, got {self.max_objects}")
        if self.tile is not None and self.tile < LEAST_TILE:
            raise OptionError(f"--tile must be at least {LEAST_TILE}, got {self.tile}")


#: Smaller tiles than this show hardly more than a single object's part.
LEAST_TILE = 64


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
        How it wants its pictures.
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
            Boxes of a lower score are not wanted.

        Returns
        -------
        concurrent.futures.Future
            Boxes in pixels of the input, those of one object not yet made one; or
            :class:`~datumaro_clip.errors.InferenceError`.
        """

    def find(self, picture: Image.Image, options: DetectionOptions) -> Detections:
        """The objects in a picture, best first.

        Parameters
        ----------
        picture : PIL.Image.Image
            Mode ``RGB``.
        options : DetectionOptions

        Returns
        -------
        Detections
            In pixels of the picture, to the hundredth, cut at its borders.

        Raises
        ------
        OptionError
            If a class is not among the labels.
        InferenceError
            If the device fails.
        """
        wanted = self.indices_of(options.classes)
        windows: list[Window | None] = [None]
        if options.tile is not None:
            windows += tiles_of(picture.size, options.tile)
        begun = [self._begin(picture, window, options.min_confidence) for window in windows]
        found = Detections.together(self._finish(*one, picture.size) for one in begun)
        if options.classes:
            found = found.of_classes(wanted)
        return found.within(picture.size).distinct(options.iou)[: options.max_objects].rounded()

    def indices_of(self, classes: Sequence[str]) -> list[int]:
        """The indices of classes by their names, capitals and ``_`` aside.

        Raises
        ------
        OptionError
            If one is not among the labels.
        """
        known = {same_name(label): index for index, label in enumerate(self.labels)}
        if unknown := [name for name in classes if same_name(name) not in known]:
            raise OptionError(f"the detector knows no class {unknown[0]!r}; it knows: {', '.join(self.labels)}")
        return [known[same_name(name)] for name in classes]

    def _begin(
        self, picture: Image.Image, window: Window | None, least: float
    ) -> tuple[Future[Detections], Placed, Window | None]:
        pixel_values, placed = self.input.fit(picture if window is None else picture.crop(window))
        return self.submit(pixel_values, least), placed, window

    def _finish(
        self, future: Future[Detections], placed: Placed, window: Window | None, size: tuple[int, int]
    ) -> Detections:
        found = future.result()
        boxes = placed.to_picture(found.boxes)
        if window is None:
            return Detections(boxes, found.scores, found.classes)
        whole = inside(boxes, window, size)
        offset = np.array([*window[:2], *window[:2]], np.float32)
        return Detections(boxes + offset, found.scores, found.classes)[whole]


def same_name(name: str) -> str:
    """A label's name as labels are compared: without regard to capitals, ``_`` and spaces at its ends."""
    return " ".join(name.replace("_", " ").casefold().split())
