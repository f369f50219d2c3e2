"""An index in PostgreSQL with the extension pgvector. The only importer of ``psycopg``."""

from __future__ import annotations

import json
import re
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from datumaro_clip.errors import EngineError, EngineMismatchError, MissingDependencyError, OptionError
from datumaro_clip.index.documents import Document, Place, Progress, State
from datumaro_clip.index.filters import Filter
from datumaro_clip.index.remote import password
from datumaro_clip.index.snapshot import OBJECTS
from datumaro_clip.similarity.scores import Matrix
from datumaro_clip.vectors import ItemKey, VectorSpace

try:
    import psycopg
    from psycopg import sql
    from psycopg.types import TypeInfo
    from psycopg.types.json import Jsonb
except ModuleNotFoundError as exc:
    raise MissingDependencyError("psycopg", "pgvector", "an index in PostgreSQL") from exc

_Run = Callable[..., Any]
_DEFAULT_SCHEMA = "datumaro_clip"
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,40}")
# Version of the tables; another one is refused.
_VERSION = 1
# pgvector's own limits.
_MOST_DIMENSIONS, _MOST_EXPANSION = 4000, 1000
_LEAST_EXPANSION = 200

_TABLES = """
CREATE TABLE {schema}.state (
    version integer NOT NULL, fingerprint text NOT NULL, dimension integer NOT NULL, model text NOT NULL,
    digest text NOT NULL);
CREATE TABLE {schema}.segment (
    id serial PRIMARY KEY, name text UNIQUE NOT NULL, rows integer NOT NULL, removed integer NOT NULL);
CREATE TABLE {schema}.item (
    subset text NOT NULL, id text NOT NULL, segment integer NOT NULL, row integer NOT NULL, version bigint NOT NULL,
    tags text[] NOT NULL, classes text[] NOT NULL, score real, added timestamptz, attributes jsonb NOT NULL,
    filename text NOT NULL, checksum bigint NOT NULL, embedding halfvec(DIMENSION), PRIMARY KEY (subset, id));
CREATE TABLE {schema}.object (
    subset text NOT NULL, id text NOT NULL, number integer NOT NULL, annotation integer NOT NULL,
    segment integer NOT NULL, class text NOT NULL, confidence real NOT NULL, box real[] NOT NULL,
    tags text[] NOT NULL, added timestamptz, attributes jsonb NOT NULL,
    embedding halfvec(DIMENSION) NOT NULL, PRIMARY KEY (subset, id, number),
    FOREIGN KEY (subset, id) REFERENCES {schema}.item ON DELETE CASCADE);
"""
# Columns that filters read, by the kind of their index: without one, a filtered search finds a few of a hundred rows.
_INDEXED: dict[str, dict[str, tuple[str, ...]]] = {
    "item": {"gin": ("tags", "classes", "attributes"), "btree": ("subset", "score", "added")},
    "object": {"gin": ("tags", "attributes"), "btree": ("subset", "class", "confidence", "added")},
}


