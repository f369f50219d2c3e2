"""The transform ``clip_detect``."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.curate.finder import find_in_items
from datumaro_clip.curate.objects import DETECTOR_OPTIONS, Objects, wanted_objects
from datumaro_clip.curate.vector_options import VECTOR_OPTIONS
from datumaro_clip.errors import OptionError
from datumaro_clip.host.embedding import with_detected_labels
from datumaro_clip.host.items import label_names, neutral
from datumaro_clip.host.objects import class_numbers, with_objects
from datumaro_clip.host.transform import DeclaredTransform
from datumaro_clip.options import Option, Values

log = logging.getLogger(__name__)

_SHARED = ("device", "threads", "on-error")
OPTIONS = (*DETECTOR_OPTIONS, *(option for option in VECTOR_OPTIONS if option.name in _SHARED))

#: Formats of Datumaro's that keep boxes, but not their attribute ``score``.
DROP_SCORE = ("cvat", "icdar_text_localization", "mot_seq_gt", "vgg_face2", "wider_face", "yolo", "yolo_ultralytics")


class ClipDetect(DeclaredTransform):
    """
    Finds objects with a detector on OpenVINO, and adds a box for each, with its class and score.|n
    |n
    The attribute 'clip_detector' of a box names the detector: a later run of the same detector replaces its own boxes
    only. Classes that the dataset lacks are added to its labels. Add a detector with 'datum-clip detector add'.|n
    |n
    Example:|n
    |s|sdatum transform -t clip_detect -o OUT path/to/images:image_dir -- --detector yolox_nano --min-confidence 0.4
    """

    NAME = "clip_detect"

    @classmethod
    def options(cls) -> Sequence[Option]:
        """Return the detector's options, and some of the common ones."""
        return OPTIONS

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Values:
        """Check what was given by keyword; a detector is needed."""
        values = super().read(given)
        if values.detector is None:
            raise OptionError(
                "clip_detect needs --detector NAME|DIR; datum-clip detector list shows those that are known"
            )
        return values

    @cached_property
    def _objects(self) -> Objects:
        objects = wanted_objects({**vars(self.values), "objects": True})
        assert objects is not None
        return objects

    def categories(self) -> Any:
        """Return the dataset's categories, with the classes added that the detector may find."""
        return with_detected_labels(self._extractor.categories(), self._objects)

    def __iter__(self) -> Iterator[DatasetItem]:
        classes = label_names(self.categories())
        detector = self._objects.detector
        assert detector is not None
        numbers = class_numbers(classes, detector.labels)
        warned = False
        items = (neutral(item, classes) for item in self._extractor)
        for item, detected in find_in_items(
            items, self._objects, threads=self.values.threads, on_error=self.values.on_error, total=len(self._extractor)
        ):
            if detected and not warned:
                log.warning("These formats drop the boxes' score: %s", ", ".join(DROP_SCORE))
                warned = True
            yield with_objects(item.origin, None, detected, detector.fingerprint, numbers)
