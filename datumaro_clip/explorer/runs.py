"""Runs of curation tools over a store, each in its own process, so that it can be cancelled."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import numpy as np

from datumaro_clip.curate.decisions import DecisionLog, read_decisions, write_decisions
from datumaro_clip.curate.item import Item, ItemBox, ItemCaption, ItemLabel
from datumaro_clip.curate.run import decide, read_values
from datumaro_clip.curate.tools import tool_named
from datumaro_clip.embedding import ImageRequest
from datumaro_clip.errors import DatumaroClipError, DecisionConflictError, with_cure
from datumaro_clip.service.described import class_of, describe
from datumaro_clip.service.pictures import NotServedError, Pictures
from datumaro_clip.store import StoreReader, open_store
from datumaro_clip.system.files import safe_file_name
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE, Embedding

log = logging.getLogger(__name__)

# How a log message ends that says how far a run is, as in "pairs compared: 30 of 600".
_COUNTED = re.compile(r"(\d+) of (\d+)$")


@dataclass
class Run:
    """One run of a tool.

    Attributes
    ----------
    id : str
    tool : str
    state : str
        ``running``, ``done``, ``failed`` or ``cancelled``.
    done, total : int
        Steps done and in all; ``total`` is 0 where it is not known.
    note : str
        What it is doing, or why it failed.
    """

    id: str
    tool: str
    state: str = "running"
    done: int = 0
    total: int = 0
    note: str = ""
    process: subprocess.Popen[str] = field(repr=False, kw_only=True)

    def as_json(self) -> dict[str, Any]:
        """Return what the page shows of it."""
        return {name: getattr(self, name) for name in ("id", "tool", "state", "done", "total", "note")}

    def cancel(self) -> None:
        """Stop the run; its proposals are not kept."""
        if self.state == "running":
            self.state = "cancelled"
            self.process.kill()


class Runs:
    """The runs of one store, one at a time; a tool's proposals are kept until it runs again.

    Parameters
    ----------
    store : Path
    directory : Path
        The folder of ``proposals-TOOL.jsonl``.
    media_roots : sequence of Path
        More folders below which pictures may be read.

    Attributes
    ----------
    all : dict
        The runs by number.
    """

    def __init__(self, store: Path, directory: Path, media_roots: Sequence[Path]) -> None:
        self._store, self._directory, self._roots = store, directory, media_roots
        self.all: dict[str, Run] = {}
        self._numbers = count(1)
        self._lock = Lock()

    def start(self, tool: str, options: Mapping[str, Any], rows: Sequence[int] | None) -> Run:
        """Start a run on some rows, or on all.

        Raises
        ------
        DecisionConflictError
            If another run has not ended.
        DecisionError
            If the directory cannot be written.
        """
        with self._lock:
            if any(run.state == "running" for run in self.all.values()):
                raise DecisionConflictError("another tool is running; wait for it, or cancel it")
            self._directory.mkdir(parents=True, exist_ok=True)
            request = {
                "store": os.fspath(self._store),
                "tool": tool,
                "options": dict(options),
                "rows": None if rows is None else list(rows),
                "roots": [os.fspath(root) for root in self._roots],
                "output": os.fspath(self._proposals(tool)),
            }
            process = subprocess.Popen(
                [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            run = Run(str(next(self._numbers)), tool, process=process)
            self.all[run.id] = run
        Thread(target=_follow, args=(run, json.dumps(request)), daemon=True).start()
        return run

    def keep(self, made: DecisionLog) -> None:
        """Keep what a tool proposed elsewhere as its proposals."""
        self._directory.mkdir(parents=True, exist_ok=True)
        write_decisions(self._proposals(made.transform), made)

    def proposals(self) -> list[tuple[str, Any]]:
        """Return all proposals, tool by tool: the tool's name and the decision."""
        found = []
        for path in sorted(self._directory.glob("proposals-*.jsonl")):
            told = path.stat()
            made = _read(path, told.st_mtime_ns, told.st_size)
            found += [(made.transform, decision) for decision in made.decisions]
        return found

    def _proposals(self, tool: str) -> Path:
        return self._directory / f"proposals-{safe_file_name(tool)}.jsonl"

    def close(self) -> None:
        """Stop all runs."""
        for run in self.all.values():
            run.cancel()


@lru_cache(maxsize=32)
def _read(path: Path, changed: int, size: int) -> DecisionLog:
    """Read a file of decisions, once for each time of change and size, since every click needs them."""
    return read_decisions(path)


def _follow(run: Run, request: str) -> None:
    """Send a run its request, and record what it says until it ends."""
    process = run.process
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        with suppress(BrokenPipeError), process.stdin as asked:
            asked.write(request)
        for line in process.stdout:
            said = json.loads(line)
            run.done, run.total = said.get("done", run.done), said.get("total", run.total)
            run.note = said.get("note", run.note)
            if "failed" in said:
                run.note, run.state = said["failed"], "failed"
    if run.state == "running":
        run.state = "failed" if process.returncode else "done"
        if process.returncode:
            run.note = run.note or f"it ended with status {process.returncode}"


class _Teller(logging.Handler):
    """Tells the parent process each log message, and how far the run is where the message says so."""

    def emit(self, record: logging.LogRecord) -> None:
        note = record.getMessage()
        done, total = map(int, found.groups()) if (found := _COUNTED.search(note)) else (0, 0)
        _tell(note=note, done=done, total=total)


def _store_items(store: StoreReader, rows: Iterable[int], pictures: Pictures) -> list[Item]:
    """Return some rows of a store as curation takes them; a row whose picture may not be read has none."""
    names, space = store.header.class_names, store.header.space
    found = []
    for row in rows:
        record = store.record(row)
        told = describe(record.payload, names)
        boxes = {each.annotation for each in told.objects}
        classes = [(number, class_of(annotation, names)) for number, annotation in enumerate(told.annotations)]
        attributes = dict(told.attributes)
        if record.embedding is not None and space is not None:
            vector = np.asarray(record.embedding, np.float32)
            attributes[EMBEDDING_ATTRIBUTE] = Embedding(vector, space.fingerprint, space.model, store.header.precision)
        try:
            picture = ImageRequest(pictures.find(store.path, told.media).content)
        except NotServedError:
            picture = None
        found.append(
            Item(
                record.key,
                picture,
                tuple(ItemLabel(name, number, number not in boxes) for number, name in classes if name is not None),
                tuple(ItemCaption(each.text, each.annotation) for each in told.captions),
                tuple(
                    ItemBox(each.bbox, each.class_name or None, each.confidence, each.annotation)
                    for each in told.objects
                ),
                attributes,
                str(told.media.get("path", "")),
                len(told.annotations),
            )
        )
    return found


def _tell(**said: Any) -> None:
    print(json.dumps(said), flush=True)


def main() -> int:
    """Run the tool that standard input names, and write its proposals."""
    request = json.loads(sys.stdin.read())
    logging.basicConfig(level=logging.INFO, handlers=[_Teller()])
    try:
        tool = tool_named(request["tool"])
        values = read_values(tool, request["options"])
        with open_store(request["store"]) as store:
            rows = range(len(store)) if request["rows"] is None else request["rows"]
            items = _store_items(store, rows, Pictures([Path(root) for root in request["roots"]]))
            made = decide(tool, values, items, store.header.class_names)
        write_decisions(request["output"], made)
    except (DatumaroClipError, OSError) as exc:
        _tell(failed=with_cure(exc))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
