"""An index that grows with a store: exact by default, on an engine by choice. The page is ``docs/vector-index.md``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from datumaro_clip.index.engines import DEFAULT, make_engine
from datumaro_clip.index.filters import Filter
from datumaro_clip.index.rows import Found
from datumaro_clip.index.snapshot import CAPTIONS, OBJECTS, PICTURES, TARGETS, Snapshot, Target
from datumaro_clip.index.vector_index import Engine, Synced, VectorIndex, Verification

__all__ = [
    "CAPTIONS",
    "OBJECTS",
    "PICTURES",
    "TARGETS",
    "Engine",
    "Filter",
    "Found",
    "Snapshot",
    "Synced",
    "Target",
    "VectorIndex",
    "Verification",
    "make_engine",
    "open_index",
]


def open_index(
    store: str | os.PathLike[str], engine: str = DEFAULT, *, cache: Path | None = None, **options: Any
) -> VectorIndex:
    """An index of a store; nothing is read before it is first used.

    Parameters
    ----------
    store : path
        The store's directory.
    engine : str
        Who proposes rows: ``exact``, ``usearch``, or the URL of PostgreSQL or OpenSearch; see :func:`make_engine`.
    cache : path, optional
        Directory for the index's files; ``index`` below the cache directory where omitted.
    **options
        The engine's.
    """
    return VectorIndex(store, make_engine(engine, **options), cache)
