"""Fetching a table: scheduling the requests, keeping the pictures, and writing the table of results."""

from __future__ import annotations

import heapq
import logging
import queue
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from filelock import FileLock, Timeout
from PIL import Image

from datumaro_clip.errors import ImageError, OptionError, StoreWriteError, TableError
from datumaro_clip.images.decoding import MAX_PIXELS
from datumaro_clip.system.addresses import parse_networks
from datumaro_clip.system.files import sha256_file
from datumaro_clip.tables.arrow import ParquetTable, dump_schema, make_schema
from datumaro_clip.tables.dataset import Source, TableDataset
from datumaro_clip.tables.fetch.journal import NAME, Journal
from datumaro_clip.tables.fetch.keeping import keep_picture
from datumaro_clip.tables.opening import table_format, table_stem
from datumaro_clip.tables.options import TableOptions, write_settings
from datumaro_clip.tables.rows import Row, as_text
from datumaro_clip.tables.writing import open_writer

log = logging.getLogger(__name__)

#: The columns that are added, and their types.
RESULTS: Mapping[str, type] = {
    "path": str,
    "status": str,
    "error": str,
    "http_status": int,
    "sha256": str,
    "bytes": int,
    "width": int,
    "height": int,
    "fetched_at": str,
}
# Requests that are scheduled at a time, for each thread.
_WINDOW = 16
# Seconds to wait for an outcome at a time.
_LONGEST_NAP = 0.5


@dataclass(frozen=True)
class FetchOptions:
    """Options of fetching; see ``docs/fetch.md``."""

    threads: int = 16
    per_host: int = 2
    retries: int = 3
    timeout: float = 30.0
    max_wait: float = 60.0
    max_bytes: int = 1 << 26
    max_pixels: int = MAX_PIXELS
    resize: int | None = None
    image_ext: str | None = None
    ignore_noai: bool = False
    retry_failed: bool = False
    contact: str = ""
    proxy: str | None = None
    allow_address: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.image_ext is not None and self.image_ext not in Image.registered_extensions():
            raise OptionError(f"--image-ext: no picture is written as {self.image_ext!r}; try .jpg, .png or .webp")


@dataclass(order=True)
class _Task:
    """A request that waits until ``ready`` (seconds of the monotonic clock)."""

    ready: float
    row: int
    url: str = field(compare=False)
    tries: int = field(compare=False, default=0)

    @property
    def host(self) -> str:
        try:
            return urlsplit(self.url).netloc.rpartition("@")[2].lower()
        except ValueError:  # No valid address; the client says so.
            return ""


class _Outcome(NamedTuple):
    """The outcome of a try: the record for the journal, or None to try again after ``wait`` seconds.

    If the host is busy, all its tasks wait.
    """

    task: _Task
    record: dict[str, Any] | None
    wait: float = 0.0
    is_busy: bool = False


def fetch_table(
    path: Path,
    directory: Path,
    table_options: TableOptions,
    options: FetchOptions,
    tell: Callable[[int], None] = lambda settled: None,
) -> Counter[str]:
    """Fetch the pictures of a table, or go on where that was interrupted.

    Parameters
    ----------
    path : Path
        The table.
    directory : Path
        The directory for pictures, journal and the table of results.
    table_options : TableOptions
    options : FetchOptions
    tell : callable
        Called with the number of rows that have been settled since the last call.

    Returns
    -------
    collections.Counter
        Rows by ``ok`` and by reason.

    Raises
    ------
    OptionError
        If the directory belongs to another table, or was begun with other options.
    StoreWriteError
        If another process fetches to the directory.
    TableError
        If the table has no column of addresses.
    """
    tables = TableDataset(path, table_options)
    if len(tables.sources) != 1:
        raise TableError(f"{tables.path} holds {len(tables.sources)} tables; name one file")
    [source] = tables.sources
    column = source.layout.url or source.layout.image
    if column is None:
        names = ", ".join(source.layout.columns)
        raise TableError(f"{source.table.path} has no column of addresses; name it with --url-column, of {names}")
    _ = tables.survey
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(FileLock(directory / ".fetch.lock", timeout=0))
        except Timeout as exc:
            raise StoreWriteError(f"another process fetches to {directory}; wait until it ends") from exc
        chosen = {"url_column": column, "resize": options.resize, "image_ext": options.image_ext}
        identity = {"table": sha256_file(path), **chosen}
        journal = Journal(directory / NAME, identity, forgets_failed=options.retry_failed)
        stack.callback(journal.close)
        _Fetching(directory, options, journal, tell).run(_rows(source), column)
        counts = _write_results(source, directory, journal, column)
    for leftover in directory.glob("images/*/.*.tmp"):
        leftover.unlink()
    return counts


def _rows(source: Source) -> Iterator[tuple[int, Row]]:
    """Yield the rows with their numbers; refused ones have a number, too."""
    return ((number, row) for number, row in enumerate(source.table) if isinstance(row, Row))


