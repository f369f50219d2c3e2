"""Masks reach the page as run lengths, whatever kind of mask a store holds; what is no mask is left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from datumaro.components.annotation import Mask, Polygon, RleMask
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from datumaro_clip.explorer.shapes import masks, polygons
from datumaro_clip.host.codec.annotations import encode_annotation
from datumaro_clip.images.run_lengths import run_lengths
from datumaro_clip.service.described import describe

CLASSES = ["cat", "dog"]


def drawn(shape: dict[str, Any]) -> np.ndarray:
    """A mask as the page draws it: pixels out, in, out …, column by column."""
    is_in = np.arange(len(shape["runs"])) % 2 == 1
    return np.repeat(is_in, shape["runs"]).reshape(shape["size"][::-1]).T


def shown(*annotations: dict[str, Any]) -> list[dict[str, Any]]:
    return masks(describe({"annotations": list(annotations)}, CLASSES), CLASSES)


pixels = hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@given(pixels)
def test_every_kind_of_mask_is_drawn_as_it_is(image: np.ndarray):
    rle = coco_mask.encode(np.asfortranarray(image, dtype=np.uint8))
    kinds = [
        Mask(image, label=1),
        Mask(image.astype(np.uint8) * 255, label=1),
        RleMask(rle, label=1),
        RleMask({**rle, "counts": rle["counts"].decode()}, label=1),
    ]
    for annotation in kinds:
        [shape] = shown(encode_annotation(annotation, None, "x"))
        assert shape["class_name"] == "dog"
        assert (drawn(shape) == image).all()


@given(pixels)
def test_compressed_run_lengths_are_read_as_coco_writes_them(image: np.ndarray):
    counts = coco_mask.encode(np.asfortranarray(image, dtype=np.uint8))["counts"].decode()
    runs = run_lengths(counts)
    assert runs is not None
    assert (drawn({"runs": runs, "size": image.shape}) == image).all()


@pytest.mark.parametrize(
    "annotation",
    [
        {"type": "Mask"},
        {"type": "Mask", "image": {"$": "rle", "size": [2, 2], "v": ""}},
        {"type": "Mask", "image": {"$": "rle", "size": [2, 2], "v": "9"}},
        {"type": "Mask", "image": {"$": "rle", "size": [-2, -2], "v": "4"}},
        {"type": "Mask", "image": {"$": "array", "dtype": "uint8", "shape": [2, 2], "v": "AAA="}},
        {"type": "Mask", "image": {"$": "array", "dtype": "nothing", "shape": [2, 2], "v": "AAAAAA=="}},
        {"type": "Mask", "image": {"$": "array", "dtype": "object", "shape": [2, 2], "v": "AAAAAA=="}},
        {"type": "Mask", "image": {"$": "array", "dtype": "uint8", "shape": [2, 2], "v": "é"}},
        {"type": "RleMask", "rle": {"size": [2, 2], "counts": [1, -1, 4]}},
        {"type": "RleMask", "rle": {"size": [2, 2], "counts": [1, 2]}},
        {"type": "RleMask", "rle": {"size": [2], "counts": [1, 2]}},
        {"type": "RleMask", "rle": 4},
    ],
)
def test_what_is_no_mask_of_its_size_is_left_out(annotation: dict[str, Any]):
    assert shown(annotation, encode_annotation(Mask(np.eye(2, dtype=bool), label=0), None, "x")) == [
        {"size": [2, 2], "runs": [0, 1, 2, 1], "class_name": "cat"}
    ]


def test_outlines_are_corners_with_their_class():
    told = describe({"annotations": [encode_annotation(Polygon([0, 0, 4, 0, 4, 3], label=1), None, "x")]}, CLASSES)
    assert polygons(told, CLASSES) == [{"points": [0, 0, 4, 0, 4, 3], "class_name": "dog"}]
