"""Polygons and masks of a record, as the page draws them over its picture."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from datumaro_clip.images.run_lengths import run_lengths
from datumaro_clip.service.described import Described, class_of
from datumaro_clip.similarity.scores import IndexArray

# No picture has a mask of more pixels.
_MOST_PIXELS = 1 << 28
_FLAT_KINDS = "biuf"

Json = dict[str, Any]


def polygons(told: Described, class_names: Sequence[str]) -> list[Json]:
    """Return the polygons, each as its corners x, y in pixels."""
    return [
        {"points": annotation["points"], "class_name": class_of(annotation, class_names) or ""}
        for annotation in told.annotations
        if annotation.get("type") == "Polygon" and isinstance(annotation.get("points"), list)
    ]


def masks(told: Described, class_names: Sequence[str]) -> list[Json]:
    """Return the masks, each as its size [H, W] and run lengths: pixels out, in, out …, column by column.

    A damaged mask is left out; ``datum-clip verify`` names it.
    """
    found = []
    for annotation in told.annotations:
        try:
            mask = _mask(annotation)
        except (ValueError, TypeError, OverflowError):  # No base64, no dtype, or a run of more than 64 bits.
            mask = None
        if mask is not None:
            height, width, runs = mask
            if min(height, width) > 0 and runs.sum() == height * width:
                name = class_of(annotation, class_names) or ""
                found.append({"size": [height, width], "runs": runs.tolist(), "class_name": name})
    return found


def _mask(annotation: Mapping[str, Any]) -> tuple[int, int, IndexArray] | None:
    """Read the height, width and run lengths of a mask; None of any other annotation, and of a damaged mask."""
    match annotation:
        case {"type": "Mask", "image": {"$": "rle", "size": [int(height), int(width)], "v": str(counts)}}:
            runs = run_lengths(counts)
        case {"type": "Mask", "image": {"$": "array", "dtype": str(dtype), "shape": [int(height), int(width)], "v": v}}:
            runs = _runs_of(dtype, (height, width), v)
        case {"type": "RleMask", "rle": {"size": [int(height), int(width)] | {"v": [int(height), int(width)]}} as rle}:
            match rle.get("counts"):
                case [*plain]:
                    is_valid = all(isinstance(run, int) and run >= 0 for run in plain)
                    runs = np.array(plain, np.int64) if is_valid else None
                case {"$": "bytes", "v": data}:
                    runs = run_lengths(base64.b64decode(data).decode("latin-1"))
                case text:
                    runs = run_lengths(str(text))
        case _:
            return None
    return None if runs is None else (height, width, runs)


def _runs_of(dtype: str, shape: tuple[int, int], data: str) -> IndexArray | None:
    """Return the run lengths of an array whose pixels are in where they are not zero."""
    kind = np.dtype(dtype)
    content = base64.b64decode(data)
    pixels = shape[0] * shape[1]
    if kind.kind not in _FLAT_KINDS or not 0 < pixels < _MOST_PIXELS or len(content) != pixels * kind.itemsize:
        return None
    columns = np.frombuffer(content, kind).reshape(shape).T.ravel() != 0
    changes = np.flatnonzero(np.diff(columns, prepend=False))
    return np.diff(np.concatenate([[0], changes, [pixels]]))
