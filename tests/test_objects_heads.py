"""Recognising a detector's head by its shapes, and reading the boxes off its outputs."""

from __future__ import annotations

import numpy as np
import pytest

from datumaro_clip.errors import InferenceError, ModelFormatError
from datumaro_clip.objects.heads import HEADS, find_head

SIZE = (416, 416)
CELLS = 3549


@pytest.mark.parametrize(
    ("shapes", "kind", "classes"),
    [
        ({"output": (1, 3 * CELLS, 85)}, "yolov5", 80),
        ({"output0": (1, 84, CELLS)}, "yolov8", 80),
        ({"output0": (1, 5, CELLS)}, "yolov8", 1),
        ({"output0": (1, 300, 6)}, "end2end", 0),
        ({"output0": (None, None, 6)}, "end2end", 0),
        ({"logits": (1, 300, 80), "pred_boxes": (1, 300, 4)}, "rtdetr", 80),
    ],
)
def test_heads_are_told_by_their_shapes(shapes: dict[str, tuple[int | None, ...]], kind: str, classes: int):
    head, found = find_head(shapes, SIZE)
    assert (head.kind, found) == (kind, classes)


def test_what_fits_two_heads_is_refused_until_the_kind_is_said():
    """YOLOX gives the same shape before and after decoding."""
    shapes = {"output": (1, CELLS, 85)}
    with pytest.raises(ModelFormatError, match="fit yolox and yolox-decoded; say which with --kind"):
        find_head(shapes, SIZE)
    assert find_head(shapes, SIZE, "yolox-decoded")[0].kind == "yolox-decoded"


def test_a_yolox_of_one_class_is_not_taken_for_a_finished_list():
    with pytest.raises(ModelFormatError, match="yolox and yolox-decoded and end2end"):
        find_head({"output": (1, CELLS, 6)}, SIZE)


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"output": ()},
        {"output": (1, 1000)},
        {"output": (2, CELLS, 85)},
        {"output": (1, CELLS + 1, 85)},
        {"output": (1, CELLS, 5)},
        {"output": (1, 4, CELLS)},
        {"a": (1, 84, CELLS), "b": (1, 32, 104, 104)},
        {"logits": (1, 300, 80), "pred_boxes": (1, 200, 4)},
    ],
)
def test_foreign_networks_are_refused_by_what_they_give(shapes: dict[str, tuple[int, ...]]):
    with pytest.raises(ModelFormatError, match="no detector of a known kind"):
        find_head(shapes, SIZE)


def test_a_kind_that_does_not_fit_is_refused_with_the_one_that_does():
    with pytest.raises(ModelFormatError, match=r"no detector of kind yolox: .*; they fit yolov8"):
        find_head({"output0": (1, 84, CELLS)}, SIZE, "yolox")
    with pytest.raises(ModelFormatError, match="there is no kind 'ssd'"):
        find_head({"output0": (1, 84, CELLS)}, SIZE, "ssd")


def outputs_of(kind: str, value: float) -> dict[str, np.ndarray]:
    """Outputs of a 32×32 input and one class, all of one value; the logits of ``rtdetr`` that stand for it."""
    shapes = {"yolox": (21, 6), "yolox-decoded": (21, 6), "yolov5": (63, 6), "yolov8": (5, 21), "end2end": (300, 6)}
    if kind != "rtdetr":
        return {"output": np.full((1, *shapes[kind]), value, np.float32)}
    return {"logits": np.full((1, 5, 1), value, np.float32), "pred_boxes": np.full((1, 5, 4), value, np.float32)}


@pytest.mark.parametrize("kind", HEADS)
def test_scores_below_the_limit_give_no_boxes(kind: str):
    assert len(HEADS[kind].read(outputs_of(kind, 0.0), (32, 32), 0.6)) == 0


@pytest.mark.parametrize("kind", HEADS)
def test_numbers_that_are_none_are_refused_and_not_passed_over(kind: str):
    """A damaged network would seem to find nothing."""
    with pytest.raises(InferenceError, match="no numbers"):
        HEADS[kind].read(outputs_of(kind, np.nan), (32, 32), 0.25)


def test_sizes_beyond_float32_are_refused():
    outputs = outputs_of("yolox", 1.0)
    outputs["output"][:, 5, 2] = 200.0
    with pytest.raises(InferenceError, match="boxes that are no numbers"):
        HEADS["yolox"].read(outputs, (32, 32), 0.25)


def test_a_box_may_be_of_several_classes():
    rows = np.zeros((1, 21, 7), np.float32)
    rows[0, 4] = [8, 8, 4, 6, 0.9, 0.8, 0.7]
    found = HEADS["yolox-decoded"].read({"output": rows}, (32, 32), 0.5)
    assert found.classes.tolist() == [0, 1]
    np.testing.assert_allclose(found.scores, [0.72, 0.63], rtol=1e-6)
    np.testing.assert_array_equal(found.boxes, [[6, 5, 10, 11]] * 2)
