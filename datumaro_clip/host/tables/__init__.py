"""The formats ``clip_table`` and ``clip_webdataset``: image–text data of tables and tar shards."""

from __future__ import annotations

from datumaro_clip.host.tables.reading import (
    ClipTableBase,
    ClipTableImporter,
    ClipWebdatasetBase,
    ClipWebdatasetImporter,
)
from datumaro_clip.host.tables.writing import ClipTableExporter, ClipWebdatasetExporter

__all__ = [
    "ClipTableBase",
    "ClipTableExporter",
    "ClipTableImporter",
    "ClipWebdatasetBase",
    "ClipWebdatasetExporter",
    "ClipWebdatasetImporter",
]
