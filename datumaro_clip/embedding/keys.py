"""Keys of the vector cache: digests of everything that a vector depends on."""

from __future__ import annotations

import hashlib
import os
import stat

import numpy as np
from PIL import Image

from datumaro_clip.errors import ImageError
from datumaro_clip.images import ImageLike, Region, decode
from datumaro_clip.system.files import blake2b_bytes, blake2b_file, reading_picture
from datumaro_clip.vectors import Provenance

# Change this name whenever a change in decoding or preprocessing changes vectors.
_SCHEME = b"datumaro-clip vector 1"
# The first bytes of a file, which show its format and the bit depth of a PNG.
_HEAD = 25


def content_digest(image: ImageLike) -> bytes:
    """Return the BLAKE2b-256 of a picture: of the file's bytes, or of pixels with their shape.

    Parameters
    ----------
    image : ImageLike
        A path, encoded bytes, a PIL image or an array.

    Returns
    -------
    bytes
        32 bytes, the same for a path and for the file's bytes.

    Raises
    ------
    ImageError
        If there is no regular file, it may not be read, or a PIL image cannot be decoded.
    """
    if isinstance(image, bytes):
        return _read_anew(blake2b_bytes(image)) if _may_be_deep(image[:_HEAD]) else blake2b_bytes(image)
    if isinstance(image, str | os.PathLike):
        return _file_digest(os.fspath(image))
    if isinstance(image, Image.Image):
        image = np.asarray(decode(image))
    if isinstance(image, np.ndarray):
        header = f"{image.dtype.str} {image.shape} ".encode()
        digest = blake2b_bytes(header + np.ascontiguousarray(image).tobytes())
        return digest if image.dtype == np.uint8 else _read_anew(digest)
    raise ImageError("unreadable", f"object of type {type(image).__name__} is not a picture")


def _may_be_deep(head: bytes) -> bool:
    """Return whether a file, by its first bytes, may have more than 8 bits in a channel, as most formats may."""
    if head.startswith(b"\x89PNG"):
        return head[24:25] == b"\x10"
    return not head.startswith((b"\xff\xd8", b"GIF8", b"BM", b"RIFF"))


def _read_anew(digest: bytes) -> bytes:
    """Return another digest for deep pictures, whose pixels changed when scaling by their range was introduced."""
    return blake2b_bytes(b"scaled by what it holds" + digest)


def text_digest(text: str) -> bytes:
    """Return the BLAKE2b-256 of a text, which differs from that of a file with the same bytes."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32, person=b"text").digest()


def vector_key(
    content: bytes, provenance: Provenance, part: Region | None = None, *, exact_decode: bool = False
) -> bytes:
    """Return the key of a vector: a digest of 32 bytes over everything that it depends on.

    Parameters
    ----------
    content : bytes
        :func:`content_digest` or :func:`text_digest`.
    provenance : Provenance
        Its space and precision count; its device does not.
    part : Region, optional
        The part of the picture that is embedded, if not all of it.
    exact_decode : bool
        Whether large JPEGs are decoded whole, as they always are for a part; scaled decoding changes vectors slightly.
    """
    cut = b"" if part is None else part.identity
    parts = [_SCHEME, content, provenance.space.fingerprint.encode(), provenance.precision.encode(), cut]
    state = hashlib.blake2b(bytes([exact_decode or part is not None]), digest_size=32)
    for each in parts:
        state.update(len(each).to_bytes(8, "little") + each)
    return state.digest()


def source_digest(content: bytes, part: Region) -> str:
    """Return the SHA-256, hexadecimal, of a picture and a part of it, whatever encoder embeds it."""
    return hashlib.sha256(content + part.identity).hexdigest()


def _file_digest(path: str) -> bytes:
    """Digest a regular file; a pipe or a device, which could block for ever, is refused without opening it."""
    with reading_picture(path):
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ImageError("not_a_file", f"{path}: it is no regular file, wanted a picture's file")
        digest = blake2b_file(path)
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    return _read_anew(digest) if _may_be_deep(head) else digest
