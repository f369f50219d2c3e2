"""datumaro-clip as Python functions: items, files, vectors or a store in, decisions, groups or hits out."""

from __future__ import annotations

from datumaro_clip.functions.curation import (
    DuplicateGroup,
    DuplicateGroups,
    align,
    classify,
    clean,
    decide_and_report,
    find_duplicates,
    last_decisions,
    outliers,
    sample,
)
from datumaro_clip.functions.opened import Hits, Store, open_store

__all__ = [
    "DuplicateGroup",
    "DuplicateGroups",
    "Hits",
    "Store",
    "align",
    "classify",
    "clean",
    "decide_and_report",
    "find_duplicates",
    "last_decisions",
    "open_store",
    "outliers",
    "sample",
]
