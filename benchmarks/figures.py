"""One measured figure, and how times are taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A figure that was measured.

    Attributes
    ----------
    part, name : str
        What was measured.
    ours : float
        Our figure, in ``unit``.
    unit : str
        As in "s" or "pictures/s".
    ratio : float or None
        Our figure relative to what ``against`` names; more is better.
    goal : float or None
        The least ratio wanted; None if the figure is only shown.
    against : str
        What the ratio is relative to, measured in the same run.
    """

    part: str
    name: str
    ours: float
    unit: str
    ratio: float | None = None
    goal: float | None = None
    against: str = ""

    @property
    def verdict(self) -> str:
        """``pass`` or ``short`` if there is a goal."""
        if self.goal is None or self.ratio is None:
            return ""
        return "pass" if self.ratio >= self.goal else "short"


def at_most(part: str, name: str, ours: float, limit: float, unit: str) -> Figure:
    """Return a figure that is to be at most a limit."""
    return Figure(part, name, ours, unit, limit / max(ours, 1e-9), 1, f"at most {limit:g} {unit}".rstrip())


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the processor time that some work takes in this process, in seconds."""
    start = time.process_time()
    work()
    return time.process_time() - start


def seconds(work: Callable[[], object], repeats: int = 1) -> float:
    """Return the shortest time that some work takes, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
