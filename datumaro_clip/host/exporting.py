"""Writes a dataset to a store in the cache, and items of a store in any of Datumaro's formats."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

from datumaro.components.dataset import Dataset
from datumaro.components.environment import DEFAULT_ENVIRONMENT

from datumaro_clip.host.causes import told_as_option_errors
from datumaro_clip.host.items import key_of
from datumaro_clip.host.losses import with_items, write
from datumaro_clip.host.sources import open_dataset
from datumaro_clip.store.manifest import find_kind
from datumaro_clip.system.files import cache_root, safe_file_name
from datumaro_clip.vectors import ItemKey


def export_formats() -> list[str]:
    """Return the names of all formats that Datumaro writes here, ours included."""
    return sorted(DEFAULT_ENVIRONMENT.exporters)


def export_items(store: Path, keys: Collection[ItemKey], format: str, path: Path) -> None:
    """Write some items of a store, pictures included; a warning tells what the format does not keep of them.

    Parameters
    ----------
    store : Path
    keys : collection of ItemKey
    format : str
        A format that Datumaro writes.
    path : Path
        A new directory.
    """
    stored = Dataset.import_from(str(store), find_kind(store))
    wanted = frozenset(keys)
    chosen = with_items(stored, [item for item in stored if key_of(item) in wanted])
    write(chosen, path, format, save_media=True).tell()


def store_dataset(spec: str, model: str | None = None) -> Path:
    """Embed a dataset, captions included, into a store of its own below the cache directory.

    The store is written anew each time; vectors that were computed before come from the vector cache.

    Parameters
    ----------
    spec : str
        ``PATH`` or ``PATH:FORMAT``.
    model : str, optional
        The default model where omitted.

    Returns
    -------
    Path
        The store's directory.
    """
    dataset = open_dataset(spec)
    digest = hashlib.blake2b(str(Path(spec).resolve()).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    store = cache_root() / "explored" / f"{safe_file_name(Path(spec).name)}-{digest}"
    with told_as_option_errors(spec):
        dataset.export(str(store), "clip_mmap", texts="captions", model=model)
    return store
