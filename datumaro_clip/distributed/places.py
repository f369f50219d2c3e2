"""Where a plan and its shards are: a folder that all workers share."""

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
        """A folder in this one; it need not exist."""

    def names(self) -> set[str]:
        """What is there."""

    def read(self, name: str) -> bytes | None:
        """A file's content, None where there is none."""

    def write(self, name: str, content: bytes) -> None:
        """Write or replace a file."""

    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless there is one; whether it was written."""

    def remove(self, name: str) -> None:
        """Remove a file, or a directory and all in it, as far as it is there."""

    def fill(self, name: str, label: str) -> AbstractContextManager[Path]:
        """An empty local directory, which becomes the named one when the block ends well.

        Its file ``label`` is then read as ``NAME/LABEL``; other files are had by :meth:`fetch`.

        Raises
        ------
        FileExistsError
            If there is such a directory.
        """

    def fetch(self, name: str) -> AbstractContextManager[Path]:
        """A local directory with the content of the named one, for a block."""


class Folder:
    """A folder of a file system that is mounted here.

    Parameters
    ----------
    path : Path
        Made when something is written.
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
        except OSError:  # A file system without hard links: readers may then see it before it is whole.
            with suppress(FileExistsError), target.open("xb") as file:
                return file.write(content) == len(content)
            return False
        finally:
            temporary.unlink()
        return True

    def remove(self, name: str) -> None:
        target = self._path / name
        if target.is_dir():
            # First out of the way, so that nobody sees half of it.
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
        # What killed attempts left; whoever else is at it will find that it is done.
        for left in self._path.glob(f".{name}.*.tmp"):
            with suppress(OSError):
                shutil.rmtree(left) if left.is_dir() else left.unlink()

    @contextmanager
    def fetch(self, name: str) -> Iterator[Path]:
        yield self._path / name


def split_place(address: str) -> tuple[Place, str]:
    """The folder and the name of a file, given its path or URL."""
    if "://" in address:
        from datumaro_clip.distributed.remote import Remote

        url, _, name = address.rpartition("/")
        return Remote(url), name
    path = Path(address)
    return Folder(path.parent), path.name
