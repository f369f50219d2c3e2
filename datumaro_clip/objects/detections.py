"""The boxes that a detector finds in a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datumaro_clip.vectors import FloatArray

IndexArray = npt.NDArray[np.int64]

_MIN_SIDE = 1.0  # pixels; narrower boxes are dropped


@dataclass(frozen=True, eq=False)
class Detections:
    """N boxes with their scores and classes.

    Attributes
    ----------
    boxes : numpy.ndarray
        Shape (N, 4), float32: x1, y1, x2, y2 in pixels, x to the right, y down.
    scores : numpy.ndarray
        Shape (N,), float32, 0 to 1.
    classes : numpy.ndarray
        Shape (N,), int64: indices of the detector's labels.
    """

    boxes: FloatArray
    scores: FloatArray
    classes: IndexArray

    @classmethod
    def together(cls, parts: Iterable[Detections]) -> Detections:
        """Concatenate the boxes of several."""
        none = cls(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))
        found = [none, *parts]
        return cls(
            np.concatenate([each.boxes for each in found]),
            np.concatenate([each.scores for each in found]),
            np.concatenate([each.classes for each in found]),
        )

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows: IndexArray | npt.NDArray[np.bool_] | slice) -> Detections:
        """Select boxes by a mask, a slice or indices."""
        return Detections(self.boxes[rows], self.scores[rows], self.classes[rows])

    def within(self, size: tuple[int, int]) -> Detections:
        """Clip the boxes to a picture of (width, height) pixels, and drop those that are narrower than a pixel."""
        width, height = size
        boxes = np.clip(self.boxes, 0, np.array([width, height, width, height], np.float32))
        wide = np.flatnonzero((boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= _MIN_SIDE)
        return Detections(boxes, self.scores, self.classes)[wide]

    def rounded(self) -> Detections:
        """Round the boxes to hundredths of a pixel, as annotations do (Datumaro's ``COORDINATE_ROUNDING_DIGITS``)."""
        return Detections(self.boxes.round(2), self.scores, self.classes)

    def of_classes(self, classes: Sequence[int]) -> Detections:
        """Select the boxes of these classes."""
        return self[np.isin(self.classes, np.asarray(classes, np.int64))]

    def distinct(self, iou: float) -> Detections:
        """Keep the best of each group of overlapping boxes; the result is sorted by score, best first.

        This is OpenCV's greedy non-maximum suppression, class by class.

        Parameters
        ----------
        iou : float
            Intersection over union, 0 to 1, above which boxes of one class overlap.
        """
        import cv2  # Imported here: it takes a tenth of a second, and most runs do not need it.

        if not len(self):
            return self
        sides = np.concatenate([self.boxes[:, :2], self.boxes[:, 2:] - self.boxes[:, :2]], axis=1)
        kept = cv2.dnn.NMSBoxesBatched(sides.tolist(), self.scores.tolist(), self.classes.tolist(), 0.0, iou)
        rows = np.asarray(kept, np.int64).reshape(-1)
        return self[rows[np.argsort(-self.scores[rows], kind="stable")]]
