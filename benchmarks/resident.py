"""What a task adds to this process's resident memory. Linux only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import seconds

_PROCESS = Path("/proc/self")
# What clear_refs takes to make the peak of resident memory what is resident now (proc(5)).
_RESET_PEAK = "5"


def seconds_and_megabytes(task: Callable[[], object]) -> tuple[float, float]:
    """How long a task takes, and how far resident memory rises meanwhile.

    Memory that the process has freed but not given back, and uses again, does not show.
    """
    (_PROCESS / "clear_refs").write_text(_RESET_PEAK)
    before = _megabytes("VmRSS")
    return seconds(task), _megabytes("VmHWM") - before


def _megabytes(what: str) -> float:
    status = dict(line.split(":", 1) for line in (_PROCESS / "status").read_text().splitlines())
    return int(status[what].split()[0]) / 1024
