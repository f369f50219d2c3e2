"""The media folder: pictures and other media as files inside a store."""

from __future__ import annotations

import filecmp
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

from datumaro_clip.errors import StoreCorruptError, StoreWriteError
from datumaro_clip.store.base import write_errors
from datumaro_clip.system.files import copy_picture, is_safe_relative, safe_file_name, temporary_sibling

FOLDER = "media"

# With longer relative names, a path may exceed the limit of 4,096 bytes.
_LONGEST_NAME = 1024
_REMEMBERED = 256
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,8}")


def media_path(root: Path, reference: str) -> Path:
    """Return the path of the file that a payload's ``file`` names.

    Raises
    ------
    StoreCorruptError
        If it lies outside the store's media folder, by its name or through a link.
    """
    path = root / reference
    if not is_safe_relative(reference) or not reference.startswith(f"{FOLDER}/") or not _stays_inside(root, path):
        raise StoreCorruptError(f"a medium of the store {root} is called {reference!r}, which is not inside {FOLDER}/")
    return path


def _stays_inside(root: Path, path: Path) -> bool:
    """Return whether a path is inside the media folder, links followed."""
    folder = os.path.join(os.path.realpath(root), FOLDER)
    return os.path.realpath(path).startswith(folder + os.sep)


class MediaFolder:
    """The media of one write: copies files and bytes, never over another file; equal ones of one name only once.

    Parameters
    ----------
    root : Path
        The store.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._is_new: dict[str, bool] = {}
        self._synced: set[str] = set()
        self._remembered: dict[Path, str] = {}

    def add_file(self, source: Path, name: str) -> str:
        """Copy a file, unless it is in this store already.

        Parameters
        ----------
        source : Path
        name : str
            Its name below the media folder; slashes make directories, anything unsafe is replaced.

        Returns
        -------
        str
            The reference for a payload.

        Raises
        ------
        ImageError
            If the source cannot be read; nothing of it is kept, and other files can be added.
        StoreWriteError
            If the store cannot be written.
        """
        source = source.absolute()
        inside = self.find(source)
        if inside is not None:
            return inside
        if source not in self._remembered:
            if len(self._remembered) == _REMEMBERED:
                self._remembered.clear()
            self._remembered[source] = self._add(name, lambda path: copy_picture(source, path))
        return self._remembered[source]

    def adopt(self, store: Path, *, link: bool) -> dict[str, str]:
        """Take over all media of another store; return the new references of those that had to be renamed.

        Parameters
        ----------
        store : Path
        link : bool
            Hard-link the files if the system can; otherwise copy them.
        """
        renamed = {}
        for directory, _, names in os.walk(store / FOLDER):
            for name in sorted(names):
                source = Path(directory, name)
                reference = source.relative_to(store).as_posix()
                if not is_safe_relative(reference) or not _stays_inside(store, source) or not source.is_file():
                    continue
                taken = self._add(reference.partition("/")[2], partial(link_or_copy, source, link=link))
                self._synced.add(taken)
                if taken != reference:
                    renamed[reference] = taken
        return renamed

    def find(self, source: Path) -> str | None:
        """Return the reference of a file that is in this store already, and mark it as used; None for other files."""
        folder = self._root.absolute() / FOLDER
        if not source.is_relative_to(folder) or not source.is_file():
            return None
        reference = f"{FOLDER}/{source.relative_to(folder).as_posix()}"
        if not is_safe_relative(reference) or not _stays_inside(self._root, source):
            return None
        self._is_new.setdefault(reference, False)
        return reference

    def add_bytes(self, data: bytes, name: str) -> str:
        """Keep bytes as a file; as :meth:`add_file`."""
        return self._add(name, lambda path: path.write_bytes(data))

    def sync(self) -> None:
        """Sync every new file to the disk."""
        for reference in self._new():
            if reference not in self._synced:
                with (self._root / reference).open("rb+") as file:
                    os.fsync(file.fileno())

    def discard(self) -> None:
        """Remove every new file, and directories that become empty."""
        for reference in self._new():
            with suppress(OSError):
                (self._root / reference).unlink()
                for directory in Path(reference).parents[:-1]:
                    (self._root / directory).rmdir()

    def remove_others(self) -> None:
        """Remove the files of the media folder that this write did not use; if the folder is a link, keep them."""
        if (self._root / FOLDER).is_symlink():
            return
        for directory, _, names in os.walk(self._root / FOLDER, topdown=False):
            for name in names:
                path = Path(directory, name)
                if path.relative_to(self._root).as_posix() not in self._is_new:
                    path.unlink(missing_ok=True)
            with suppress(OSError):
                os.rmdir(directory)

    def _new(self) -> Iterator[str]:
        return (reference for reference, is_new in self._is_new.items() if is_new)

    def _add(self, name: str, write: Callable[[Path], object]) -> str:
        if (self._root / FOLDER).is_symlink():
            raise StoreWriteError(f"{self._root / FOLDER} is a link, so media would leave the store; remove the link")
        temporary = temporary_sibling(self._root / FOLDER)
        try:
            with write_errors(self._root):
                write(temporary)
                reference, is_there = next(self._places(_safe_name(name), temporary))
                if not is_there:
                    os.replace(temporary, self._root / reference)
        finally:
            temporary.unlink(missing_ok=True)
        self._is_new.setdefault(reference, not is_there)
        return reference

    def _places(self, name: str, content: Path) -> Iterator[tuple[str, bool]]:
        """Yield references at which the content is already (True), or where it can be put (False)."""
        (self._root / FOLDER).mkdir(exist_ok=True)
        for candidate in _candidates(name):
            path = self._root / FOLDER / candidate
            if not _stays_inside(self._root, path):
                continue
            if path.is_file() and filecmp.cmp(path, content, shallow=False):
                yield f"{FOLDER}/{candidate}", True
            with suppress(FileExistsError, NotADirectoryError):
                path.parent.mkdir(parents=True, exist_ok=True)
                if not os.path.lexists(path):
                    yield f"{FOLDER}/{candidate}", False


def _safe_name(name: str) -> str:
    """Turn any name into a relative name that stays inside the folder, part by part."""
    # A lone surrogate, from a file name that is not UTF-8, cannot be in a name on every system.
    plain = name.encode("utf-8", "backslashreplace").decode()
    stem, extension = _split(plain)
    safe = "/".join(safe_file_name(part) for part in stem.split("/") if part)
    return (safe if safe and len(safe.encode()) <= _LONGEST_NAME else safe_file_name(stem)) + extension


def _split(name: str) -> tuple[str, str]:
    """Split a name from its extension; something like ".0 final" in "v1.0 final" is no extension."""
    stem, extension = os.path.splitext(name)
    return (stem, extension) if _EXTENSION.fullmatch(extension) else (name, "")


def _candidates(name: str) -> Iterator[str]:
    """Yield the name, then a name without directories, in whose place a file may be, then that name with numbers."""
    stem, extension = _split(name)
    flat = safe_file_name(stem)
    yield name
    yield flat + extension
    for number in count(2):
        yield f"{flat}-{number}{extension}"


def link_or_copy(source: Path, target: Path, *, link: bool) -> None:
    """Hard-link a file if ``link`` and the system can; otherwise copy and sync it."""
    if link:
        with suppress(OSError):
            os.link(os.path.realpath(source), target)
            return
    copy_picture(source, target)
    with target.open("rb+") as copy:
        os.fsync(copy.fileno())
