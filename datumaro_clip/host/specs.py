"""Lists the plugins, as Datumaro's own ``specs.json`` lists its built-in ones; imports none of them."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from datumaro_clip.curate.tools import MODULES
from datumaro_clip.system.entry_points import STORES, offered


class PluginSpec(NamedTuple):
    """Where a plugin's class is, its name, and its kind."""

    import_path: str
    name: str
    kind: str
    file_extensions: tuple[str, ...] = ()


_HOST = "datumaro_clip.host"
_TABLE_ENDINGS = (".csv", ".tsv", ".tab", ".txt", ".jsonl", ".ndjson", ".json", ".parquet", ".gz", ".zst", ".toml")


def class_name(plugin: str) -> str:
    """Return the name of a plugin's class, as ``ClipAlign`` of ``clip_align``."""
    return "".join(word.capitalize() for word in plugin.split("_"))


PLUGINS = (
    *(PluginSpec(f"{_HOST}.transform.{class_name(tool)}", tool, "Transform") for tool in MODULES),
    PluginSpec(f"{_HOST}.integrity.ClipIntegrityValidator", "clip_integrity", "Validator"),
    PluginSpec(f"{_HOST}.detect.ClipDetect", "clip_detect", "Transform"),
    PluginSpec(f"{_HOST}.embed.ClipEmbed", "clip_embed", "Transform"),
    PluginSpec(f"{_HOST}.labels.ClipLabels", "clip_labels", "Transform"),
    PluginSpec(f"{_HOST}.normalize.ClipNormalize", "clip_normalize", "Transform"),
    PluginSpec(f"{_HOST}.tables.reading.ClipTableBase", "clip_table", "DatasetBase"),
    PluginSpec(f"{_HOST}.tables.writing.ClipTableExporter", "clip_table", "Exporter"),
    PluginSpec(f"{_HOST}.tables.reading.ClipTableImporter", "clip_table", "Importer", _TABLE_ENDINGS),
    PluginSpec(f"{_HOST}.tables.reading.ClipWebdatasetBase", "clip_webdataset", "DatasetBase"),
    PluginSpec(f"{_HOST}.tables.writing.ClipWebdatasetExporter", "clip_webdataset", "Exporter"),
    PluginSpec(f"{_HOST}.tables.reading.ClipWebdatasetImporter", "clip_webdataset", "Importer", (".tar",)),
)


@cache
def store_plugins() -> tuple[PluginSpec, ...]:
    """Return three plugins for each kind of store that is installed, ours and others' alike."""
    roles = (("Base", "DatasetBase", ()), ("Exporter", "Exporter", ()), ("Importer", "Importer", (".json",)))
    return tuple(
        PluginSpec(f"{_HOST}.formats.{class_name(store)}{role}", store, kind, extensions)
        for store in sorted(offered(STORES))
        for role, kind, extensions in roles
    )
