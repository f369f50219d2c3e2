"""The formats ``clip_table`` and ``clip_webdataset``: image–text data of tables and tar shards."""

from __future__ import annotations

from datumaro_clip.host.tables.base import ClipTableBase
from datumaro_clip.host.tables.exporter import ClipTableExporter
from datumaro_clip.host.tables.importer import ClipTableImporter

__all__ = ["ClipTableBase", "ClipTableExporter", "ClipTableImporter"]