class PgvectorRemote:
    """The tables of one PostgreSQL schema; several threads may use it.

    Parameters
    ----------
    url : str
        ``postgresql://USER@HOST:PORT/DATABASE``, with ``#SCHEMA`` behind it if the schema is not
        ``datumaro_clip``. A password in it is refused, since other users can see command lines.
    connectivity, expansion_add : int
        HNSW's ``m`` and ``ef_construction``.
    time_limit : float
        Seconds that the server may take to accept a connection, and for one statement of a search.

    Raises
    ------
    OptionError
        If the URL cannot be used.
    """

    def __init__(self, url: str, *, connectivity: int = 16, expansion_add: int = 128, time_limit: float = 30.0) -> None:
        parts = urlsplit(url)
        self._schema = parts.fragment or _DEFAULT_SCHEMA
        if not _SCHEMA.fullmatch(self._schema):
            raise OptionError(f"{self._schema!r} cannot be a schema's name; wanted small letters, digits and _")
        if parts.password is not None:
            raise OptionError(
                "a password in the URL can be read by others: set DATUMARO_CLIP_ENGINE_PASSWORD or "
                "DATUMARO_CLIP_ENGINE_PASSWORD_FILE, or PostgreSQL's own PGPASSWORD or PGPASSFILE"
            )
        self.name = f"{parts.hostname or 'localhost'}{parts.path}#{self._schema}"
        self._url = url.partition("#")[0]
        self._connectivity, self._expansion_add, self._time_limit = connectivity, expansion_add, time_limit
        # Open connections: a thread takes one and puts it back.
        self._idle: list[Any] = []
        weakref.finalize(self, _close_all, self._idle)

    def state(self) -> State | None:
        """See :class:`~datumaro_clip.index.remote.Remote`."""
        with self._transaction() as run:
            if run("SELECT to_regclass(%s)", [f"{self._schema}.state"]).fetchone()[0] is None:
                return None
            found = run("SELECT version, fingerprint, dimension, model, digest FROM {schema}.state").fetchone()
            version, fingerprint, dimension, model, digest = found
            if version != _VERSION:
                raise EngineMismatchError(
                    f"{self.name} holds tables of version {version}, this release knows version {_VERSION}: "
                    "empty them with datum-clip index create --overwrite"
                )
            segments = {
                name: Progress(rows, removed)
                for name, rows, removed in run("SELECT name, rows, removed FROM {schema}.segment")
            }
        return State(VectorSpace(fingerprint, dimension, model), digest, segments)

    def remove(self) -> None:
        """See :class:`~datumaro_clip.index.remote.Remote`."""
        with self._transaction() as run:
            run("DROP SCHEMA IF EXISTS {schema} CASCADE")

    def create(self, space: VectorSpace) -> None:
        """See :class:`~datumaro_clip.index.remote.Remote`."""
        if space.dimension > _MOST_DIMENSIONS:
            raise OptionError(f"pgvector indexes at most {_MOST_DIMENSIONS} dimensions, not {space.dimension}")
        with self._transaction() as run:
            _register(run("CREATE EXTENSION IF NOT EXISTS vector").connection)
            run("CREATE SCHEMA IF NOT EXISTS {schema}")
            run(_TABLES.replace("DIMENSION", f"{space.dimension:d}"))
            run(
                "INSERT INTO {schema}.state VALUES (%s, %s, %s, %s, '')",
                [_VERSION, space.fingerprint, space.dimension, space.model],
            )

    def upsert(self, documents: Sequence[Document], state: State) -> None:
        """See :class:`~datumaro_clip.index.remote.Remote`; the items and the state are one transaction."""
        keys = [document.key.subset for document in documents], [document.key.id for document in documents]
        with self._transaction() as run:
            numbers = _save(run, state)
            newer = run(
                "SELECT count(*) FROM {schema}.item JOIN unnest(%s::text[], %s::text[], %s::bigint[]) "
                "AS new (subset, id, version) USING (subset, id) WHERE item.version > new.version",
                [*keys, [document.version for document in documents]],
            ).fetchone()[0]
            if newer:
                raise EngineMismatchError(
                    f"{self.name} holds a later version of {newer} items: another process pushed a later state of the "
                    "store; push again, or empty the index with datum-clip index create --overwrite"
                )
            # This deletes their objects, too.
            cursor = run(
                "DELETE FROM {schema}.item USING unnest(%s::text[], %s::text[]) AS old (subset, id) "
                "WHERE item.subset = old.subset AND item.id = old.id",
                keys,
            )
            items = [_item_row(document, numbers[document.segment]) for document in documents]
            objects = [row for document in documents for row in _object_rows(document, numbers[document.segment])]
            for table, types, rows in (("item", _ITEM_TYPES, items), ("object", _OBJECT_TYPES, objects)):
                with cursor.copy(self._sql(f"COPY {{schema}}.{table} FROM STDIN (FORMAT BINARY)")) as copy:
                    copy.set_types(types)
                    for row in rows:
                        copy.write_row(row)

    def delete(self, keys: Sequence[ItemKey], version: int, state: State) -> None:
        """See :class:`~datumaro_clip.index.remote.Remote`; the items and the state are one transaction."""
        with self._transaction() as run:
            _save(run, state)
            run(
                "DELETE FROM {schema}.item USING unnest(%s::text[], %s::text[], %s::bigint[]) "
                "AS old (subset, id, version) "
                "WHERE item.subset = old.subset AND item.id = old.id AND item.version <= old.version",
                [[key.subset for key in keys], [key.id for key in keys], [version] * len(keys)],
            )

    def finish(self, state: State) -> None:
        """See :class:`~datumaro_clip.index.remote.Remote`."""
        with self._transaction(is_limited=False) as run:
            numbers = list(_save(run, state).values())
            for table, column in (("item", "segment"), ("segment", "id")):
                run(f"DELETE FROM {{schema}}.{table} WHERE NOT {column} = ANY(%s)", [numbers])
            # After the first items are inserted: that is faster than growing the indexes item by item.
            hnsw = f"m = {self._connectivity:d}, ef_construction = {self._expansion_add:d}"
            for table, kinds in _INDEXED.items():
                wanted = {column: f"{kind} ({column})" for kind, columns in kinds.items() for column in columns}
                wanted["embedding"] = f"hnsw (embedding halfvec_ip_ops) WITH ({hnsw})"
                for column, how in wanted.items():
                    run(f"CREATE INDEX IF NOT EXISTS {table}_{column}_index ON {{schema}}.{table} USING {how}")
        with self._transaction(is_limited=False) as run:
            run("ANALYZE {schema}.item; ANALYZE {schema}.object")

    def propose(self, target: str, queries: Matrix, count: int, wanted: Filter | None) -> list[list[Place]]:
        """See :class:`~datumaro_clip.index.remote.Remote`."""
        table, number = ("object", "number") if target == OBJECTS else ("item", "row")
        conditions, values = _conditions(wanted or Filter(), table)
        statement = (
            f"SELECT segment.name, hit.{number} FROM (SELECT segment, {number} FROM {{schema}}.{table} "
            f"WHERE {' AND '.join(['embedding IS NOT NULL', *conditions])} ORDER BY embedding <#> %s LIMIT %s) AS hit "
            "JOIN {schema}.segment ON segment.id = hit.segment"
        )
        expansion = min(_MOST_EXPANSION, max(_LEAST_EXPANSION, count))
        with self._transaction() as run:
            run(f"SET LOCAL hnsw.ef_search = {expansion:d}; SET LOCAL hnsw.iterative_scan = strict_order")
            return [
                list(run(statement, [*values, _Half(query), count], prepare=True))
                for query in np.asarray(queries, np.float16)
            ]

    def listed(self) -> Iterator[tuple[ItemKey, str, int, int]]:
        """See :class:`~datumaro_clip.index.remote.Remote`."""
        with self._transaction(is_limited=False) as run:
            for id, subset, segment, row, checksum in run(
                "SELECT item.id, subset, segment.name, row, checksum FROM {schema}.item "
                "JOIN {schema}.segment ON segment.id = item.segment"
            ):
                yield ItemKey(id, subset), segment, row, checksum

    def close(self) -> None:
        """Close the connections that no thread uses."""
        _close_all(self._idle)

    @contextmanager
    def _transaction(self, *, is_limited: bool = True) -> Iterator[_Run]:
        """Open a transaction, and give a function that runs a statement in it and returns psycopg's cursor.

        ``{schema}`` in a statement stands for the schema. Statements have the time limit unless told otherwise.
        """
        connection = None
        try:
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._connected()
            with connection.transaction(), connection.cursor() as cursor:

                def run(statement: str, values: Sequence[Any] | None = None, **options: Any) -> Any:
                    return cursor.execute(self._sql(statement), values, **options)

                run(f"SET LOCAL statement_timeout = {int(1000 * self._time_limit) if is_limited else 0}")
                yield run
        except psycopg.errors.QueryCanceled as exc:
            raise EngineError(
                f"{self.name} took longer than {self._time_limit:g} s; look at its load, or allow more time"
            ) from exc
        except psycopg.Error as exc:
            # The other connections are probably broken, too.
            self.close()
            lines = str(exc).strip().splitlines() or [type(exc).__name__]
            raise EngineError(f"{self.name}: {lines[0]}; check the server, the URL and the password") from exc
        finally:
            if connection is not None:
                if connection.broken or connection.closed:
                    connection.close()
                else:
                    self._idle.append(connection)

    def _connected(self) -> Any:
        """Open a connection, which can send vectors if the extension is installed."""
        connection = psycopg.connect(
            self._url,
            password=password() or None,
            connect_timeout=max(2, round(self._time_limit)),
            application_name="datumaro-clip",
            # Notice a server that has died without closing the connection.
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=int(1000 * self._time_limit),
            autocommit=True,
        )
        _register(connection)
        return connection

    def _sql(self, statement: str) -> sql.Composed:
        return sql.SQL(statement).format(schema=sql.Identifier(self._schema))


