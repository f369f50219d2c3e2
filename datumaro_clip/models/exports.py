"""The cache of exports: each made once, under a lock, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock

from datumaro_clip.errors import ModelFormatError
from datumaro_clip.files import cache_root, safe_file_name
from datumaro_clip.models.layouts import relative_names
from datumaro_clip.models.manifest import Manifest, read_manifest


def exports_root() -> Path:
    """Where exports are kept; it need not exist."""
    return cache_root() / "models"


def cached_export(key: str, make: Callable[[Path], object]) -> Path:
    """The model directory of that key, made now if it is not there.

    Parameters
    ----------
    key : str
        Names what the export depends on.
    make : callable
        Makes a model directory at the path that it is given.
    """
    target = exports_root() / safe_file_name(key)
    if not _is_whole(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(target.name + ".lock")):
            if not _is_whole(target):
                shutil.rmtree(target, ignore_errors=True)
                make(target)
    return target


def _is_whole(path: Path) -> bool:
    """Whether a model directory is there with all its files; one that was damaged is made again."""
    try:
        read_manifest(path)
    except ModelFormatError:
        return False
    return True


def source_key(directory: Path) -> str:
    """A key that changes when any file of a directory does, by its name, size or time."""
    entries = []
    for name in sorted(relative_names(directory)):
        status = (directory / name).stat()
        entries.append((name, status.st_size, status.st_mtime_ns))
    text = json.dumps([str(directory.resolve()), entries])
    return f"{safe_file_name(directory.resolve().name)}@{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def local_models() -> Iterator[tuple[Path, Manifest]]:
    """Exports that are there, and can be read, newest first."""
    root = exports_root()
    paths = [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            yield path, read_manifest(path)
        except ModelFormatError:
            continue  # A temporary of another process, or a version of another release: not ours to judge.
