"""A folder at a URL (``s3://…``, ``gs://…``), by fsspec; the only module that imports it."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import fsspec

from datumaro_clip.errors import ClusterError, OptionError
from datumaro_clip.system.files import scratch_errors

# A directory is stored as one archive: object stores cannot rename, but each object appears whole.
_ARCHIVE = ".tar"


class Remote:
    """A folder at a URL; a directory in it is one tar archive.

    Parameters
    ----------
    url : str
        A URL for fsspec. Its library for that kind of URL reads keys and endpoints from the environment, or from
        fsspec's configuration.

    Raises
    ------
    OptionError
        If there is no such kind of URL, or its library is not installed.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        try:
            self._files, self._root = fsspec.core.url_to_fs(self._url, use_listings_cache=False)
        except (ImportError, ValueError) as exc:
            raise OptionError(f"{url} cannot be opened: {exc}") from exc

    def below(self, name: str) -> Remote:
        return Remote(f"{self._url}/{name}")

    def names(self) -> set[str]:
        with self._reached():
            found: list[str] = []
            with suppress(FileNotFoundError):
                found = self._files.ls(self._root, detail=False)
        return {path.rstrip("/").rpartition("/")[2].removesuffix(_ARCHIVE) for path in found}

    def read(self, name: str) -> bytes | None:
        with self._reached():
            try:
                content: bytes = self._files.cat_file(self._path(name))
                return content
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        with self._reached():
            self._files.pipe_file(self._path(name), content)

    def create(self, name: str, content: bytes) -> bool:
        with self._reached():
            if self._files.exists(self._path(name)):
                return False
            try:
                self._files.pipe_file(self._path(name), content, mode="create")
            except FileExistsError:
                return False
            return True

    def remove(self, name: str) -> None:
        with self._reached():
            # A directory's label goes first: without it, the directory counts as missing.
            for path, deep in ((self._path(name), True), (self._path(name) + _ARCHIVE, False)):
                with suppress(FileNotFoundError):
                    self._files.rm(path, recursive=deep)

    @contextmanager
    def fill(self, name: str, label: str) -> Iterator[Path]:
        with scratch_errors(), tempfile.TemporaryDirectory() as scratch:
            directory = Path(scratch) / "directory"
            directory.mkdir()
            yield directory
            archive = Path(scratch) / "archive"
            with tarfile.open(archive, "w") as file:
                for path in sorted(directory.rglob("*")):
                    file.add(path, str(path.relative_to(directory)), recursive=False)
            with self._reached():
                self._files.put_file(str(archive), self._path(name) + _ARCHIVE)
                self._files.pipe_file(self._path(f"{name}/{label}"), (directory / label).read_bytes())

    @contextmanager
    def fetch(self, name: str) -> Iterator[Path]:
        with scratch_errors(), tempfile.TemporaryDirectory() as scratch:
            archive, directory = Path(scratch) / "archive", Path(scratch) / "directory"
            with self._reached():
                self._files.get_file(self._path(name) + _ARCHIVE, str(archive))
            with tarfile.open(archive) as file:
                # This filter refuses names and links that leave the directory, and devices.
                file.extractall(directory, filter="data")
            archive.unlink()
            yield directory

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn all errors of fsspec's libraries into one."""
        try:
            yield
        except Exception as exc:  # Each library has its own errors.
            raise ClusterError(f"{self._url} cannot be read or written: {exc}; check the address and the keys") from exc
