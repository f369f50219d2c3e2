"""Recognises the outputs of the YOLO family's networks, and reads the boxes from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from datumaro_clip.errors import InferenceError, ModelFormatError
from datumaro_clip.objects.detections import Detections, IndexArray
from datumaro_clip.vectors import FloatArray

_STRIDES = (8, 16, 32)
# YOLOv5 predicts so many boxes for a cell.
_ANCHORS = 3

Shape = Sequence[int | None]
Outputs = Mapping[str, FloatArray]
Size = tuple[int, int]


@dataclass(frozen=True)
class Head:
    """A format of a network's outputs.

    Attributes
    ----------
    kind : str
    placement, colour, scale : str, str, float
        The usual :class:`InputSettings` of networks with this head.
    classes_of : callable
        From the outputs' shapes by name and the input's (H, W) to the number of classes (0 if the shapes do not
        say), or None if they are not this head's.
    read : callable
        From the outputs, the input's (H, W) and the least score to the boxes in pixels of the input.
    """

    kind: str
    placement: str
    colour: str
    scale: float
    classes_of: Callable[[Mapping[str, Shape], Size], int | None]
    read: Callable[[Outputs, Size, float], Detections]


def find_head(shapes: Mapping[str, Shape], size: Size, kind: str | None = None) -> tuple[Head, int]:
    """Find the head that a network's outputs belong to.

    Parameters
    ----------
    shapes : mapping
        Of the outputs, by name; None for a dimension that is not fixed.
    size : tuple of int
        (H, W) of the input.
    kind : str, optional
        The kind that the user names.

    Returns
    -------
    head : Head
    classes : int
        Number of classes; 0 if the shapes do not say.

    Raises
    ------
    ModelFormatError
        If the shapes are of no known head, of several, or not of the one named.
    """
    fitting = {head.kind: classes for head in HEADS.values() if (classes := head.classes_of(shapes, size)) is not None}
    told = f"its outputs are {_listed(shapes)} for an input of {size[1]}x{size[0]}"
    if kind is not None and kind not in HEADS:
        raise ModelFormatError(f"there is no kind {kind!r} of detector; there are: {', '.join(HEADS)}")
    if kind is not None and kind not in fitting:
        others = f"; they fit {' or '.join(fitting)}" if fitting else ""
        raise ModelFormatError(f"it is no detector of kind {kind}: {told}{others}")
    if not fitting:
        raise ModelFormatError(f"it is no detector of a known kind ({', '.join(HEADS)}): {told}")
    if kind is None and len(fitting) > 1:
        raise ModelFormatError(f"its shapes fit {' and '.join(fitting)}; say which with --kind: {told}")
    kind = kind or next(iter(fitting))
    return HEADS[kind], fitting[kind]


def _listed(shapes: Mapping[str, Shape]) -> str:
    """List outputs for a message."""
    return ", ".join(
        f"{name} ({', '.join('?' if n is None else str(n) for n in shape)})" for name, shape in shapes.items()
    )


def _cells(size: Size) -> int:
    """Return the number of cells of all strides."""
    return sum((size[0] // stride) * (size[1] // stride) for stride in _STRIDES)


def _only(shapes: Mapping[str, Shape]) -> Shape:
    """Return the shape (M, N) of a single output (1, M, N); empty for other outputs."""
    shape = next(iter(shapes.values())) if len(shapes) == 1 else ()
    return shape[1:] if len(shape) == 3 and shape[0] in (1, None) else ()


def _rows_of(boxes_a_cell: int) -> Callable[[Mapping[str, Shape], Size], int | None]:
    """Make a function that recognises (1, boxes, 5 + C)."""

    def classes_of(shapes: Mapping[str, Shape], size: Size) -> int | None:
        shape = _only(shapes)
        if len(shape) != 2 or shape[0] != boxes_a_cell * _cells(size) or shape[1] is None or shape[1] < 6:
            return None
        return shape[1] - 5

    return classes_of


def _columns(shapes: Mapping[str, Shape], size: Size) -> int | None:
    """Recognise (1, 4 + C, A)."""
    shape = _only(shapes)
    if len(shape) != 2 or shape[1] != _cells(size) or shape[0] is None or shape[0] < 5:
        return None
    return shape[0] - 4


def _finished(shapes: Mapping[str, Shape], size: Size) -> int | None:
    """Recognise (1, N, 6)."""
    shape = _only(shapes)
    return 0 if len(shape) == 2 and shape[1] == 6 else None


def _queries(shapes: Mapping[str, Shape], size: Size) -> int | None:
    """Recognise ``logits`` and ``pred_boxes``."""
    logits, boxes = shapes.get("logits", ()), shapes.get("pred_boxes", ())
    if len(logits) != 3 or len(boxes) != 3 or boxes[2] != 4 or logits[1] != boxes[1]:
        return None
    return logits[2]


def _one(outputs: Outputs) -> FloatArray:
    """Return the single output, (M, N)."""
    array = next(iter(outputs.values()))
    return array.reshape(array.shape[-2:])


def _read_yolox(outputs: Outputs, size: Size, least: float) -> Detections:
    """Decode the cells of YOLOX: (xy + cell) × stride, exp(wh) × stride (its ``demo_postprocess``)."""
    rows = _one(outputs)
    chosen, classes, scores = _at_least(rows[:, 5:] * rows[:, 4:5], least)
    cells, strides = _grid(size)
    centres = (rows[chosen, :2] + cells[chosen]) * strides[chosen]
    with np.errstate(over="ignore"):  # _found refuses infinite boxes
        sides = np.exp(rows[chosen, 2:4]) * strides[chosen]
    return _found(_corners(centres, sides), scores, classes)


def _read_rows(outputs: Outputs, size: Size, least: float) -> Detections:
    """Read rows of cx, cy, w, h, objectness and classes."""
    rows = _one(outputs)
    chosen, classes, scores = _at_least(rows[:, 5:] * rows[:, 4:5], least)
    return _found(_corners(rows[chosen, :2], rows[chosen, 2:4]), scores, classes)


def _read_columns(outputs: Outputs, size: Size, least: float) -> Detections:
    """Read columns of cx, cy, w, h and classes."""
    columns = _one(outputs)
    chosen, classes, scores = _at_least(columns[4:].T, least)
    return _found(_corners(columns[:2, chosen].T, columns[2:4, chosen].T), scores, classes)


def _read_finished(outputs: Outputs, size: Size, least: float) -> Detections:
    """Read rows of x1, y1, x2, y2, score and class; the rows that pad the output have a score of 0."""
    rows = _one(outputs)
    chosen, _, scores = _at_least(rows[:, 4:5], max(least, float(np.finfo(np.float32).tiny)))
    return _found(rows[chosen, :4], scores, rows[chosen, 5].astype(np.int64))


def _read_queries(outputs: Outputs, size: Size, least: float) -> Detections:
    """Read a logit for each query and class, and boxes cx, cy, w, h as shares of the picture's sides."""
    logits = outputs["logits"].reshape(outputs["logits"].shape[-2:])
    shares = (1 / (1 + np.exp(-np.clip(logits, -80, 80)))).astype(np.float32)
    chosen, classes, scores = _at_least(shares, least)
    height, width = size
    boxes = outputs["pred_boxes"].reshape(-1, 4)[chosen] * np.array([width, height, width, height], np.float32)
    return _found(_corners(boxes[:, :2], boxes[:, 2:]), scores, classes)


