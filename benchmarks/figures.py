"""One measured figure, and how times are taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """What was measured.

    Attributes
    ----------
    part, name : str
        What it is a figure of.
    ours : float
        Our figure, in ``unit``.
    unit : str
        As in "s" or "pictures/s".
    ratio : float or None
        Beside what ``against`` names; more is better.
    goal : float or None
        The least ratio wanted; None where the figure is only shown.
    against : str
        What the ratio is beside, measured in the same run.
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
        """``pass`` or ``short`` where there is a goal."""
        if self.goal is None or self.ratio is None:
            return ""
        return "pass" if self.ratio >= self.goal else "short"


def seconds(work: Callable[[], object], repeats: int = 1) -> float:
    """The shortest time that some work takes, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
