"""Opening a store that others may be writing to."""

from __future__ import annotations

from pathlib import Path

from datumaro_clip.errors import StoreCorruptError, StoreError, with_cure
from datumaro_clip.store.kinds import store_kind
from datumaro_clip.store.manifest import Manifest, SegmentEntry, read_manifest
from datumaro_clip.store.segments import SegmentReader

# A write may remove the segments of the manifest that was just read; the next manifest then names others.
_ATTEMPTS = 5


def open_segments(path: Path) -> tuple[Manifest, list[SegmentReader]]:
    """The manifest and its segments, of one and the same state of the store.

    Raises
    ------
    StoreNotFoundError, StoreFormatError, StoreCorruptError
        If there is no store, a foreign one, or a damaged one.
    """
    manifest = read_manifest(path)
    for _ in range(_ATTEMPTS):
        try:
            return manifest, [_open_segment(path, manifest, entry) for entry in manifest.segments]
        except StoreCorruptError:
            latest = read_manifest(path)
            if latest == manifest:
                raise
            manifest = latest
    raise StoreError(f"{path} was rewritten {_ATTEMPTS} times while it was being opened; try again later")


def _open_segment(path: Path, manifest: Manifest, entry: SegmentEntry) -> SegmentReader:
    try:
        return SegmentReader(path, entry, store_kind(manifest.kind).open_segment(path, entry))
    except StoreError:
        raise
    except PermissionError as exc:
        raise StoreError(with_cure(exc)) from exc
    except OSError as exc:
        raise StoreCorruptError(f"{entry.name} of {path} cannot be read: {exc}") from exc
