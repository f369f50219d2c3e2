"""The SQLite database of the vector cache.

SQLite checks the pages of a file as it reads them, so that damage is an error that can be handled. With a memory-mapped
store such as LMDB, a damaged file can end the process with a signal.
"""

from __future__ import annotations

import logging
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator
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
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, checksum INTEGER NOT NULL, vector BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS uses (key BLOB PRIMARY KEY, tick INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS uses_by_tick ON uses (tick)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_VERSION}",
)

# Messages quote a damaged schema, and cannot always be decoded.
_SIGNS_OF_DAMAGE = (sqlite3.DatabaseError, UnicodeDecodeError)

_Result = TypeVar("_Result")
Connection = sqlite3.Connection


class Database:
    """A file with the tables ``vectors`` (key, checksum, vector) and ``uses`` (key, tick); not thread-safe.

    Parameters
    ----------
    path : Path
        The file; its directory is made if it does not exist.

    Raises
    ------
    CacheError
        If it cannot be opened, or is another program's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: Connection | None = None
        self._inode = 0
        self.run(lambda connection: None)

    def run(self, operation: Callable[[Connection], _Result]) -> _Result:
        """Run an operation; if the file is damaged, set it aside and run the operation on a new one."""
        try:
            return self._run(operation)
        except _SIGNS_OF_DAMAGE as exc:
            self._set_aside(exc)
        try:
            return self._run(operation)
        except _SIGNS_OF_DAMAGE as exc:
            raise CacheError(f"the vector cache {self.path} cannot be used: {exc}") from exc

    def _run(self, operation: Callable[[Connection], _Result]) -> _Result:
        try:
            if self._connection is None:
                self._connection = self._opened()
            return operation(self._connection)
        except (sqlite3.ProgrammingError, sqlite3.InterfaceError) as exc:
            raise TypeError(f"a vector cache's keys are bytes: {exc}") from exc
        except (sqlite3.OperationalError, OSError) as exc:
            raise CacheError(
                f"the vector cache {self.path} cannot be used: {exc}; "
                "choose another directory with --cache, or switch it off with --cache off"
            ) from exc

    def close(self) -> None:
        """Close the connection; the next operation opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> Connection:
        """Connect to the file, and make the tables of a new one; refuse a database of another program or version."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            self._inode = self.path.stat().st_ino
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA synchronous = NORMAL")
            identity = [number(connection, f"PRAGMA {name}") for name in ("application_id", "user_version")]
            if number(connection, "SELECT count(*) FROM sqlite_master") and identity != [_APPLICATION_ID, _VERSION]:
                raise CacheError(
                    f"{self.path} is not a vector cache of this version; choose another directory with --cache"
                )
            _use_write_ahead_log(connection)
            with transaction(connection):
                for statement in _SCHEMA:
                    connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        weakref.finalize(self, connection.close)  # Python 3.13 warns of connections that nobody closed.
        return connection

    def _set_aside(self, exc: Exception) -> None:
        """Rename a damaged database, unless another process did, so that the next operation begins a new one."""
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


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Make all of the block's changes, or none of them."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def number(connection: Connection, statement: str) -> int:
    """Return the one whole number that a statement selects."""
    return int(connection.execute(statement).fetchone()[0])


def _use_write_ahead_log(connection: Connection) -> None:
    """Let readers and a writer work at once; retries, because SQLite does not wait for another process here."""
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
