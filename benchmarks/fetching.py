"""Fetching from a server with every fault, the client killed twenty times."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import ROOT
from benchmarks.figures import Figure

sys.path.append(str(ROOT / "tests"))

ROWS, KILLS = 2_000, 20


def run(work: Path) -> Iterator[Figure]:
    """Rows with the status that their fault must have, rows settled twice, requests repeated, processor time."""
    from fault_server import KINDS, FaultServer
    from test_tables_fetch import fetch_with_kills, rows, settled_rows

    table = work / f"{ROWS}.csv"
    kills = [ROWS * 3 // 2 * (number + 1) // (KILLS + 1) for number in range(KILLS)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    server, repeated, killed = fetch_with_kills(work / "out", table, FaultServer, kills)
    server.close()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = rows(work / "out" / table.name)
    kinds = list(KINDS.values())
    right = sum((row["error"] or "ok") == kinds[n % len(kinds)] for n, row in enumerate(found))
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    settled = settled_rows(work / "out")
    yield Figure("fetching", "kills", killed, "kills", killed / KILLS, 1, "kills wanted")
    yield Figure("fetching", "rows of the right status", right, "rows", right / ROWS, 1, "rows")
    yield Figure("fetching", "rows settled twice", len(settled) - len(set(settled)), "rows")
    yield Figure("fetching", "requests for rows settled before a kill", sum(repeated.values()), "requests")
    yield Figure("fetching", "requests in all", server.asked.total(), "requests")
    yield Figure("fetching", f"processor time, {killed + 1} starts", seconds, "CPU s")
