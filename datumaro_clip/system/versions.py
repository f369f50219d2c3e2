"""Versions of the libraries that are installed here."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def library_version(name: str) -> str | None:
    """A distribution's version; None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def library_versions(names: Iterable[str]) -> dict[str, str]:
    """Versions by name; libraries that are not installed are left out."""
    return {name: found for name in names if (found := library_version(name))}
