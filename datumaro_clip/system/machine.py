"""What this machine has: processors that this process may use, and versions of installed libraries."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version


def available_processors() -> int:
    """Count the processors that this process may use, at least 1; on a shared machine fewer than it has."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return max(len(allowed), 1)


@cache
def library_version(name: str) -> str | None:
    """Return a distribution's version; None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def library_versions(names: Iterable[str]) -> dict[str, str]:
    """Return versions by name, without the libraries that are not installed."""
    return {name: found for name in names if (found := library_version(name))}
