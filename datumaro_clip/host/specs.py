"""The plugins, as Datumaro's own ``specs.json`` lists its built-in ones; imports nothing."""

from __future__ import annotations

from typing import NamedTuple


class PluginSpec(NamedTuple):
    """Where a plugin's class is, the name it goes by, and its kind."""

    import_path: str
    name: str
    kind: str
    file_extensions: tuple[str, ...] = ()


_HOST = "datumaro_clip.host"

PLUGINS = (
    PluginSpec(f"{_HOST}.curation.align.ClipAlign", "clip_align", "Transform"),
    PluginSpec(f"{_HOST}.curation.classify.ClipClassify", "clip_classify", "Transform"),
    PluginSpec(f"{_HOST}.curation.clean.ClipClean", "clip_clean", "Transform"),
    PluginSpec(f"{_HOST}.curation.dedup.ClipDedup", "clip_dedup", "Transform"),
    PluginSpec(f"{_HOST}.curation.integrity.ClipIntegrityValidator", "clip_integrity", "Validator"),
    PluginSpec(f"{_HOST}.transform.ClipOutliers", "clip_outliers", "Transform"),
    PluginSpec(f"{_HOST}.curation.sample.ClipSample", "clip_sample", "Transform"),
    PluginSpec(f"{_HOST}.curation.search.ClipSearch", "clip_search", "Transform"),
    PluginSpec(f"{_HOST}.embed.ClipEmbed", "clip_embed", "Transform"),
    PluginSpec(f"{_HOST}.formats.ClipHdf5Base", "clip_hdf5", "DatasetBase"),
    PluginSpec(f"{_HOST}.formats.ClipHdf5Exporter", "clip_hdf5", "Exporter"),
    PluginSpec(f"{_HOST}.formats.ClipHdf5Importer", "clip_hdf5", "Importer", (".json",)),
    PluginSpec(f"{_HOST}.formats.ClipMmapBase", "clip_mmap", "DatasetBase"),
    PluginSpec(f"{_HOST}.formats.ClipMmapExporter", "clip_mmap", "Exporter"),
    PluginSpec(f"{_HOST}.formats.ClipMmapImporter", "clip_mmap", "Importer", (".json",)),
)
