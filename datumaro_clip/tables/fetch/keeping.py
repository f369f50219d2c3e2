"""Checking a downloaded picture, encoding it anew if asked for, and writing it."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

from PIL import Image

from datumaro_clip.errors import ImageError
from datumaro_clip.images import decode
from datumaro_clip.images.decoding import ending_of
from datumaro_clip.system.files import atomic_write

_PER_FOLDER = 10_000
_QUALITY = 95


def keep_picture(
    data: bytes, directory: Path, row: int, *, longest: int | None = None, ending: str | None = None
) -> dict[str, Any]:
    """Write a picture to ``images/``; it is on the disk when this returns.

    Parameters
    ----------
    data : bytes
    directory : Path
    row : int
        The row's number, of which its name is made.
    longest : int, optional
        The longest side: a larger picture is scaled down.
    ending : str, optional
        The format to encode it in, as ``.webp``.

    Returns
    -------
    dict
        ``path`` relative to the directory, ``sha256``, ``bytes``, ``width``, ``height``.

    Raises
    ------
    ImageError
        If it is no picture, or it is cut off.
    """
    picture = decode(data)
    own = ending_of(data)
    too_large = longest is not None and max(picture.size) > longest
    if too_large or ending not in (None, own):
        own = ending or (own if own in (".jpg", ".png", ".webp") else ".png")
        picture, data = _encoded(picture, longest if too_large else None, own)
    name = f"images/{row // _PER_FOLDER:05d}/{row:09d}{own}"
    with atomic_write(directory / name) as file:
        file.write(data)
    digest = hashlib.sha256(data).hexdigest()
    return {"path": name, "sha256": digest, "bytes": len(data), "width": picture.width, "height": picture.height}


def _encoded(picture: Image.Image, longest: int | None, ending: str) -> tuple[Image.Image, bytes]:
    if longest is not None:
        picture = picture.copy()
        picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    try:
        picture.save(out, Image.registered_extensions()[ending.lower()], quality=_QUALITY)
    except (KeyError, OSError, ValueError) as exc:
        raise ImageError("unreadable", f"it cannot be written as {ending}: {exc}") from exc
    return picture, out.getvalue()