class _Fetching:
    """Schedules the requests, which a few threads make."""

    def __init__(self, directory: Path, options: FetchOptions, journal: Journal, tell: Callable[[int], None]) -> None:
        from datumaro_clip.tables.fetch.client import Client, Limits

        self._directory, self._options, self._journal, self._tell = directory, options, journal, tell
        self._client = Client(
            Limits(options.timeout, options.max_bytes, options.max_pixels),
            allowed=parse_networks(options.allow_address),
            connections=options.threads,
            contact=options.contact,
            proxy=options.proxy,
            ignores_noai=options.ignore_noai,
        )
        self._waiting: dict[str, list[_Task]] = defaultdict(list)
        self._active: Counter[str] = Counter()
        self._closed_until: dict[str, float] = {}
        self._orders: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[_Outcome] = queue.SimpleQueue()

    def run(self, rows: Iterator[tuple[int, Row]], column: str) -> None:
        """Settle every row that is not in the journal."""
        # Daemons, so that Ctrl-C does not wait for servers.
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self._options.threads)]
        for thread in threads:
            thread.start()
        new = self._new_tasks(rows, column)
        while True:
            for task in islice(new, max(0, _WINDOW * self._options.threads - self._outstanding)):
                heapq.heappush(self._waiting[task.host], task)
            if not self._outstanding:
                break
            self._settle(self._dispatch())
        for _ in threads:
            self._orders.put(None)
        for thread in threads:
            thread.join()
        self._client.close()

    @property
    def _outstanding(self) -> int:
        return sum(map(len, self._waiting.values())) + self._active.total()

    def _new_tasks(self, rows: Iterator[tuple[int, Row]], column: str) -> Iterator[_Task]:
        """Yield tasks for rows that are not in the journal; rows without an address are settled at once."""
        for number, row in rows:
            if number in self._journal:
                self._tell(1)
                continue
            url = as_text(row.values.get(column)).strip()
            if url:
                yield _Task(0.0, number, url)
            else:
                self._journal.append([_record(_Task(0.0, number, ""), "no_url", "the row has no address")])
                self._tell(1)

    def _dispatch(self) -> float:
        """Give the threads all tasks that may be tried now; return the seconds until another may be."""
        now, nap = time.monotonic(), _LONGEST_NAP
        for host in list(self._waiting):
            tasks = self._waiting[host]
            while tasks and self._active[host] < self._options.per_host:
                ready = max(tasks[0].ready, self._closed_until.get(host, 0.0))
                if ready > now:
                    nap = min(nap, ready - now)
                    break
                self._active[host] += 1
                self._orders.put(heapq.heappop(tasks))
            if not tasks:
                del self._waiting[host]
        return nap

    def _settle(self, nap: float) -> None:
        """Wait for an outcome, take all that there are, and write them to the journal."""
        try:
            outcomes = [self._done.get(timeout=nap)]
        except queue.Empty:
            return
        while not self._done.empty():
            outcomes.append(self._done.get())
        records = []
        for outcome in outcomes:
            host = outcome.task.host
            self._active[host] -= 1
            if not self._active[host]:
                del self._active[host]
            if outcome.is_busy:
                self._closed_until[host] = time.monotonic() + outcome.wait
            if outcome.record is None:
                again = replace(outcome.task, ready=time.monotonic() + outcome.wait, tries=outcome.task.tries + 1)
                heapq.heappush(self._waiting[host], again)
            else:
                records.append(outcome.record)
        if records:
            self._journal.append(records)
            self._tell(len(records))

    def _work(self) -> None:
        while (task := self._orders.get()) is not None:
            try:
                outcome = self._try(task)
            except Exception as exc:  # An unforeseen error must not stop the other rows.
                log.debug("row %d", task.row, exc_info=exc)
                outcome = _Outcome(task, _record(task, "connection", f"{type(exc).__name__}: {exc}"))
            self._done.put(outcome)

    def _try(self, task: _Task) -> _Outcome:
        answer = self._client.get(task.url)
        wait = min(2.0**task.tries if answer.wait is None else answer.wait, self._options.max_wait)
        if answer.is_transient and task.tries < self._options.retries:
            return _Outcome(task, None, wait, answer.is_busy)
        error, message, kept = answer.error, answer.message, dict[str, Any]()
        if not error:
            try:
                kept = keep_picture(
                    answer.data, self._directory, task.row, longest=self._options.resize, ending=self._options.image_ext
                )
            except ImageError as exc:
                error, message = "too_many_pixels" if exc.reason == "too_large" else "not_a_picture", str(exc)
            except OSError as exc:
                error, message = "not_written", str(exc)
        return _Outcome(task, _record(task, error, message, answer.http_status) | kept, wait, answer.is_busy)


def _record(task: _Task, error: str, message: str, http_status: int | None = None) -> dict[str, Any]:
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "row": task.row,
        "url": task.url,
        "status": "failed" if error else "ok",
        "tries": task.tries + 1,
        "error": error,
        "message": message,
        "http_status": http_status,
        "fetched_at": now,
    }


def _write_results(source: Source, directory: Path, journal: Journal, column: str) -> Counter[str]:
    """Write the table's rows with their outcomes, and the options to read that table."""
    table, layout = source.table, source.layout
    names = {name: f"fetch_{name}" if name in layout.columns else name for name in RESULTS}
    form = table_format(table.path) or "csv"
    path = directory / f"{table_stem(table.path)}.{form}"
    columns = tuple(dict.fromkeys([*table.columns, *names.values()]))
    schema = None
    if isinstance(table, ParquetTable):
        kinds = {names[name]: {kind} for name, kind in RESULTS.items()}
        schema = make_schema(columns, kinds, dump_schema(table.schema))
    counts: Counter[str] = Counter()
    with open_writer(path, form, columns, schema=schema, separator=getattr(table, "separator", ",")) as write_row:
        for number, row in _rows(source):
            found = journal.get(number)
            counts[str(found["error"] or "ok")] += 1
            write_row({**row.values, **{names[name]: found.get(name) for name in RESULTS}})
    options = replace(
        layout.options(), image_column=names["path"], url_column=column, separator=getattr(table, "separator", None)
    )
    write_settings(directory, options, "How the table beside this file is read; 'datum-clip fetch' wrote it.")
    return counts