def _save(run: _Run, state: State) -> dict[str, int]:
    """Save a state; return the number of each of its segments."""
    run("UPDATE {schema}.state SET digest = %s", [state.digest])
    progress = state.segments.values()
    saved = run(
        "INSERT INTO {schema}.segment (name, rows, removed) SELECT * FROM unnest(%s::text[], %s::int[], %s::int[]) "
        "ON CONFLICT (name) DO UPDATE SET rows = excluded.rows, removed = excluded.removed RETURNING name, id",
        [list(state.segments), [each.rows for each in progress], [each.removed for each in progress]],
    )
    return dict(saved.fetchall())


_ITEM_TYPES = (
    *("text", "text", "int4", "int4", "int8", "text[]", "text[]"),
    *("float4", "timestamptz", "jsonb", "text", "int8", "halfvec"),
)
_OBJECT_TYPES = (
    *("text", "text", "int4", "int4", "int4", "text", "float4", "float4[]"),
    *("text[]", "timestamptz", "jsonb", "halfvec"),
)


class _Half:
    """A vector (D,) to be sent as pgvector's ``halfvec``."""

    def __init__(self, vector: Any) -> None:
        self.vector = vector


class _HalfDumper(psycopg.adapt.Dumper):
    """Writes the form that pgvector's ``halfvec_recv`` reads: the dimension, 0, and the numbers, big-endian."""

    format = psycopg.pq.Format.BINARY

    def dump(self, obj: _Half) -> bytes:
        numbers = np.asarray(obj.vector, ">f2")
        return len(numbers).to_bytes(2, "big") + bytes(2) + numbers.tobytes()


