"""Stores as formats of Datumaro's, one for each kind that is installed: a dataset and its vectors in one store.

The classes are made when they are first asked for, named after their kind: ``ClipMmapBase``, ``ClipMmapExporter``,
``ClipMmapImporter``.
"""

from __future__ import annotations

from typing import Any

from datumaro_clip.host.formats.base import StoreBase
from datumaro_clip.host.formats.exporter import StoreExporter
from datumaro_clip.host.formats.importer import StoreImporter
from datumaro_clip.host.specs import format_class
from datumaro_clip.store import kind_names

_ROLES: dict[str, Any] = {"Base": StoreBase, "Exporter": StoreExporter, "Importer": StoreImporter}


def __getattr__(name: str) -> Any:
    for kind in kind_names():
        for role, base in _ROLES.items():
            if name == format_class(kind, role):
                members = {"NAME": kind, "__doc__": base.describe(kind), "__module__": __name__}
                return globals().setdefault(name, type(name, (base,), members))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
