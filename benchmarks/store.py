"""Stores of a million vectors, beside ``numpy.save``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, seconds
from benchmarks.vectors import random_rows
from datumaro_clip.store import Header, append_to_store, create_store
from datumaro_clip.vectors import ItemKey, Provenance, VectorSpace

ROWS, BLOCK = 1_000_000, 50_000
# A virtual machine's first use of a page of memory takes longer than writing it to disk. Both are repeated in turn,
# until no new pages are used.
REPEATS = 10
SPACE = VectorSpace("name:benchmark", 512)
# Seconds in which a new process is to open and search a store.
SEARCH_GOALS = {"clip_mmap": 1.0, "clip_hdf5": 2.0}
SEARCH = """
import sys, time
import numpy as np
from benchmarks.resident import megabytes
start = time.perf_counter()
from datumaro_clip.search import SearchIndex
from datumaro_clip.store import open_store
with open_store(sys.argv[1]) as store:
    opened = megabytes("VmHWM")
    SearchIndex.from_store(store).search(np.eye(1, 512), 10)
print(time.perf_counter() - start, opened)
"""


def run(work: Path) -> Iterator[Figure]:
    """Writing, opening and searching, and adding a hundred items, for both kinds."""
    rows = np.tile(random_rows(BLOCK).astype(np.float16), (ROWS // BLOCK, 1))
    keys = [ItemKey(f"item-{row}", "train") for row in range(ROWS)]
    for kind, goal in SEARCH_GOALS.items():
        path = work / kind
        saving, writing = partial(_save, work / "rows.npy", rows), partial(_write, path, kind, keys, rows)
        saved, written = map(min, zip(*((seconds(saving), seconds(writing)) for _ in range(REPEATS)), strict=True))
        beside = f"numpy.save and fsync, {saved:.1f} s"
        yield Figure("store", f"{kind}: write {ROWS:,}x512 float16", written, "s", saved / written, 0.6, beside)
        time, opened = map(float, _search(path).split())
        yield Figure("store", f"{kind}: open and search, cold process", time, "s", goal / time, 1, f"{goal:g} s")
        yield Figure("store", f"{kind}: memory once open", opened, "MB", 200 / opened, 1, "200 MB")
        added = seconds(lambda path=path: _add(path, rows[:100]))
        yield Figure("store", f"{kind}: add 100 items", added, "s", written / added, 20, "writing it anew")


def _save(path: Path, rows: np.ndarray) -> None:
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        np.save(file, rows, allow_pickle=False)
        os.fsync(file.fileno())


def _write(path: Path, kind: str, keys: list[ItemKey], rows: np.ndarray) -> None:
    shutil.rmtree(path, ignore_errors=True)
    header = Header(space=SPACE, dtype="float16").computed_by(Provenance(SPACE, "f16", "CPU"))
    with create_store(path, kind, header) as writer:
        for start in range(0, ROWS, BLOCK):
            writer.add_rows(keys[start : start + BLOCK], rows[start : start + BLOCK])


def _add(path: Path, rows: np.ndarray) -> None:
    with append_to_store(path) as writer:
        writer.add_rows([ItemKey(f"new-{row}", "train") for row in range(len(rows))], rows)


def _search(path: Path) -> str:
    command = [sys.executable, "-c", SEARCH, str(path)]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout
