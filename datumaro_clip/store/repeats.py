"""A write that repeats what is stored already: the store keeps its files, so that equal exports are equal bytes."""

from __future__ import annotations

import filecmp
from dataclasses import replace
from pathlib import Path

from datumaro_clip.errors import StoreError
from datumaro_clip.store.kinds import StoreKind
from datumaro_clip.store.manifest import Manifest, SegmentEntry, manifest_body, read_manifest


def is_stored(root: Path, manifest: Manifest, kind: StoreKind) -> bool:
    """Whether the store on disk is the one that a manifest describes, but for the names of its segments.

    Parameters
    ----------
    root : Path
        The store.
    manifest : Manifest
        What would replace the store's own; its segments are on disk.
    kind : StoreKind
    """
    try:
        stored = read_manifest(root)
    except StoreError:
        return False
    pairs = zip(stored.segments, manifest.segments, strict=False)
    return _unnamed(stored) == _unnamed(manifest) and all(_same_files(root, kind, *pair) for pair in pairs)


def _unnamed(manifest: Manifest) -> bytes:
    """What a manifest says but for the names of its segments."""
    segments = tuple(replace(s, name="", files=_file_sizes(s)) for s in manifest.segments)
    return manifest_body(replace(manifest, segments=segments))


def _file_sizes(segment: SegmentEntry) -> dict[str, int]:
    return {name.replace(segment.name, ""): size for name, size in segment.files.items()}


def _same_files(root: Path, kind: StoreKind, one: SegmentEntry, other: SegmentEntry) -> bool:
    """Whether two segments whose entries agree hold the same bytes."""
    stored, new = (kind.segment_path(root, entry.name) for entry in (one, other))
    if stored == new:
        return True
    if stored.is_file():
        return filecmp.cmp(stored, new, shallow=False)
    return all(filecmp.cmp(stored / name, new / name, shallow=False) for name in one.files)
