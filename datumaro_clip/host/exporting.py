"""Some items of a store as a dataset of any of Datumaro's formats."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from datumaro.components.dataset import Dataset

from datumaro_clip.host.items import key_of
from datumaro_clip.store.manifest import find_kind
from datumaro_clip.vectors import ItemKey


def export_items(store: Path, keys: Collection[ItemKey], format: str, path: Path) -> None:
    """Write some items of a store, pictures included.

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
    chosen = [item for item in stored if key_of(item) in wanted]
    some = Dataset.from_iterable(
        chosen, infos=stored.infos(), categories=stored.categories(), media_type=stored.media_type()
    )
    some.export(str(path), format, save_media=True)
