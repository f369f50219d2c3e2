"""Entry points: encoders, kinds of store and pages that installed packages offer."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from datumaro_clip.errors import PluginError

#: The group of entry points for kinds of store (datumaro_clip.store.StoreKind).
STORES = "datumaro_clip.stores"


def offered(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name, this package's own among them.

    Raises
    ------
    PluginError
        If two packages offer the same name; names both packages.
    """
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise PluginError(
                f"both {_package(other)} and {_package(entry)} offer '{entry.name}'; uninstall one of them"
            )
    return found


def load(entry: EntryPoint) -> Any:
    """Import the object that an entry point names.

    Raises
    ------
    PluginError
        If the import fails for any reason; names the package.
    """
    try:
        return entry.load()
    except Exception as exc:  # Another package's import may fail in any way.
        raise PluginError(
            f"'{entry.name}' of the package {_package(entry)} cannot be loaded: {type(exc).__name__}: {exc}; "
            "upgrade or uninstall it"
        ) from exc


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value
