"""Read single files inside uncompressed tar archives."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from datumaro_clip.errors import ImageError

_HEADER_BYTES = 512


@dataclass(frozen=True)
class ArchiveMember:
    """The place of a file in an uncompressed tar archive; calling it returns the file's bytes.

    Attributes
    ----------
    root : str
        The directory that ``archive`` is relative to.
    archive : str
        Path of the archive below ``root``, with slashes.
    offset : int
        Position of the member's first byte in the archive, at least 512 (``TarInfo.offset_data``).
    length : int
        Number of the member's bytes.
    member : str
        The member's name in the archive.
    """

    root: str
    archive: str
    offset: int
    length: int
    member: str

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> ArchiveMember:
        """Parse the member that a payload names.

        Raises
        ------
        ValueError
            If a key is missing or of the wrong type, or the archive does not lie below the root.
        """
        try:
            member = cls(**value)
        except TypeError as exc:
            raise ValueError(f"a member of an archive that cannot be: {value}") from exc
        is_text = all(type(text) is str and "\0" not in text for text in (member.root, member.archive, member.member))
        is_place = all(type(n) is int for n in (member.offset, member.length))
        if not (is_text and is_place and member.offset >= _HEADER_BYTES and member.length >= 0):
            raise ValueError(f"a member of an archive that cannot be: {value}")
        if {"", ".", ".."} & set(member.archive.split("/")):
            raise ValueError(f"an archive that is not below its root: {value}")
        return member

    @property
    def path(self) -> str:
        """The archive's path."""
        return os.path.join(self.root, *self.archive.split("/"))

    def __call__(self) -> bytes:
        """Read the member's bytes.

        Raises
        ------
        ImageError
            With the reason ``missing``, ``not_a_file``, ``permission``, or ``truncated`` if the archive ends before the
            member does.
        """
        with self._opened() as file:
            file.seek(self.offset)
            return file.read(self.length)

    def check(self) -> None:
        """Raise what reading would raise, or :class:`ImageError` if another member is in this place."""
        with self._opened() as file:
            file.seek(self.offset - _HEADER_BYTES)
            try:
                found = tarfile.TarInfo.frombuf(file.read(_HEADER_BYTES), "utf-8", "surrogateescape")
            except tarfile.HeaderError as exc:
                raise ImageError("unreadable", f"{self}: no member begins there; import the archive again") from exc
        # A long name, or one that is not ASCII, is in an earlier header; this one has only its beginning.
        if found.size != self.length or (self.member.isascii() and not self.member.startswith(found.name)):
            raise ImageError("unreadable", f"{self}: {found.name} is there instead; import the archive again")

    def __str__(self) -> str:
        return f"{self.member} in {self.path}"

    def _opened(self) -> BinaryIO:
        try:
            status = os.stat(self.path)
            if not stat.S_ISREG(status.st_mode):
                raise ImageError("not_a_file", f"{self}: the archive is no regular file")
            if status.st_size < self.offset + self.length:
                raise ImageError("truncated", f"{self}: the archive ends too early; copy or download it again")
            return open(self.path, "rb")
        except PermissionError as exc:
            raise ImageError("permission", f"{self}: the archive may not be read; check its permissions") from exc
        except OSError as exc:
            raise ImageError("missing", f"{self}: there is no such archive; check the path") from exc
