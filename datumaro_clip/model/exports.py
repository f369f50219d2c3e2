"""The cache of exports: each made once, under a lock, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock

from datumaro_clip.errors import ModelFormatError
from datumaro_clip.model.directory import Manifest, is_of_newer_release, read_manifest
from datumaro_clip.model.layouts import relative_names
from datumaro_clip.system.files import cache_root, safe_file_name


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

    Raises
    ------
    ModelFormatError
        If a newer release has made it, in a format that this one does not read; it stays.
    """
    target = exports_root() / safe_file_name(key)
    if not _is_whole(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(target.name + ".lock")):
            if not _is_whole(target):
                _clear(target)
                make(target)
    return target


def _is_whole(path: Path) -> bool:
    """Whether a model directory is there with all its files; one that was damaged is made again."""
    try:
        read_manifest(path)
    except ModelFormatError as exc:
        if is_of_newer_release(path):
            raise ModelFormatError(
                f"{path} was made by a newer release of datumaro-clip, which this one does not read; "
                "update datumaro-clip, or set DATUMARO_CLIP_CACHE to another directory"
            ) from exc
        return False
    return True


def _clear(target: Path) -> None:
    """Remove what is damaged there, and what killed processes left beside it; needs the target's lock."""
    # As files.temporary_sibling names what will become the target.
    temporary = re.compile(rf"\.{re.escape(target.name)}\.\d+-[0-9a-f]+\.tmp")
    for path in target.parent.iterdir():
        if path == target or temporary.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


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
    # A hidden directory is an export that some process has not finished, whatever is in it already.
    paths = [path for path in root.iterdir() if path.is_dir() and path.name[0] != "."] if root.is_dir() else []
    for path in sorted(paths, key=_changed_at, reverse=True):
        try:
            yield path, read_manifest(path)
        except ModelFormatError:
            continue  # Damaged, removed meanwhile, or of another release: not ours to judge.


def _changed_at(path: Path) -> float:
    """When a directory was last changed; long ago where another process has removed it meanwhile."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
