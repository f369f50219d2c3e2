"""The folder with a plan's shards, which all workers share."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from datumaro_clip.system.files import atomic_directory, atomic_write, temporary_sibling


class Place(Protocol):
    """A folder, on a disk or behind a URL; files and directories in it appear whole."""

    def below(self, name: str) -> Place:
        """Return a folder in this one; it need not exist."""

    def names(self) -> set[str]:
        """Return the names of its files and directories."""

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None if there is no such file."""

    def write(self, name: str, content: bytes) -> None:
        """Write or replace a file."""

    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless there is one; return whether it was written."""

    def remove(self, name: str) -> None:
        """Remove a file, or a directory and all in it, if there is one."""

    def fill(self, name: str, label: str) -> AbstractContextManager[Path]:
        """Give an empty local directory for a block, and make it the named one when the block ends without an error.

        :meth:`read` then finds its file ``label`` as ``NAME/LABEL``; :meth:`fetch` gives the others.

        Raises
        ------
        FileExistsError
            If there is such a directory.
        """

    def fetch(self, name: str) -> AbstractContextManager[Path]:
        """Give a local directory with the content of the named one, for a block."""


class Folder:
    """A folder of a mounted file system.

    Parameters
    ----------
    path : Path
        Made at the first write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def below(self, name: str) -> Folder:
        return Folder(self._path / name)

    def names(self) -> set[str]:
        return set(os.listdir(self._path)) if self._path.is_dir() else set()

    def read(self, name: str) -> bytes | None:
        try:
            return (self._path / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        with atomic_write(self._path / name) as file:
            file.write(content)

    def create(self, name: str, content: bytes) -> bool:
        target = self._path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_sibling(target)
        temporary.write_bytes(content)
        try:
            os.link(temporary, target)
        except FileExistsError:
            return False
        except OSError:  # Without hard links in the file system, readers may see an incomplete file.
            with suppress(FileExistsError), target.open("xb") as file:
                return file.write(content) == len(content)
            return False
        finally:
            temporary.unlink()
        return True

    def remove(self, name: str) -> None:
        target = self._path / name
        if target.is_dir():
            # Renamed first, so that nobody sees half of it.
            doomed = temporary_sibling(target)
            os.replace(target, doomed)
            shutil.rmtree(doomed, ignore_errors=True)
        else:
            target.unlink(missing_ok=True)

    @contextmanager
    def fill(self, name: str, label: str) -> Iterator[Path]:
        try:
            with atomic_directory(self._path / name) as directory:
                yield directory
        except OSError as exc:
            if exc.errno == errno.ENOTEMPTY:
                raise FileExistsError(f"{self._path / name} exists and is not empty") from exc
            raise
        # Remove the leftovers of killed attempts; another attempt that still runs will find the directory there.
        for left in self._path.glob(f".{name}.*.tmp"):
            with suppress(OSError):
                shutil.rmtree(left) if left.is_dir() else left.unlink()

    @contextmanager
    def fetch(self, name: str) -> Iterator[Path]:
        yield self._path / name


def split_place(address: str) -> tuple[Place, str]:
    """Return the folder and the name of a file, given its path or URL."""
    if "://" in address:
        from datumaro_clip.distributed.remote import Remote

        url, _, name = address.rpartition("/")
        return Remote(url), name
    path = Path(address)
    return Folder(path.parent), path.name
