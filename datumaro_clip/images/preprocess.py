"""Preprocesses pictures as a model's own processor does, by its configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from datumaro_clip.errors import ModelFormatError
from datumaro_clip.images.decoding import ImageLike, decoded
from datumaro_clip.images.regions import Box
from datumaro_clip.images.resampling import resize_window
from datumaro_clip.system.files import read_json

# Steps of transformers' processors that no CLIP-like model uses and that would change the pixels.
_UNSUPPORTED_STEPS = ("do_pad", "do_flip_channel_order", "do_thumbnail", "do_align_long_axis")
_DEFAULT_RESAMPLE = Image.Resampling.BICUBIC
_DEFAULT_RESCALE = 1 / 255

#: Longest side, in pixels, that a model's pictures may have; no known model takes more than half as many.
MAX_SIDE = 2048

Channels = tuple[float, float, float]
CropRounding = Literal["down", "half_to_even"]


@dataclass(frozen=True)
class Preprocessing:
    """Resizes and crops as the model's own processor does; normalisation is part of the model's graph.

    Attributes
    ----------
    resize : int, tuple of int, or None
        Pixels of the shortest edge, keeping the aspect ratio; or exactly (H, W); or not resized.
    crop : tuple of int, or None
        (H, W) cut from the centre, padded with black where the picture is smaller.
    mean, std : tuple of float
        Per channel R, G, B, applied after rescaling: ``(pixel * rescale_factor - mean) / std``.
    rescale_factor : float
        Usually 1/255.
    resample : PIL.Image.Resampling
        Filter of the resize.
    crop_rounding : str
        How half of an odd number of pixels to cut off is rounded, left of and above the crop: ``down``, as
        transformers does, or ``half_to_even``, as torchvision's ``center_crop`` and so OpenCLIP do.
    """

    resize: int | tuple[int, int] | None
    crop: tuple[int, int] | None
    mean: Channels = (0.0, 0.0, 0.0)
    std: Channels = (1.0, 1.0, 1.0)
    rescale_factor: float = _DEFAULT_RESCALE
    resample: Image.Resampling = _DEFAULT_RESAMPLE
    crop_rounding: CropRounding = "down"

    def __post_init__(self) -> None:
        if self.crop is None and not isinstance(self.resize, tuple):
            raise ModelFormatError("the processor's configuration fixes no picture size: no crop, no exact resize")
        if any(np.min(size) < 1 for size in (self.resize, self.crop) if size is not None):
            raise ModelFormatError(f"the processor's size {self.resize} or crop {self.crop} has a side without pixels")
        if any(np.max(size) > MAX_SIDE for size in (self.resize, self.crop) if size is not None):
            raise ModelFormatError(
                f"the processor's size {self.resize} or crop {self.crop} has a side of more than {MAX_SIDE} pixels"
            )
        if 0.0 in self.std:
            raise ModelFormatError("the processor's deviation is zero")
        if not self.rescale_factor > 0:
            raise ModelFormatError(f"the processor's rescale_factor is {self.rescale_factor}, wanted one above zero")

    @classmethod
    def from_file(cls, path: Path) -> Preprocessing:
        """Read a ``preprocessor_config.json``.

        Raises
        ------
        ModelFormatError
            If it cannot be read, or needs a step that is not supported.
        """
        try:
            return cls.from_config(read_json(path))
        except (OSError, ValueError) as exc:
            raise ModelFormatError(f"{path}: {exc}; copy the model's own there") from exc

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Preprocessing:
        """Read the mapping that transformers' ``CLIPImageProcessor`` and ``SiglipImageProcessor`` write.

        Raises
        ------
        ModelFormatError
            If it lacks something, has impossible values, or needs a step that is not supported.
        """
        if not isinstance(config, Mapping):
            raise ModelFormatError("the processor's configuration is not a mapping")
        unsupported = [step for step in _UNSUPPORTED_STEPS if config.get(step)]
        if unsupported:
            raise ModelFormatError(f"the processor's step {unsupported[0]} is not supported")
        rounding, known = config.get("crop_rounding", "down"), get_args(CropRounding)
        if rounding not in known:
            # A key of this library's own, which transformers does not write.
            raise ModelFormatError(f"the processor's crop_rounding {rounding!r} is none of {', '.join(known)}")
        kind = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "")
        try:
            factor = config.get("rescale_factor", _DEFAULT_RESCALE) if config.get("do_rescale", True) else 1.0
            normalises = config.get("do_normalize", True)
            mean = _channels(config["image_mean"]) if normalises else (0.0, 0.0, 0.0)
            crop = _size(config["crop_size"]) if config.get("do_center_crop", kind.startswith("CLIP")) else None
            return cls(
                resize=_size(config["size"]) if config.get("do_resize", True) else None,
                crop=(crop, crop) if isinstance(crop, int) else crop,
                mean=mean,
                std=_channels(config["image_std"]) if normalises else (1.0, 1.0, 1.0),
                rescale_factor=_number(factor, "rescale_factor"),
                resample=Image.Resampling(config.get("resample", _DEFAULT_RESAMPLE)),
                crop_rounding=rounding,
            )
        except KeyError as exc:
            raise ModelFormatError(f"the processor's configuration lacks {exc}") from exc
        except ModelFormatError:
            raise
        except ValueError as exc:
            raise ModelFormatError(f"the processor's resample {config['resample']!r} is no filter of Pillow's") from exc

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the result, whatever the picture."""
        return self.crop or self.resize  # type: ignore[return-value]  # __post_init__ leaves nothing else

    @property
    def decode_target(self) -> int:
        """The shortest side, in pixels, that scaled decoding must leave: twice the size of the resize.

        The filter of the resize removes finer detail, and with it most of what scaled decoding changes.
        """
        wanted = self.resize or self.size
        return 2 * (wanted if isinstance(wanted, int) else max(wanted))

    def read(self, image: ImageLike, *, box: Box | None = None, exact: bool = False) -> npt.NDArray[np.uint8]:
        """Decode, resize and crop a picture: all pictures reach an encoder in this way.

        Parameters
        ----------
        image : ImageLike
            As :func:`~datumaro_clip.images.decode` takes it.
        box : tuple of float, optional
            ``(x, y, w, h)`` in pixels: use only this part.
        exact : bool
            Decode a large JPEG whole instead of scaled to :attr:`decode_target`.

        Returns
        -------
        numpy.ndarray
            Shape (H, W, 3), uint8, RGB.

        Raises
        ------
        ImageError
            If it cannot be decoded.
        """
        with decoded(image, target=None if exact else self.decode_target, box=box) as picture:
            return self(picture)

    def __call__(self, picture: Image.Image) -> npt.NDArray[np.uint8]:
        """Resize and crop a picture of mode ``RGB``.

        Returns
        -------
        numpy.ndarray
            Shape (H, W, 3), uint8, RGB.
        """
        width, height = self._resized(picture)
        left, top = self._margin(width - self.size[1]), self._margin(height - self.size[0])
        window = (max(left, 0), max(top, 0), min(left + self.size[1], width), min(top + self.size[0], height))
        part = resize_window(picture, (width, height), window, self.resample)
        if part.shape[:2] == self.size:
            return part
        pixels = np.zeros((*self.size, 3), np.uint8)
        pixels[max(-top, 0) :, max(-left, 0) :][: part.shape[0], : part.shape[1]] = part
        return pixels

    def _margin(self, spare: int) -> int:
        """Return how many of the ``spare`` pixels to cut off before the crop, the rest being behind it."""
        return spare // 2 if self.crop_rounding == "down" else round(spare / 2)

    def _resized(self, picture: Image.Image) -> tuple[int, int]:
        """Return (W, H) of the picture after the resize, before the crop."""
        if self.resize is None:
            return picture.size
        if isinstance(self.resize, tuple):
            return self.resize[1], self.resize[0]
        width, height = picture.size
        long = int(self.resize * max(width, height) / min(width, height))
        return (self.resize, long) if width <= height else (long, self.resize)


def _size(size: int | Mapping[str, int]) -> int | tuple[int, int]:
    """Read a size as transformers writes it: an int (once the shortest edge), that edge, or height and width."""
    if isinstance(size, int):
        return size
    keys = set(size) if isinstance(size, Mapping) else set()
    if keys == {"shortest_edge"}:
        return int(_number(size["shortest_edge"], "size"))
    if keys != {"height", "width"}:
        raise ModelFormatError(f"the processor's size {size!r} is neither a shortest edge nor height and width")
    return int(_number(size["height"], "size")), int(_number(size["width"], "size"))


def _channels(values: Sequence[float]) -> Channels:
    """Read a number for each of R, G and B."""
    try:
        red, green, blue = (_number(value, "channel") for value in values)
    except (TypeError, ValueError) as exc:
        raise ModelFormatError(f"the processor's mean or deviation {values!r} is not 3 numbers") from exc
    return red, green, blue


def _number(value: Any, name: str) -> float:
    """Read a finite number; ``name`` is for the error."""
    with suppress(OverflowError, TypeError, ValueError):
        if math.isfinite(number := float(value)):
            return number
    raise ModelFormatError(f"the processor's {name} {value!r} is not a finite number")
