"""Where the picture of an item is, and whether the service may show it: by its record, never by a path in a URL."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from datumaro_clip.errors import DatumaroClipError, ImageError, StoreCorruptError
from datumaro_clip.images import ImageLike, decode
from datumaro_clip.store import ArchiveMember, media_path
from datumaro_clip.store.media import FOLDER
from datumaro_clip.system.files import is_safe_relative

# First bytes of the files that browsers show; anything else, SVG above all, is not sent as a picture.
_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
)
_HEAD = 16


class NotServedError(DatumaroClipError, LookupError):
    """A picture that the service does not show.

    Parameters
    ----------
    reason : str
        A word for the metrics: ``no_picture``, ``not_saved`` (its place is below no media root), ``missing``,
        ``not_a_picture``.
    message : str
        One sentence with the cure.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Picture:
    """A picture that may be shown.

    Attributes
    ----------
    name : str
        Its file name.
    source : Path or ArchiveMember
    """

    name: str
    source: Path | ArchiveMember

    @property
    def tag(self) -> str:
        """A hash of place, size and time, 32 hexadecimal digits, which changes whenever the bytes may have changed."""
        path = self.source.path if isinstance(self.source, ArchiveMember) else self.source
        try:
            status = os.stat(path)
        except OSError as exc:
            raise NotServedError("missing", "the picture is gone; put it back in its place") from exc
        facts = (str(self.source), status.st_size, status.st_mtime_ns)
        return hashlib.sha256(repr(facts).encode("utf-8", "surrogatepass")).hexdigest()[:32]

    @property
    def content(self) -> ImageLike:
        """The picture, as :func:`datumaro_clip.images.decode` takes it."""
        if isinstance(self.source, ArchiveMember):
            return self.source()
        if self.source.suffix == ".npy":
            return np.array(np.load(self.source, mmap_mode="r", allow_pickle=False))
        return self.source

    def read(self) -> tuple[bytes | Path, str]:
        """Return the picture's bytes, or the file that has them, and their media type; an array becomes a PNG.

        Raises
        ------
        NotServedError
            If it is not there, or of a kind that browsers do not show.
        """
        try:
            if isinstance(self.source, Path) and self.source.suffix == ".npy":
                buffer = io.BytesIO()
                decode(self.content).save(buffer, "PNG")
                return buffer.getvalue(), "image/png"
            if isinstance(self.source, ArchiveMember):
                self.source.check()
                data = self.source()
                return data, _kind(data[:_HEAD], self.name)
            with open(self.source, "rb") as file:
                return self.source, _kind(file.read(_HEAD), self.name)
        except (OSError, ValueError) as exc:
            reason = exc.reason if isinstance(exc, ImageError) else "missing"
            raise NotServedError(reason, "the picture cannot be read any more; put it back in its place") from exc


class Pictures:
    """Finds pictures by records, inside the stores and the media roots.

    Parameters
    ----------
    media_roots : sequence of Path
    """

    def __init__(self, media_roots: Sequence[Path]) -> None:
        self._roots = [Path(os.path.realpath(root)) for root in media_roots]

    def name(self, store: Path, media: Mapping[str, Any]) -> str | None:
        """Return the file name of a record's picture; None if it may not be shown.

        Quicker than :meth:`find`, which checks again when the picture is sent: links inside the store are not followed.
        """
        file = media.get("file")
        if media.get("type") == "image" and isinstance(file, str) and is_safe_relative(file):
            is_there = file.startswith(f"{FOLDER}/") and os.path.isfile(store / file)
            return file.rpartition("/")[2] if is_there else None
        try:
            return self.find(store, media).name
        except NotServedError:
            return None

    def find(self, store: Path, media: Mapping[str, Any]) -> Picture:
        """Find the picture of a record.

        Parameters
        ----------
        store : Path
            The store's directory.
        media : mapping
            The record's ``media``.

        Raises
        ------
        NotServedError
            If there is none, or it may not be shown.
        """
        if media.get("type") not in ("image", "roi_image"):
            raise NotServedError("no_picture", "this item has no picture")
        if isinstance(media.get("archive"), dict):
            try:
                member = ArchiveMember.parse(media["archive"])
                member.check()
            except (ValueError, OSError) as exc:
                raise NotServedError("missing", "the picture's tar file is gone; put it back in its place") from exc
            return Picture(PurePosixPath(member.member).name, member)
        if isinstance(media.get("file"), str):
            try:
                return _present(media_path(store, media["file"]))
            except StoreCorruptError as exc:
                reason = "the store names a picture outside itself, which is not shown"
                raise NotServedError("not_saved", reason) from exc
        if not isinstance(media.get("path"), str):
            raise NotServedError("no_picture", "the store has no picture of this item; save it with --save-media")
        path = Path(os.path.realpath(media["path"]))
        if not any(path.is_relative_to(root) for root in self._roots):
            raise NotServedError(
                "not_saved",
                "this picture is not saved in the store; export it with --save-media, or start the service with "
                "--media-root",
            )
        return _present(path)


def _present(path: Path) -> Picture:
    if not path.is_file():
        raise NotServedError("missing", "the picture's file is gone; put it back in its place")
    return Picture(path.name, path)


def _kind(head: bytes, name: str) -> str:
    """Return the media type of a file by its first bytes."""
    for start, kind in _KINDS:
        if head.startswith(start):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    raise NotServedError(
        "not_a_picture", f"the file of this item ({PurePosixPath(name).suffix or 'no suffix'}) is no picture"
    )
