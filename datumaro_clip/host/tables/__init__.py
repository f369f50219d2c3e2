"""The formats ``clip_table`` and ``clip_webdataset``: image–text data of tables and tar shards."""

from __future__ import annotations

from datumaro_clip.host.tables.base import ClipTableBase, ClipWebdatasetBase
from datumaro_clip.host.tables.exporter import ClipTableExporter, ClipWebdatasetExporter
from datumaro_clip.host.tables.importer import ClipTableImporter, ClipWebdatasetImporter

__all__ = [
    "ClipTableBase",
    "ClipTableExporter",
    "ClipTableImporter",
    "ClipWebdatasetBase",
    "ClipWebdatasetExporter",
    "ClipWebdatasetImporter",
]