def _at_least(scores: FloatArray, least: float) -> tuple[IndexArray, IndexArray, FloatArray]:
    """Return the boxes, classes and scores of (N, C) that reach the least score; a box may have several classes."""
    if np.isnan(scores).any():
        raise InferenceError("the detector gives scores that are no numbers; its file may be damaged, add it again")
    boxes, classes = np.nonzero(scores >= least)
    return boxes, classes, scores[boxes, classes]


def _grid(size: Size) -> tuple[FloatArray, FloatArray]:
    """Return the column and row of each cell, (A, 2), and its stride, (A, 1); row by row, small strides first."""
    cells, strides = [], []
    for stride in _STRIDES:
        rows, columns = np.mgrid[: size[0] // stride, : size[1] // stride]
        cells.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full((rows.size, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _corners(centres: FloatArray, sides: FloatArray) -> FloatArray:
    """Turn centres and sides, (N, 2) each, into x1, y1, x2, y2, (N, 4)."""
    return np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)


def _found(boxes: FloatArray, scores: FloatArray, classes: IndexArray) -> Detections:
    """Return the boxes, if they are finite."""
    if not np.isfinite(boxes).all():
        raise InferenceError("the detector gives boxes that are no numbers; its file may be damaged, add it again")
    return Detections(boxes.astype(np.float32), scores.astype(np.float32), classes.astype(np.int64))


#: Every head by its kind, in the order of messages.
HEADS: Mapping[str, Head] = {
    head.kind: head
    for head in (
        Head("yolox", "top_left", "bgr", 1.0, _rows_of(1), _read_yolox),
        Head("yolox-decoded", "top_left", "bgr", 1.0, _rows_of(1), _read_rows),
        Head("yolov5", "centre", "rgb", 1 / 255, _rows_of(_ANCHORS), _read_rows),
        Head("yolov8", "centre", "rgb", 1 / 255, _columns, _read_columns),
        Head("end2end", "centre", "rgb", 1 / 255, _finished, _read_finished),
        Head("rtdetr", "stretch", "rgb", 1 / 255, _queries, _read_queries),
    )
}
