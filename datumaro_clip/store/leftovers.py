"""What interrupted writes leave behind, and what overwritten stores no longer need."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from pathlib import Path

from datumaro_clip.errors import StoreError
from datumaro_clip.store.lock import LOCK_NAME
from datumaro_clip.store.manifest import find_kind, read_manifest, segment_number
from datumaro_clip.store.media import FOLDER

# As files.temporary_sibling names what will become a manifest or a medium.
_TEMPORARY = re.compile(r"\.(clip_hdf5\.json|clip_mmap\.json|media)\..*\.tmp")


def named_segments(root: Path) -> set[str] | None:
    """The segments of the store on disk; None where its manifest cannot be read."""
    try:
        return set() if find_kind(root) is None else {entry.name for entry in read_manifest(root).segments}
    except StoreError:
        return None


def is_unfinished(root: Path) -> bool:
    """Whether a directory holds nothing but what a first write leaves that was killed before its store was there."""
    names = {path.name for path in root.iterdir()} if root.is_dir() else set()
    return LOCK_NAME in names and all(map(_is_left_over, names - {LOCK_NAME, FOLDER}))


def _is_left_over(name: str) -> bool:
    return bool(_TEMPORARY.fullmatch(name) or segment_number(name.removesuffix(".h5")))


def clear_leftovers(root: Path) -> int:
    """Remove segments that the manifest does not name, and temporaries; needs the writer's lock.

    Returns
    -------
    int
        The highest number among the segments that stay.
    """
    named = named_segments(root)
    highest = 0
    for path in root.iterdir():
        name = path.name.removesuffix(".h5")
        is_named = named is None or name in named
        if _is_left_over(path.name) and not (segment_number(name) and is_named):
            _remove(path)
        highest = max(highest, segment_number(name) if is_named else 0)
    return highest


def _remove(path: Path) -> None:
    """Remove a file or directory as far as the system lets us; the next writer tries again."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
