"""Runs of curation tools over a store, each in a process of its own, so that it can be cancelled."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from datumaro_clip.curate.decisions import DecisionLog, read_decisions, write_decisions
from datumaro_clip.curate.run import decide, read_values
from datumaro_clip.curate.tools import tool_named
from datumaro_clip.errors import DatumaroClipError, DecisionConflictError, with_cure
from datumaro_clip.explorer.items import store_items
from datumaro_clip.service.pictures import Pictures
from datumaro_clip.store import open_store
from datumaro_clip.system.files import safe_file_name

log = logging.getLogger(__name__)

# How the log says how far a run is, as in "pairs compared: 30 of 600".
_COUNTED = re.compile(r"(\d+) of (\d+)$")

#: What a run can be.
RUNNING, DONE, FAILED, CANCELLED = "running", "done", "failed", "cancelled"


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
        How far it is; ``total`` is 0 where that is not known.
    note : str
        What it does, or why it failed.
    """

    id: str
    tool: str
    state: str = RUNNING
    done: int = 0
    total: int = 0
    note: str = ""
    process: subprocess.Popen[str] | None = field(repr=False, default=None)

    def as_json(self) -> dict[str, Any]:
        """What the page is told."""
        return {name: getattr(self, name) for name in ("id", "tool", "state", "done", "total", "note")}


class Runs:
    """The runs of one store, one at a time; what a tool proposes is kept until it runs again.

    Parameters
    ----------
    store : Path
    directory : Path
        Where ``proposals-TOOL.jsonl`` are kept.
    media_roots : sequence of Path
        Folders below which pictures may be read, too.
    """

    def __init__(self, store: Path, directory: Path, media_roots: Sequence[Path]) -> None:
        self._store, self._directory, self._roots = store, directory, media_roots
        self._runs: dict[str, Run] = {}
        self._numbers = count(1)
        self._lock = Lock()

    def __getitem__(self, number: str) -> Run:
        return self._runs[number]

    def start(self, tool: str, options: Mapping[str, Any], rows: Sequence[int] | None) -> Run:
        """Begin a run on some rows, or on all.

        Raises
        ------
        DecisionConflictError
            If another run has not ended.
        DecisionError
            If the directory cannot be written.
        """
        with self._lock:
            if any(run.state == RUNNING for run in self._runs.values()):
                raise DecisionConflictError("another tool is running; wait for it, or cancel it")
            self._directory.mkdir(parents=True, exist_ok=True)
            run = Run(str(next(self._numbers)), tool)
            request = {
                "store": os.fspath(self._store),
                "tool": tool,
                "options": dict(options),
                "rows": None if rows is None else list(rows),
                "roots": [os.fspath(root) for root in self._roots],
                "output": os.fspath(self._proposals(tool)),
            }
            run.process = process = subprocess.Popen(
                [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            self._runs[run.id] = run
        Thread(target=_follow, args=(run, process, json.dumps(request)), daemon=True).start()
        return run

    def cancel(self, number: str) -> None:
        """End a run; what it would have proposed is not kept."""
        run = self._runs[number]
        if run.state == RUNNING and run.process is not None:
            run.state = CANCELLED
            run.process.kill()

    def keep(self, made: DecisionLog) -> None:
        """Take what a tool proposed elsewhere for its latest proposals."""
        self._directory.mkdir(parents=True, exist_ok=True)
        write_decisions(self._proposals(made.transform), made)

    def proposals(self) -> list[tuple[str, Any]]:
        """What the tools propose: the tool's name and the decision, tool by tool."""
        found = []
        for path in sorted(self._directory.glob("proposals-*.jsonl")):
            told = path.stat()
            made = _read(path, told.st_mtime_ns, told.st_size)
            found += [(made.transform, decision) for decision in made.decisions]
        return found

    def _proposals(self, tool: str) -> Path:
        return self._directory / f"proposals-{safe_file_name(tool)}.jsonl"

    def close(self) -> None:
        """End what runs."""
        for run in self._runs.values():
            self.cancel(run.id)


@lru_cache(maxsize=32)
def _read(path: Path, changed: int, size: int) -> DecisionLog:
    """The decisions in a file as it was when it had a time of change and a size: every click asks for them."""
    return read_decisions(path)


def _follow(run: Run, process: subprocess.Popen[str], request: str) -> None:
    """Hand a run its request, and note what it says until it ends."""
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
                run.note, run.state = said["failed"], FAILED
    status = process.returncode
    if run.state == RUNNING:
        run.state, run.note = (
            (DONE, run.note) if status == 0 else (FAILED, run.note or f"it ended with status {status}")
        )


class _Teller(logging.Handler):
    """Tells whoever started the process what the log says, and how far the run is where the log says that."""

    def emit(self, record: logging.LogRecord) -> None:
        note = record.getMessage()
        counted = _COUNTED.search(note)
        _tell(
            note=note, **({"done": int(counted[1]), "total": int(counted[2])} if counted else {"done": 0, "total": 0})
        )


def _tell(**said: Any) -> None:
    print(json.dumps(said), flush=True)


def main() -> int:
    """Run the tool that standard input asks for, and write what it proposes."""
    request = json.loads(sys.stdin.read())
    logging.basicConfig(level=logging.INFO, handlers=[_Teller()])
    try:
        tool = tool_named(request["tool"])
        values = read_values(tool, request["options"])
        with open_store(request["store"]) as store:
            rows = range(len(store)) if request["rows"] is None else request["rows"]
            items = store_items(store, rows, Pictures([Path(root) for root in request["roots"]]))
            made = decide(tool, values, items, store.header.class_names)
        write_decisions(request["output"], made)
    except (DatumaroClipError, OSError) as exc:
        _tell(failed=with_cure(exc))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
