"""An index that grows with a store: exact by default, or on an engine of choice. See ``docs/vector-index.md``."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from datumaro_clip.errors import OptionError
from datumaro_clip.index.exact import ExactEngine
from datumaro_clip.index.filters import Filter
from datumaro_clip.index.remote import RemoteEngine
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

_REMOTES = {
    "postgresql": ("pgvector", "PgvectorRemote"),
    "postgres": ("pgvector", "PgvectorRemote"),
    "http": ("opensearch", "OpenSearchRemote"),
    "https": ("opensearch", "OpenSearchRemote"),
}


def open_index(
    store: str | os.PathLike[str], engine: str = "exact", *, cache: Path | None = None, **options: Any
) -> VectorIndex:
    """Open the index of a store; nothing is read before it is first used.

    Parameters
    ----------
    store : path
        The store's directory.
    engine : str
        ``exact``, ``usearch``, or the URL of PostgreSQL or OpenSearch; see :func:`make_engine`.
    cache : path, optional
        Directory for the index's files; ``index`` below the cache directory where omitted.
    **options
        The engine's.
    """
    return VectorIndex(store, make_engine(engine, **options), cache)


def make_engine(engine: str = "exact", **options: Any) -> Engine:
    """Return the engine of a name or a URL.

    Parameters
    ----------
    engine : str
        ``exact``; ``usearch`` (extra ``ann``); ``postgresql://USER@HOST:PORT/DATABASE[#SCHEMA]`` (extra ``pgvector``);
        or ``http(s)://HOST:PORT/INDEX`` for OpenSearch (extra ``opensearch``).
    **options
        Those of :class:`~datumaro_clip.index.usearch.UsearchEngine`,
        :class:`~datumaro_clip.index.pgvector.PgvectorRemote` or
        :class:`~datumaro_clip.index.opensearch.OpenSearchRemote`; None leaves an option at its default.

    Raises
    ------
    OptionError
        If there is no such engine, or it has no such option.
    MissingDependencyError
        If the library that it needs is not installed.
    """
    given = {name: value for name, value in options.items() if value is not None}
    scheme = urlsplit(engine).scheme
    try:
        if engine == "exact":
            return ExactEngine(**given)
        if engine == "usearch":
            made: Engine = import_module("datumaro_clip.index.usearch").UsearchEngine(**given)
            return made
        if scheme in _REMOTES:
            module, name = _REMOTES[scheme]
            return RemoteEngine(getattr(import_module(f"datumaro_clip.index.{module}"), name)(engine, **given))
    except TypeError as exc:
        raise OptionError(f"the engine {engine} has no option {', '.join(given)}: {exc}") from exc
    raise OptionError(f"there is no engine {engine!r}; there are exact, usearch, postgresql://... and http(s)://...")
