"""Which engine a name or a URL means."""

from __future__ import annotations

from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from datumaro_clip.errors import OptionError
from datumaro_clip.index.exact import ExactEngine
from datumaro_clip.index.remote import RemoteEngine
from datumaro_clip.index.vector_index import Engine

#: The engine of whoever names none.
DEFAULT = "exact"

_REMOTES = {
    "postgresql": "pgvector.PgvectorRemote",
    "postgres": "pgvector.PgvectorRemote",
    "http": "opensearch.OpenSearchRemote",
    "https": "opensearch.OpenSearchRemote",
}


def make_engine(engine: str = DEFAULT, **options: Any) -> Engine:
    """The engine by a name or a URL.

    Parameters
    ----------
    engine : str
        ``exact``; ``usearch`` (extra ``ann``); ``postgresql://USER@HOST:PORT/DATABASE[#SCHEMA]`` (extra ``pgvector``);
        or ``http(s)://HOST:PORT/INDEX``, OpenSearch's (extra ``opensearch``).
    **options
        As :class:`~datumaro_clip.index.usearch.UsearchEngine`, :class:`~datumaro_clip.index.pgvector.PgvectorRemote` or
        :class:`~datumaro_clip.index.opensearch.OpenSearchRemote` takes them; None is what the engine does by itself.

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
        if engine == "usearch":
            made: Engine = import_module("datumaro_clip.index.usearch").UsearchEngine(**given)
            return made
        if scheme in _REMOTES:
            module, name = _REMOTES[scheme].split(".")
            return RemoteEngine(getattr(import_module(f"datumaro_clip.index.{module}"), name)(engine, **given))
        if engine == DEFAULT:
            return ExactEngine(**given)
    except TypeError as exc:
        raise OptionError(f"the engine {engine} has no option {', '.join(given)}: {exc}") from exc
    raise OptionError(f"there is no engine {engine!r}; there are exact, usearch, postgresql://... and http(s)://...")
