"""Binary masks as COCO's compressed run lengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from datumaro_clip.errors import StoreCorruptError
from datumaro_clip.host.codec.values import TAG, CodecError, decode_value, encode_array
from datumaro_clip.images.run_lengths import run_lengths

# pycocotools counts pixels in 32 bits.
_MOST_PIXELS = 2**32


def encode_mask(image: npt.NDArray[Any]) -> dict[str, Any]:
    """Return a mask as JSON: run lengths where it is plainly binary, else its bytes."""
    image = np.asarray(image)
    is_binary = image.dtype == bool or (image.dtype.kind in "iu" and bool(np.isin(image, (0, 1)).all()))
    if image.ndim != 2 or not image.size or not is_binary:
        return encode_array(image)
    run_lengths = coco_mask.encode(np.asfortranarray(image, dtype=np.uint8))
    return {TAG: "rle", "size": list(image.shape), "v": run_lengths["counts"].decode()}


def decode_mask(value: Any) -> Callable[[], npt.NDArray[np.bool_]] | npt.NDArray[Any]:
    """Return what a mask is made of: its pixels, or a function that decodes its run lengths when first called."""
    if not isinstance(value, dict) or value.get(TAG) != "rle":
        array: npt.NDArray[Any] = decode_value(value)
        return array
    size, counts = value["size"], value["v"]
    if not _is_size(size) or not isinstance(counts, str):
        raise CodecError(f"a mask of size {size}")
    return partial(_pixels, size, counts)


def _pixels(size: Sequence[int], counts: str) -> npt.NDArray[np.bool_]:
    """Decode run lengths: shape (H, W), bool; :class:`StoreCorruptError` if they do not make (H, W) pixels."""
    _require_fitting(size, counts)
    return np.asarray(coco_mask.decode({"size": list(size), "counts": counts.encode()}), dtype=bool)


def decode_rle(value: Any) -> Callable[[], dict[str, Any]]:
    """Return what an ``RleMask`` is made of: a function that checks its run lengths, and returns them as they were."""
    rle = decode_value(value)
    if not isinstance(rle, dict) or not {"size", "counts"} <= rle.keys() or not _is_size(rle["size"]):
        raise CodecError("an RleMask without size and run lengths")
    return partial(_checked, rle)


def _checked(rle: dict[str, Any]) -> dict[str, Any]:
    counts = rle["counts"]
    if isinstance(counts, str | bytes):
        _require_fitting(rle["size"], counts if isinstance(counts, str) else counts.decode("latin-1"))
    return rle


def _is_size(size: Any) -> bool:
    is_pair = isinstance(size, list | tuple) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)
    return is_pair and size[0] * size[1] < _MOST_PIXELS


def _require_fitting(size: Sequence[int], counts: str) -> None:
    """Raise :class:`StoreCorruptError` unless COCO's compressed run lengths make a mask of a size [H, W].

    pycocotools would write beyond the mask, or leave a part of it as memory was.
    """
    runs = run_lengths(counts)
    if runs is None or runs.sum() != size[0] * size[1]:
        raise StoreCorruptError(f"a mask of the store has run lengths that do not make {size[0]} x {size[1]} pixels")
