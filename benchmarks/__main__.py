"""Run the parts, print one table, write JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from benchmarks.figures import Figure

PARTS = (
    "startup", "top_k", "pairs", "approximate", "store", "memory", "scale", "cache", "duplicates", "copies", "pictures",
    "texts", "fetching", "tables", "map", "index", "service", "footprint", "objects", "report", "explorer",
    "evaluation", "growth",
)  # fmt: skip
COLUMNS = "{:<11} {:<46} {:>12} {:<12} {:>7} {:>6}  {:<6} {}"


def main() -> None:
    """Measure what the command line names, or everything."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parts = f"of {', '.join(PARTS)}; all where omitted"
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], metavar="PART", help=parts)
    parser.add_argument("--json", type=Path, default=Path("benchmarks.json"), help="default: %(default)s")
    args = parser.parse_args()
    print(COLUMNS.format("part", "what", "ours", "", "ratio", "goal", "", "beside"))
    figures = []
    for figure in _measured(args.part or PARTS):
        figures.append(figure)
        print(_line(figure), flush=True)
    args.json.write_text(json.dumps({"machine": _machine(), "figures": [asdict(f) for f in figures]}, indent=1))


def _measured(parts: tuple[str, ...]) -> Iterator[Figure]:
    """Yield the figures of some parts; a part that fails, for example without a peer, does not stop the others."""
    with tempfile.TemporaryDirectory(prefix="datumaro-clip-bench-") as work:
        for part in parts:
            start = time.perf_counter()
            try:
                yield from import_module(f"benchmarks.{part}").run(Path(work))
            except Exception as exc:
                print(f"{part}: {type(exc).__name__}: {exc}", file=sys.stderr)
            print(f"{part} took {time.perf_counter() - start:.0f} s", file=sys.stderr)


def _line(figure: Figure) -> str:
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    goal = "" if figure.goal is None else f"{figure.goal:g}"
    return COLUMNS.format(
        figure.part, figure.name, f"{figure.ours:,.4g}", figure.unit, ratio, goal, figure.verdict, figure.against
    ).rstrip()


def _machine() -> dict[str, object]:
    """Describe the machine, without anything that identifies it."""
    load = os.getloadavg() if hasattr(os, "getloadavg") else ()
    return {"processor": platform.processor() or platform.machine(), "cpus": os.cpu_count(), "load": load}


if __name__ == "__main__":
    main()
