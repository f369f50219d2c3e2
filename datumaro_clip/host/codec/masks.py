"""Binary masks as COCO's compressed run lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from datumaro_clip.host.codec.values import TAG, CodecError, decode_value, encode_array


@dataclass(frozen=True)
class RunLengths:
    """A mask that is decoded when called: shape (H, W), bool."""

    size: tuple[int, int]
    counts: str

    def __call__(self) -> npt.NDArray[np.bool_]:
        """The mask's pixels."""
        pixels = coco_mask.decode({"size": list(self.size), "counts": self.counts.encode()})
        return np.asarray(pixels, dtype=bool)


def encode_mask(image: npt.NDArray[Any]) -> dict[str, Any]:
    """A mask's pixels; run lengths where it is plainly binary, its bytes else."""
    image = np.asarray(image)
    is_binary = image.dtype == bool or (image.dtype.kind in "iu" and bool(np.isin(image, (0, 1)).all()))
    if image.ndim != 2 or not image.size or not is_binary:
        return encode_array(image)
    run_lengths = coco_mask.encode(np.asfortranarray(image, dtype=np.uint8))
    return {TAG: "rle", "size": list(image.shape), "v": run_lengths["counts"].decode()}


def decode_mask(value: Any) -> RunLengths | npt.NDArray[Any]:
    """What a mask is made of: run lengths, decoded when first looked at, or its pixels."""
    if not isinstance(value, dict) or value.get(TAG) != "rle":
        array: npt.NDArray[Any] = decode_value(value)
        return array
    size = tuple(value["size"])
    if len(size) != 2 or not all(isinstance(side, int) and 0 < side < 2**31 for side in size):
        raise CodecError(f"a mask of size {size}")
    return RunLengths(size, value["v"])
