"""Objects in pictures: which of them get a vector, of which part of the picture, and how they are detected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

from PIL import Image

from datumaro_clip.curate.item import ItemBox
from datumaro_clip.curate.vector_options import EMBEDDING_OPTIONS
from datumaro_clip.errors import OptionError
from datumaro_clip.images import Box, Region
from datumaro_clip.objects.detections import Detections
from datumaro_clip.objects.detector import DETECTION_OPTIONS, DetectionOptions, Detector
from datumaro_clip.objects.directory import find_detector
from datumaro_clip.objects.openvino import OpenVINODetector
from datumaro_clip.options import Choice, Flag, Number, Option, Text, Whole, read_options

MASKS = ("keep", "grey")

_cut = partial(Option, group="objects")
#: Options of the part of a picture that an object's vector is of.
CROP_OPTIONS = (
    _cut("min-side", Number(at_least=0, metavar="PIXELS"), 8, "narrower objects get no vector"),
    _cut("margin", Number(at_least=0, at_most=10, metavar="SHARE"), 0.0, "widen boxes by this share on each side"),
    _cut("mask", Choice(names=MASKS), "keep", "keep what surrounds the polygon or mask, or grey it"),
    _cut("max-side", Whole(at_least=1, metavar="PIXELS"), None, "reduce pictures to it first", unset="full resolution"),
)
OBJECTS_OPTION = _cut("objects", Flag(), False, "embed each object too, cut out of the picture at full resolution")
#: Options of the tools.
TOOL_OPTIONS = (
    _cut("objects", Flag(), False, "work on the objects (boxes, polygons, masks) instead of the pictures"),
    *CROP_OPTIONS,
)

#: Options of a detector, and which one it is.
DETECTOR_OPTIONS = (
    Option(
        "detector", Text(metavar="NAME|DIR"), None, "name or directory of a detector", unset="none", group="detector"
    ),
    *DETECTION_OPTIONS,
)
#: Options of whatever embeds datasets with their texts and objects.
EMBEDDED_OPTIONS = (*EMBEDDING_OPTIONS, OBJECTS_OPTION, *CROP_OPTIONS, *DETECTOR_OPTIONS)


@dataclass(frozen=True)
class CropOptions:
    """Which objects get a vector, of which part of the picture; checked against :data:`CROP_OPTIONS`.

    Attributes
    ----------
    min_side : float
        Least side of a box, in pixels.
    margin : float
        Share of the box's width and height that is added on each side.
    mask : str
        ``keep`` what surrounds the object, or make it ``grey`` where there is an outline or a mask.
    max_side : int, optional
        Longest side of the picture that parts are cut out of, in pixels.
    """

    min_side: float = 8
    margin: float = 0.0
    mask: str = "keep"
    max_side: int | None = None

    def __post_init__(self) -> None:
        read_options(CROP_OPTIONS, vars(self), "the objects")

    @classmethod
    def among(cls, values: Mapping[str, Any]) -> CropOptions:
        """Pick the options out of a mapping that has others too."""
        return cls(**{each.name: values[each.name] for each in fields(cls) if each.name in values})

    def region_of(self, box: Box) -> Region | None:
        """Return the part of a picture that shows a box ``(x, y, w, h)``; None where it is too small."""
        return None if min(box[2:]) < self.min_side else Region(box, margin=self.margin, max_side=self.max_side)

    def region(self, found: ItemBox) -> Region | None:
        """Return the part of a picture that shows an object; None where it is too small."""
        if self.region_of(found.box) is None:
            return None
        outlined = self.mask == "grey"
        return Region(
            found.box,
            found.angle,
            self.margin,
            found.outline if outlined and found.mask is None else (),
            found.mask if outlined else None,
            self.max_side,
        )


@dataclass(frozen=True)
class Objects:
    """The objects whose vectors are wanted beside those of the pictures.

    Attributes
    ----------
    crop : CropOptions
    detector : Detector, optional
        Finds objects beside those that the dataset has.
    detection : DetectionOptions
    has_pictures : bool
        Whether the pictures' own vectors are wanted, too.
    """

    crop: CropOptions
    detector: Detector | None = None
    detection: DetectionOptions = field(default_factory=DetectionOptions)
    has_pictures: bool = True

    def among(self, boxes: Iterable[ItemBox]) -> list[ItemBox]:
        """Leave out the objects that the same detector found before and will find again."""
        own = None if self.detector is None else self.detector.fingerprint
        return [box for box in boxes if not own or box.found_by != own]

    def find(self, picture: Image.Image) -> Detections:
        """Detect objects in a picture of mode ``RGB``."""
        assert self.detector is not None
        return self.detector.find(picture, self.detection)

    def boxes_of(self, found: Detections) -> list[ItemBox]:
        """Convert detections to objects of an item, which has no annotations of them yet."""
        assert self.detector is not None
        labels, boxes = self.detector.labels, []
        for corners, score, number in zip(found.boxes.tolist(), found.scores.tolist(), found.classes, strict=True):
            x1, y1, x2, y2 = corners
            box = (x1, y1, x2 - x1, y2 - y1)
            boxes.append(ItemBox(box, labels[number], round(score, 6), -1, corners=(x1, y1, x2, y2)))
        return boxes


def as_objects_need(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of :data:`EMBEDDED_OPTIONS` with ``exact_decode`` set where objects are wanted.

    So large JPEGs are decoded once, as a whole, for the picture and its objects. Options of a detector may be missing.

    Raises
    ------
    OptionError
        If a detector is named, and no objects are wanted.
    """
    if values.get("detector") is not None and not values["objects"]:
        raise OptionError("--detector goes with --objects; clip_detect adds boxes without vectors")
    return {**values, "exact_decode": values["exact_decode"] or values["objects"]}


def wanted_objects(values: Mapping[str, Any]) -> Objects | None:
    """Return the objects that values of :data:`EMBEDDED_OPTIONS` ask for, their detector loaded; None for none.

    Raises
    ------
    ModelNotFoundError, DeviceNotFoundError
        If the detector cannot be had, or not on the device.
    OptionError
        If it lacks one of the ``classes``.
    """
    if not values["objects"]:
        return None
    crop = CropOptions.among(values)
    if values.get("detector") is None:
        return Objects(crop)
    detector = OpenVINODetector(find_detector(values["detector"]), values["device"])
    detector.indices_of(values["classes"])
    given = {each.name: values[each.name] for each in fields(DetectionOptions) if each.name in values}
    return Objects(crop, detector, DetectionOptions(**{**given, "classes": tuple(values["classes"])}))
