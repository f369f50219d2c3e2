"""Decodes pictures: a path, encoded bytes, a PIL image or an array in, RGB out; every failure has a reason."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from threading import Condition, Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from datumaro_clip.errors import ImageError
from datumaro_clip.images.regions import Box, edges_of

ImageLike = str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[Any]

#: Pictures of more pixels, 0.5 GB as RGB, are refused before they are decoded. Pillow refuses them, too (they have
#: twice its ``MAX_IMAGE_PIXELS``); a lower limit here does not change Pillow's global setting.
MAX_PIXELS = 178_956_970

# Pillow runs an outside program (Ghostscript) for this one.
_UNSAFE_FORMATS = frozenset({"EPS"})

# One of these is held while a caller's picture is loaded, chosen by its address, so that few others wait for it.
_LOADING = tuple(Lock() for _ in range(64))

# Pillow's message for a PNG with texts that are longer than it unpacks contains this.
_LONG_TEXT = "MAX_TEXT"
# Pillow cannot convert La directly, and warns when it converts a palette with transparent entries directly.
_BY_WAY_OF = {"La": "LA", "P": "RGBA", "PA": "RGBA"}

_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (FileNotFoundError, "missing"),
    (NotADirectoryError, "missing"),
    (PermissionError, "permission"),
    (Image.DecompressionBombError, "too_large"),
    (MemoryError, "too_large"),
    (EOFError, "truncated"),
)
_SIGNS_OF_TRUNCATION = ("truncated", "broken data stream", "not enough image data", "unexpected end")

# By Pillow's names of formats; an MPO is a JPEG with others behind it.
_ENDINGS = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif"}
_MESSAGES = {
    "missing": "there is no such file; check the path",
    "permission": "it may not be read; check the file's permissions",
    "too_large": f"it has more pixels than can be decoded safely ({MAX_PIXELS:,}); scale it down first",
    "truncated": "the file ends too early; copy or download it again",
    "unreadable": "it is not a picture that Pillow can read; check or convert the file",
}


@contextmanager
def decoded(image: ImageLike, *, target: int | None = None, box: Box | None = None) -> Iterator[Image.Image]:
    """Decode a picture as :func:`decode` does, for the length of a block.

    The pictures of all threads' blocks have at most :data:`MAX_PIXELS` together, as many as the largest picture alone:
    a thread waits before it decodes a picture that would exceed that. Blocks must not be nested.
    """
    with ExitStack() as stack:
        try:
            try:
                rgb = _rgb(image, target if box is None else None, stack)
            except ValueError as exc:
                if _LONG_TEXT not in str(exc):
                    raise
                stack.close()
                rgb = _rgb(_without_texts(image), None, stack)
            rgb = rgb if box is None else rgb.crop(edges_of(box, rgb.size))
        except ImageError as exc:
            raise ImageError(exc.reason, f"{describe(image)}: {exc}") from exc
        except Exception as exc:  # Pillow's readers raise almost any type on a malformed file.
            reason = _reason_of(exc)
            raise ImageError(reason, f"{describe(image)}: {_MESSAGES[reason]}{_detail(exc)}") from exc
        yield rgb


def decode(image: ImageLike, *, target: int | None = None, box: Box | None = None) -> Image.Image:
    """Decode a picture to RGB.

    The result is what Datumaro shows as ``item.media.data``: the first frame, with the pixels as they are stored. An
    EXIF orientation is therefore not applied (TIFF's own orientation is, as in Datumaro). Alpha is dropped and CMYK
    converted as by PIL's ``convert("RGB")``, 16 bits become 8 as by :func:`to_8_bits`, floats from 0 to 1 are scaled,
    others clipped to 0..255.

    Parameters
    ----------
    image : ImageLike
        A path, encoded bytes, a PIL image, or an array of uint8 or uint16: (H, W), (H, W, 1), (H, W, 3) RGB
        or (H, W, 4) RGBA.
    target : int, optional
        The shortest side that is needed, in pixels. A JPEG that is at least twice as large is decoded at 1/2, 1/4 or
        1/8, never below the target; its pixels then differ slightly from a full decode. No effect with ``box``.
    box : tuple of float, optional
        ``(x, y, w, h)`` in pixels: decode only this part, widened to whole pixels and clipped to the picture.

    Returns
    -------
    PIL.Image.Image
        Mode ``RGB``; the caller's own object if that is RGB already, and there is no box.

    Raises
    ------
    ImageError
        If it cannot be decoded; ``reason`` says why.
    """
    with decoded(image, target=target, box=box) as picture:
        return picture


def ending_of(data: bytes) -> str:
    """Return the usual suffix of an encoded picture's format, such as ``.jpg``; the picture must be decodable."""
    with Image.open(BytesIO(data)) as picture:
        kind = picture.format or "img"
    return _ENDINGS.get(kind, f".{kind.lower()}")


def describe(image: object) -> str:
    """Name a picture in a message: by its path, or by its type and size."""
    if isinstance(image, str | os.PathLike):
        return os.fspath(image) or "''"
    if isinstance(image, bytes):
        return f"encoded picture of {len(image)} bytes"
    if isinstance(image, Image.Image):
        return getattr(image, "filename", "") or f"PIL image of {image.width}x{image.height} pixels"
    if isinstance(image, np.ndarray):
        return f"array of shape {image.shape} and type {image.dtype}"
    return f"object of type {type(image).__name__}"


def _rgb(image: ImageLike, target: int | None, stack: ExitStack) -> Image.Image:
    """Return the whole picture in mode ``RGB``; the stack releases its file and its share of the pixels."""
    picture = stack.enter_context(_opened(image))
    if picture.width * picture.height > MAX_PIXELS:
        raise Image.DecompressionBombError(f"{picture.width}x{picture.height} pixels")
    if picture.format in _UNSAFE_FORMATS:
        raise ImageError("unreadable", f"{picture.format} is not decoded; convert it to PNG first")
    if picture is not image and target is not None and (scale := min(picture.size) / target) >= 2:
        # The JPEG decoder halves the picture as often as the target allows; other formats ignore this.
        picture.draft(None, (math.ceil(picture.width / scale), math.ceil(picture.height / scale)))
    stack.enter_context(_turn_for(picture.width * picture.height))
    # Several threads may share a caller's picture; Pillow misreads it if two of them load it at once.
    with _LOADING[id(picture) // 16 % len(_LOADING)] if picture is image else nullcontext():
        has_16_bits = _has_16_bits(picture)
        picture.load()
    if 0 in picture.size:
        raise ImageError("empty", "it has no pixels")
    if has_16_bits and picture.mode in ("RGB", "RGBA") and np.max(picture.getextrema()[:3]) < 1 << 4:
        picture = _reread(image, picture)
    if picture.mode == "RGB":
        return picture
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        return Image.fromarray(to_8_bits(np.asarray(picture))).convert("RGB")
    if picture.mode == "F":
        return Image.fromarray(_floats_to_8_bits(np.asarray(picture))).convert("RGB")
    return picture.convert(_BY_WAY_OF.get(picture.mode, "RGB")).convert("RGB")


def is_deep(image: ImageLike) -> bool:
    """Whether a picture has more than 8 bits a channel, by its header; raises Pillow's errors if it cannot be read."""
    with _opened(image) as picture:
        return picture.mode in ("I", "F") or _has_16_bits(picture)


def size_in_header(image: ImageLike) -> tuple[int, int] | None:
    """Read the size (H, W) of the decoded picture from the header; None if that does not tell."""
    try:
        with _opened(image) as picture:
            # A TIFF is rotated when it is decoded, as its tags say.
            return None if picture.format == "TIFF" or 0 in picture.size else (picture.height, picture.width)
    except Exception:  # Decoding will report the fault; Pillow's readers raise almost any type.
        return None


def _has_16_bits(picture: Image.Image) -> bool:
    return any("16" in str(tile[3]) for tile in getattr(picture, "tile", ()))


def to_8_bits(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Convert values of 16 bits, in any integer type, to 8 bits: the upper byte, as libpng and Pillow do for RGB.

    If no value needs more than 12 bits, or 8, as in the 16-bit files of some cameras and exporters, the upper 8 of them
    are taken: the upper byte would be black.
    """
    largest = int(pixels.max(initial=0))
    shift = 0 if largest < 1 << 8 else 4 if largest < 1 << 12 else 8
    return np.asarray(np.clip(pixels, 0, 0xFFFF) >> shift, dtype=np.uint8)


def _floats_to_8_bits(pixels: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    """Convert floats to 8 bits: scaled by 255 if all are from 0 to 1, else clipped, as Pillow does."""
    if not np.isfinite(pixels).all():
        raise ImageError("unreadable", "it has NaN or infinite pixels; replace them first")
    scaled = np.rint(pixels * 255) if pixels.min() >= 0 and pixels.max() <= 1 else pixels
    return np.asarray(np.clip(scaled, 0, 255), dtype=np.uint8)


def _reread(image: ImageLike, picture: Image.Image) -> Image.Image:
    """Read a picture of 16 bits a channel again, whose upper bytes are nearly black, to use the lower ones.

    Pillow keeps only the upper bytes of pictures with three channels; OpenCV reads both.
    """
    if not isinstance(image, str | os.PathLike | bytes):
        return picture
    import cv2  # Imported here: it takes a tenth of a second, and most runs do not need it.

    data = image if isinstance(image, bytes) else Path(image).read_bytes()
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.shape[:2] != picture.size[::-1] or pixels.ndim != 3:
        return picture
    return Image.fromarray(np.ascontiguousarray(to_8_bits(pixels)[:, :, 2::-1]))


def _without_texts(image: ImageLike) -> bytes:
    """Remove the texts and the colour profile of a PNG, which do not change its pixels.

    Pillow refuses a whole picture if one of them unpacks to more than a megabyte, as those of image generators do.
    """
    data = image if isinstance(image, bytes) else Path(image).read_bytes()  # type: ignore[arg-type]  # a file has texts
    kept, position = [data[:8]], 8
    while position < len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] not in (b"tEXt", b"zTXt", b"iTXt", b"iCCP"):
            kept.append(data[position:end])
        position = end
    return b"".join(kept)


def _opened(image: ImageLike) -> AbstractContextManager[Image.Image]:
    """Open a picture and read its header, but not its pixels yet; on exit, close what was opened here."""
    if isinstance(image, str | os.PathLike):
        return _open_file(os.fspath(image))
    if isinstance(image, bytes):
        if not image:
            raise ImageError("empty", "there are no bytes in it")
        return Image.open(BytesIO(image))
    if isinstance(image, Image.Image):
        return nullcontext(image)
    if isinstance(image, np.ndarray):
        return nullcontext(_from_array(image))
    raise ImageError("unreadable", "wanted a path, bytes, a PIL image or an array")


def _open_file(path: str) -> Image.Image:
    """Open a regular file; refuse pipes and devices, which could block for ever."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a pipe, a socket or a device"
        raise ImageError("not_a_file", f"it is {kind}, wanted a picture's file")
    if status.st_size == 0:
        raise ImageError("empty", "the file is empty; copy or download it again")
    return Image.open(path)


def _from_array(array: npt.NDArray[Any]) -> Image.Image:
    """Convert an array to a picture."""
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise ImageError("unreadable", "wanted shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)")
    if array.size == 0:
        raise ImageError("empty", "it has no pixels")
    if array.dtype not in (np.uint8, np.uint16):
        raise ImageError("unreadable", "wanted uint8 or uint16; scale to 0..255 and convert with astype('uint8')")
    pixels = array if array.dtype == np.uint8 else to_8_bits(array)
    return Image.fromarray(pixels[:, :, 0] if pixels.ndim == 3 and channels == 1 else pixels)


class _Turns:
    """Lets threads decode at the same time while their pixels together stay within a bound; any picture alone may."""

    def __init__(self, most: int) -> None:
        self._most, self._taken, self._changed = most, 0, Condition()

    @contextmanager
    def __call__(self, pixels: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + pixels <= self._most)
            self._taken += pixels
        try:
            yield
        finally:
            with self._changed:
                self._taken -= pixels
                self._changed.notify_all()


_turn_for = _Turns(MAX_PIXELS)


def _reason_of(exc: Exception) -> str:
    """Return the reason that an exception is counted under."""
    if not isinstance(exc, UnidentifiedImageError) and any(s in str(exc).lower() for s in _SIGNS_OF_TRUNCATION):
        return "truncated"
    return next((reason for kind, reason in _REASONS if isinstance(exc, kind)), "unreadable")


def _detail(exc: Exception) -> str:
    """Return the exception's text to add to our message; nothing if it only repeats the picture's name."""
    known = isinstance(exc, UnidentifiedImageError | FileNotFoundError | PermissionError)
    return "" if known or not str(exc) else f" ({exc})"
