"""The formats ``clip_hdf5`` and ``clip_mmap``: a dataset and its vectors in one store."""

from __future__ import annotations

from datumaro_clip.host.formats.base import ClipHdf5Base, ClipMmapBase
from datumaro_clip.host.formats.exporter import ClipHdf5Exporter, ClipMmapExporter
from datumaro_clip.host.formats.importer import ClipHdf5Importer, ClipMmapImporter

__all__ = [
    "ClipHdf5Base",
    "ClipHdf5Exporter",
    "ClipHdf5Importer",
    "ClipMmapBase",
    "ClipMmapExporter",
    "ClipMmapImporter",
]
