"""Polygons and masks of a record, as the page draws them over its picture."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from datumaro_clip.images.run_lengths import run_lengths
from datumaro_clip.service.described import Described, class_of

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
        read = {"Mask": _pixels, "RleMask": _counts}.get(str(annotation.get("type")))
        try:
            mask = read(annotation) if read else None
        except (ValueError, TypeError):  # No base64, or no dtype.
            mask = None
        if mask is not None and min(mask[0]) > 0 and mask[1].sum() == mask[0][0] * mask[0][1]:
            name = class_of(annotation, class_names) or ""
            found.append({"size": list(mask[0]), "runs": mask[1].tolist(), "class_name": name})
    return found


_Mask = tuple[tuple[int, int], npt.NDArray[np.int64]]


def _pixels(annotation: Mapping[str, Any]) -> _Mask | None:
    """Read a ``Mask``: run lengths, or an array whose pixels are in where they are not zero."""
    image = annotation.get("image")
    match image:
        case {"$": "rle", "size": [int(height), int(width)], "v": str(counts)}:
            runs = run_lengths(counts)
        case {"$": "array", "dtype": str(dtype), "shape": [int(height), int(width)], "v": str(data)}:
            runs = _runs_of(dtype, (height, width), data)
        case _:
            return None
    return None if runs is None else ((height, width), runs)


def _counts(annotation: Mapping[str, Any]) -> _Mask | None:
    """Read an ``RleMask``: compressed run lengths as text or bytes, or plain ones."""
    match annotation.get("rle"):
        case {"size": [int(height), int(width)] | {"v": [int(height), int(width)]}, "counts": counts}:
            pass
        case _:
            return None
    if isinstance(counts, Mapping) and counts.get("$") == "bytes":
        counts = base64.b64decode(str(counts.get("v"))).decode("latin-1")
    if isinstance(counts, list):
        is_plain = all(isinstance(run, int) and run >= 0 for run in counts)
        runs = np.array(counts, np.int64) if is_plain else None
    else:
        runs = run_lengths(str(counts))
    return None if runs is None else ((height, width), runs)


def _runs_of(dtype: str, shape: tuple[int, int], data: str) -> npt.NDArray[np.int64] | None:
    kind = np.dtype(dtype)
    content = base64.b64decode(data)
    pixels = shape[0] * shape[1]
    if kind.kind not in _FLAT_KINDS or not 0 < pixels < _MOST_PIXELS or len(content) != pixels * kind.itemsize:
        return None
    columns = np.frombuffer(content, kind).reshape(shape).T.ravel() != 0
    changes = np.flatnonzero(np.diff(columns, prepend=False))
    return np.diff(np.concatenate([[0], changes, [pixels]]))
