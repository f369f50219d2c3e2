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
    PluginSpec(f"{_ADAPTERS}.embed.ClipEmbed", "clip_embed", "Transform"),
)
