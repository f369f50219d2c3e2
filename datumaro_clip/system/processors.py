"""How many threads are worth their while here."""

from __future__ import annotations

import os


def available_processors() -> int:
    """Processors that this process may use, at least 1; on a shared machine fewer than it has."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return max(len(allowed), 1)
