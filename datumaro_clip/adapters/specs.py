"""The plugins, as Datumaro's own ``specs.json`` lists its built-in ones; imports nothing."""

from __future__ import annotations

from typing import NamedTuple


class PluginSpec(NamedTuple):
    """Where a plugin's class is, the name it goes by, and its kind."""

    import_path: str
    name: str
    kind: str
    file_extensions: tuple[str, ...] = ()


_ADAPTERS = "datumaro_clip.adapters"

PLUGINS = (
    PluginSpec(f"{_ADAPTERS}.curation.align.ClipAlign", "clip_align", "Transform"),
    PluginSpec(f"{_ADAPTERS}.curation.classify.ClipClassify", "clip_classify", "Transform"),
    PluginSpec(f"{_ADAPTERS}.curation.clean.ClipClean", "clip_clean", "Transform"),
    PluginSpec(f"{_ADAPTERS}.curation.dedup.ClipDedup", "clip_dedup", "Transform"),
    PluginSpec(f"{_ADAPTERS}.curation.integrity.ClipIntegrityValidator", "clip_integrity", "Validator"),
    PluginSpec(f"{_ADAPTERS}.curation.outliers.ClipOutliers", "clip_outliers", "Transform"),
    PluginSpec(f"{_ADAPTERS}.curation.sample.ClipSample", "clip_sample", "Transform"),
    PluginSpec(f"{_ADAPTERS}.curation.search.ClipSearch", "clip_search", "Transform"),
    PluginSpec(f"{_ADAPTERS}.embed.ClipEmbed", "clip_embed", "Transform"),
    PluginSpec(f"{_ADAPTERS}.formats.ClipHdf5Base", "clip_hdf5", "DatasetBase"),
    PluginSpec(f"{_ADAPTERS}.formats.ClipHdf5Exporter", "clip_hdf5", "Exporter"),
    PluginSpec(f"{_ADAPTERS}.formats.ClipHdf5Importer", "clip_hdf5", "Importer", (".json",)),
    PluginSpec(f"{_ADAPTERS}.formats.ClipMmapBase", "clip_mmap", "DatasetBase"),
    PluginSpec(f"{_ADAPTERS}.formats.ClipMmapExporter", "clip_mmap", "Exporter"),
    PluginSpec(f"{_ADAPTERS}.formats.ClipMmapImporter", "clip_mmap", "Importer", (".json",)),
)
