"""Datasets to stores, written anew or appended to."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from datumaro.components.dataset_base import DatasetItem
from datumaro.components.exporter import Exporter

from datumaro_clip.curate.vector_options import EMBEDDING_OPTIONS, EmbeddingOptions
from datumaro_clip.errors import OptionError
from datumaro_clip.host.codec.items import describe_dataset
from datumaro_clip.host.configured import add_configured_options
from datumaro_clip.host.embedding import Embedder
from datumaro_clip.host.items import label_names
from datumaro_clip.host.storing import (
    ItemStorer,
    MediaOptions,
    refuse_another_size,
    store_as_they_are,
    store_embedded,
    tell_no_items,
)
from datumaro_clip.store import (
    DTYPES,
    Header,
    StoreWriter,
    append_to_store,
    create_store,
    open_store,
    store_kind,
)
from datumaro_clip.store.manifest import find_kind
from datumaro_clip.vectors import ItemKey


class StoreExporter(Exporter):
    """Writes a dataset to a store of one kind, or adds to the store what changed."""

    DEFAULT_IMAGE_EXT = ".png"

    @staticmethod
    def describe(kind: str) -> str:
        """What the format's help says."""
        return f"""
    Writes a dataset without loss, and its CLIP vectors, to {store_kind(kind).title}. Computes the vectors that items
    lack.|n
    |n
    Example:|n
    |s|sdatum export -i path/to/coco:coco -f {kind} -o STORE -- --model tiny --save-media
    """

    @classmethod
    def build_cmdline_parser(cls, **kwargs: Any) -> argparse.ArgumentParser:
        """Declare the options."""
        parser: argparse.ArgumentParser = super().build_cmdline_parser(**kwargs)
        add = parser.add_argument
        compressions = store_kind(cls.NAME).compressions
        if len(compressions) > 1:
            add("--compression", choices=compressions, help="compression (default: none, or that of the store)")
        add("--dtype", choices=list(DTYPES), help="type of the stored vectors (default: float32, or that of the store)")
        add("--repeat", action="store_true", help=argparse.SUPPRESS)
        add("--no-embed", action="store_true", help="store only the vectors that items have; compute none")
        add_configured_options(parser, EMBEDDING_OPTIONS, cls.NAME)
        return parser

    def __init__(
        self,
        extractor: Any,
        save_dir: str,
        *,
        dtype: str | None = None,
        compression: str | None = None,
        no_embed: bool = False,
        repeat: bool = False,
        **options: Any,
    ) -> None:
        self._options = EmbeddingOptions.take_from(options)
        self._dtype, self._compression, self._no_embed, self._repeat = dtype, compression, no_embed, repeat
        super().__init__(extractor, save_dir, **options)

    @classmethod
    def patch(cls, dataset: Any, patch: Any, save_dir: str, **options: Any) -> None:
        """Write what changed to the store that is there."""
        exporter = cls(dataset, save_dir, **options)
        if find_kind(Path(save_dir)) == cls.NAME and exporter._can_append(patch):
            exporter._append(patch)
        else:
            exporter.apply()

    @property
    def can_stream(self) -> bool:
        """Items are written one by one."""
        return True

    def _apply_impl(self) -> None:
        total = None if self._stream else len(self._extractor)
        if self._repeat:
            refuse_another_size(Path(self._save_dir), total, self._options.on_error)
        tell_no_items(total)
        overwrite = not self._repeat
        with create_store(self._save_dir, self.NAME, self._header(), overwrite=overwrite, repeat=True) as writer:
            self._write(writer, self._extractor, total)

    def _append(self, patch: Any) -> None:
        with append_to_store(self._save_dir, self._header()) as writer:
            changed = []
            for id_and_subset in patch.updated_items:
                item = patch.data.get(*id_and_subset)
                writer.remove(ItemKey(*id_and_subset)) if item is None else changed.append(item)
            self._write(writer, changed, len(changed))

    def _can_append(self, patch: Any) -> bool:
        """Whether adding is cheaper than writing anew, and gives the same."""
        with open_store(self._save_dir) as reader:
            same_dtype = self._dtype in (None, reader.header.dtype)
            same_bytes = self._compression in (None, reader.header.compression)
            media_too = not self._save_media or (reader.path / "media").is_dir()
            is_less = reader.kind.supports_append and len(patch.updated_items) < len(reader)
            return same_dtype and same_bytes and media_too and is_less

    def _write(self, writer: StoreWriter, items: Iterable[DatasetItem], total: int | None) -> None:
        media = MediaOptions(bool(self._save_media), self._image_ext)
        storer = ItemStorer(writer, media, label_names(self._extractor.categories()))
        if self._no_embed:
            store_as_they_are(storer, items)
        else:
            store_embedded(storer, items, Embedder(self._options, self._extractor.categories()), total)
        storer.report()

    def _header(self) -> Header:
        kind = store_kind(self.NAME)
        if self._compression not in (None, *kind.compressions):
            raise OptionError(f"--compression must be one of {', '.join(kind.compressions)}; got {self._compression!r}")
        source = self._extractor
        return describe_dataset(
            source.categories(),
            source.infos(),
            source.media_type(),
            dtype=self._dtype or "float32",
            compression=self._compression or "none",
        )
