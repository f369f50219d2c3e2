"""Resident memory of this process, and what a task adds to it. Linux with glibc only."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import seconds

_PROCESS = Path("/proc/self")
# What clear_refs takes to make the peak of resident memory what is resident now (proc(5)).
_RESET_PEAK = "5"


def seconds_and_megabytes(task: Callable[[], object]) -> tuple[float, float]:
    """How long a task takes, and how far resident memory rises meanwhile.

    What the process has freed before is given back first: used again, it would not show.
    """
    ctypes.CDLL(None).malloc_trim(0)
    (_PROCESS / "clear_refs").write_text(_RESET_PEAK)
    before = megabytes("VmRSS")
    return seconds(task), megabytes("VmHWM") - before


def megabytes(what: str) -> float:
    """A figure of /proc/self/status: ``VmRSS``, resident now, or ``VmHWM``, its peak.

    Not getrusage, whose peak is inherited from the process that started this one.
    """
    status = dict(line.split(":", 1) for line in (_PROCESS / "status").read_text().splitlines())
    return int(status[what].split()[0]) / 1024
