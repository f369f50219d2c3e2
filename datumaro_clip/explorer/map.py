"""The map of a store: a place in the plane for each picture or object, kept in the cache and extended in place."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from datumaro_clip.errors import CacheError, with_cure
from datumaro_clip.index import PICTURES, Snapshot
from datumaro_clip.index.rows import VectorRows
from datumaro_clip.similarity.layout import Points, lay_out, place
from datumaro_clip.system.files import atomic_write, cache_root, safe_file_name

#: A store with at most so many vectors gets its map when the page first opens; a larger one needs ``datum-clip map``.
MAPPED_AT_ONCE = 20_000
# Of more vectors, an even sample of so many is laid out, and the rest is placed among them.
_LANDMARKS = 50_000
# Rows whose vectors are hashed or placed at a time.
_BLOCK = 4096

Names = npt.NDArray[np.void]


def map_path(store: Path, target: str = PICTURES) -> Path:
    """Return the file of a store's map, below the cache directory."""
    place_of = hashlib.blake2b(str(store.resolve()).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return cache_root() / "maps" / f"{safe_file_name(store.name)}-{place_of}-{target}.npz"


def places_of(snapshot: Snapshot, target: str = PICTURES) -> Points | None:
    """Return the kept map, or one that is made if the store is small; None if there is none."""
    points = map_of(snapshot, target)
    if points is None and 0 < len(snapshot.targets[target]) <= MAPPED_AT_ONCE:
        points = make_map(snapshot, target)
    return points


def make_map(snapshot: Snapshot, target: str = PICTURES) -> Points:
    """Lay out a store's vectors anew, and keep the map.

    Returns
    -------
    numpy.ndarray
        Shape (N, 2), float32: the place of each of the target's rows.

    Raises
    ------
    CacheError
        If the map cannot be written.
    """
    vectors = snapshot.targets[target].vectors
    count = len(vectors)
    points = np.full((count, 2), np.nan, np.float32)
    if count:
        landmarks = np.unique(np.linspace(0, count - 1, min(count, _LANDMARKS)).astype(np.int64))
        points[landmarks] = lay_out(np.asarray(vectors[landmarks], np.float32))
    _place_missing(points, vectors)
    keep_map(snapshot, points, target)
    return points


def keep_map(snapshot: Snapshot, points: Points, target: str = PICTURES) -> None:
    """Keep places (N, 2), float32, of a target's rows as the store's map, wherever they come from.

    Raises
    ------
    CacheError
        If it cannot be written.
    """
    _write(map_path(snapshot.store.path, target), _names(snapshot, target), points)


def map_of(snapshot: Snapshot, target: str = PICTURES) -> Points | None:
    """Return the kept map of a store, with places for new vectors; None if none was made.

    A vector on the map keeps its place; a new or changed one is placed among its neighbours, and the map is kept so.
    """
    path = map_path(snapshot.store.path, target)
    try:
        with np.load(path, allow_pickle=False) as held:
            names, points = held["names"].view("V16").ravel(), held["points"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError) as exc:
        raise CacheError(f"{path} is damaged; remove it, and make the map again with datum-clip map") from exc
    wanted = _names(snapshot, target)
    found = np.full((len(wanted), 2), np.nan, np.float32)
    _, rows, held_rows = np.intersect1d(wanted, names, assume_unique=True, return_indices=True)
    found[rows] = points[held_rows]
    if np.isnan(found[:, 0]).all():
        return None
    if np.isnan(found[:, 0]).any():
        _place_missing(found, snapshot.targets[target].vectors)
        _write(path, wanted, found)
    return found


def _place_missing(points: Points, vectors: VectorRows) -> None:
    """Place the rows that have no place, among their neighbours that have one."""
    missing, there = np.flatnonzero(np.isnan(points[:, 0])), np.flatnonzero(~np.isnan(points[:, 0]))
    if not len(missing):
        return
    held = np.asarray(vectors[there], np.float32)
    for start in range(0, len(missing), _BLOCK):
        rows = missing[start : start + _BLOCK]
        points[rows] = place(np.asarray(vectors[rows], np.float32), held, points[there])


def _names(snapshot: Snapshot, target: str) -> Names:
    """Return a name for each row, (N,): a hash of item, annotation and vector, 16 bytes."""
    rows = snapshot.targets[target]
    names = np.zeros((len(rows), 16), np.uint8)
    for start in range(0, len(rows), _BLOCK):
        block = np.asarray(rows.vectors[start : start + _BLOCK])
        for row, vector in enumerate(block, start=start):
            key = rows.key(row)
            said = repr((key.id, key.subset, int(rows.annotations[row]))).encode("utf-8", "surrogatepass")
            names[row] = np.frombuffer(hashlib.blake2b(said + vector.tobytes(), digest_size=16).digest(), np.uint8)
    return names.view("V16").ravel()


def _write(path: Path, names: Names, points: Points) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            np.savez(file, names=names.view(np.uint8).reshape(-1, 16), points=points)
    except OSError as exc:
        raise CacheError(f"the map cannot be kept: {with_cure(exc)}") from exc
