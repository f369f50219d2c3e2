"""The SQLite database below the vector cache.

SQLite and not a memory-mapped store such as LMDB: the pages of a damaged file are checked as they are read, so
that damage is an error that can be handled; behind a memory map it ends the process with a signal.
"""

from __future__ import annotations

import logging
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from datumaro_clip.errors import CacheError
from datumaro_clip.system.files import temporary_sibling

_log = logging.getLogger(__name__)

_APPLICATION_ID = 0x64636C69  # "dcli"
_VERSION = 1
# Three rows of 512 float32 fill a page to four fifths.
_PAGE_BYTES = 8192
_BUSY_SECONDS = 60.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, checksum INTEGER NOT NULL, vector BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS uses (key BLOB PRIMARY KEY, tick INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS uses_by_tick ON uses (tick);
"""

# A damaged schema is quoted in messages, which then are not always text.
_SIGNS_OF_DAMAGE = (sqlite3.DatabaseError, UnicodeDecodeError)

_Result = TypeVar("_Result")
Row = tuple[bytes, int, bytes]


class Database:
    """Rows (key, checksum, vector) and the order of their last uses; not safe under threads by itself.

    Parameters
    ----------
    path : Path
        The file; its directory is made if need be.

    Raises
    ------
    CacheError
        If it cannot be opened, or is another program's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self.run(lambda: None)

    def run(self, operation: Callable[[], _Result]) -> _Result:
        """Run an operation; on a damaged file, set that aside and run it once more on a new one."""
        try:
            return self._run(operation)
        except _SIGNS_OF_DAMAGE as exc:
            self._set_aside(exc)
        try:
            return self._run(operation)
        except _SIGNS_OF_DAMAGE as exc:
            raise CacheError(f"the vector cache {self.path} cannot be used: {exc}") from exc

    def _run(self, operation: Callable[[], _Result]) -> _Result:
        try:
            if self._connection is None:
                self._open()
            return operation()
        except (sqlite3.ProgrammingError, sqlite3.InterfaceError) as exc:
            raise TypeError(f"a vector cache's keys are bytes: {exc}") from exc
        except (sqlite3.OperationalError, OSError) as exc:
            raise CacheError(
                f"the vector cache {self.path} cannot be used: {exc}; "
                "choose another directory with --cache, or switch it off with --cache off"
            ) from exc

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block's changes, or none of them."""
        self._do("BEGIN IMMEDIATE")
        try:
            yield
            self._do("COMMIT")
        except BaseException:
            if self._connection is not None and self._connection.in_transaction:
                self._do("ROLLBACK")
            raise

    def row(self, key: bytes) -> tuple[int, bytes] | None:
        """(checksum, vector) of a key."""
        found: tuple[int, bytes] | None = self._do(
            "SELECT checksum, vector FROM vectors WHERE key = ?", (key,)
        ).fetchone()
        return found

    def rows(self) -> Iterator[Row]:
        """Every row."""
        yield from self._do("SELECT key, checksum, vector FROM vectors")

    def insert(self, rows: Iterable[Row]) -> None:
        """Add or replace rows; they are the most recently used."""
        rows, tick = list(rows), self._next_tick()
        self._many("INSERT OR REPLACE INTO vectors (key, checksum, vector) VALUES (?, ?, ?)", rows)
        self._many("INSERT OR REPLACE INTO uses (key, tick) VALUES (?, ?)", ((row[0], tick) for row in rows))

    def touch(self, keys: Iterable[bytes]) -> None:
        """Make rows the most recently used."""
        tick = self._next_tick()
        self._many("UPDATE uses SET tick = ? WHERE key = ?", ((tick, key) for key in keys))

    def remove(self, keys: Iterable[bytes]) -> None:
        """Remove rows."""
        doomed = [(key,) for key in keys]
        self._many("DELETE FROM vectors WHERE key = ?", doomed)
        self._many("DELETE FROM uses WHERE key = ?", doomed)

    def remove_oldest(self, count: int) -> int:
        """Remove up to ``count`` rows whose last use is longest ago; return how many."""
        oldest = self._do("SELECT key FROM uses ORDER BY tick LIMIT ?", (count,)).fetchall()
        self.remove(key for (key,) in oldest)
        return len(oldest)

    def clear(self) -> int:
        """Remove all rows, shrink the file, and return how many rows there were."""
        count = self.count()
        self._do("DELETE FROM vectors")
        self._do("DELETE FROM uses")
        self._do("VACUUM")
        return count

    def count(self) -> int:
        """Number of rows."""
        return self._number("SELECT count(*) FROM uses")

    def size(self) -> int:
        """Bytes of the pages that hold something."""
        pages = self._number("PRAGMA page_count") - self._number("PRAGMA freelist_count")
        return pages * self._number("PRAGMA page_size")

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            self._inode = self.path.stat().st_ino
            _prepare(connection, self.path)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        weakref.finalize(self, connection.close)  # For whoever forgets to; Python 3.13 warns otherwise.

    def _set_aside(self, exc: Exception) -> None:
        """Rename a damaged database, unless another process has, so that the next operation begins a new one."""
        self.close()
        if not self.path.exists() or self.path.stat().st_ino != self._inode:
            return
        aside = temporary_sibling(self.path).with_suffix(".damaged")
        _log.warning("the vector cache %s is damaged (%s); set aside as %s, begun anew", self.path, exc, aside.name)
        try:
            self.path.replace(aside)
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        except OSError as failure:
            raise CacheError(f"the vector cache {self.path} is damaged ({exc}); delete it") from failure

    @property
    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise CacheError(f"the vector cache {self.path} is closed")
        return self._connection

    def _do(self, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        return self._opened.execute(statement, values)

    def _many(self, statement: str, values: Iterable[tuple[object, ...]]) -> None:
        self._opened.executemany(statement, values)

    def _number(self, statement: str) -> int:
        return int(self._do(statement).fetchone()[0])

    def _next_tick(self) -> int:
        """Counts writes; a clock can be turned back."""
        return self._number("SELECT coalesce(max(tick), 0) + 1 FROM uses")


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make a new database ours, or see that an old one is."""
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA synchronous = NORMAL")
    _require_ours(connection, path)
    _use_write_ahead_log(connection)
    connection.execute("BEGIN IMMEDIATE")
    for statement in filter(str.strip, _SCHEMA.split(";")):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {_VERSION}")
    connection.execute("COMMIT")


def _require_ours(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a database that is another program's or another version's; an empty one is welcome."""
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    identity = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
    if tables and identity != [_APPLICATION_ID, _VERSION]:
        raise CacheError(f"{path} is not a vector cache of this version; choose another directory with --cache")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Let readers and a writer work at once; SQLite does not wait by itself where several begin at once."""
    connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as exc:
            # A full disk will not be emptied by waiting.
            if "locked" not in str(exc) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