def _register(connection: Any) -> None:
    """Let a connection send vectors, if the extension is installed."""
    info = TypeInfo.fetch(connection, "halfvec")
    if info is not None:
        info.register(connection)
        connection.adapters.register_dumper(_Half, type("_Dumper", (_HalfDumper,), {"oid": info.oid}))


def _close_all(connections: list[Any]) -> None:
    while connections:
        connections.pop().close()


def _item_row(document: Document, segment: int) -> tuple[Any, ...]:
    embedding = None if document.embedding is None else _Half(document.embedding)
    return (
        *(document.key.subset, document.key.id, segment, document.row, document.version, list(document.tags)),
        *(list(document.classes), document.score, document.added, Jsonb(dict(document.attributes))),
        *(document.filename, document.checksum, embedding),
    )


def _object_rows(document: Document, segment: int) -> Iterator[tuple[Any, ...]]:
    for number, found in enumerate(document.objects, document.first_object):
        yield (
            *(document.key.subset, document.key.id, number, found.annotation_index, segment, found.class_name),
            *(1.0 if found.confidence is None else found.confidence, list(found.bbox), list(document.tags)),
            *(document.added, Jsonb(dict(document.attributes)), _Half(found.vector)),
        )


def _conditions(wanted: Filter, table: str) -> tuple[list[str], list[Any]]:
    """Return the conditions of a filter that the tables can express, as SQL, and their values.

    They cannot express that one annotation of an item has both the class and the score; the caller checks each row.
    """
    of_objects = table == "object"
    found: dict[str, Any] = {
        "subset = ANY(%s)": list(wanted.subsets) or None,
        "tags && %s": list(wanted.tags) or None,
        "class = ANY(%s)" if of_objects else "classes && %s": list(wanted.classes) or None,
        # As float32, like the confidences.
        f"{'confidence' if of_objects else 'score'} >= %s::real": wanted.min_score,
        "added >= %s": wanted.added_from,
        "added < %s": wanted.added_before,
    }
    found = {condition: value for condition, value in found.items() if value is not None}
    conditions, values = list(found), list(found.values())
    for name in wanted.attributes:
        # Not ANY of an array, for which PostgreSQL does not use the index.
        texts = [f"{{{json.dumps(name)}: {text}}}" for text in wanted.attribute_values(name)]
        conditions.append(f"({' OR '.join(['attributes @> %s::jsonb'] * len(texts) or ['false'])})")
        values += texts
    return conditions, values
