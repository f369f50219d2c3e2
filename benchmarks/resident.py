"""Resident memory of this process, and what a task adds to it. Linux with glibc only."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import seconds

_PROCESS = Path("/proc/self")
# Written to clear_refs, this sets the peak of resident memory to the memory that is resident now (proc(5)).
_RESET_PEAK = "5"


def seconds_and_megabytes(task: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of a task, and the MB by which resident memory rises meanwhile.

    Memory that the process has freed is first returned to the system: reused, it would not count.
    """
    ctypes.CDLL(None).malloc_trim(0)
    (_PROCESS / "clear_refs").write_text(_RESET_PEAK)
    before = megabytes("VmRSS")
    return seconds(task), megabytes("VmHWM") - before


def megabytes(what: str) -> float:
    """Return a figure of /proc/self/status, such as ``VmRSS``, resident memory now, or ``VmHWM``, its peak.

    The peak of getrusage would be inherited from the parent process.
    """
    status = dict(line.split(":", 1) for line in (_PROCESS / "status").read_text().splitlines())
    return int(status[what].split()[0]) / 1024
