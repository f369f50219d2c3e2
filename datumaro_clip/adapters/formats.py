"""The formats ``clip_hdf5`` and ``clip_mmap``: a dataset and its vectors in one store."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any

from datumaro.components.dataset_base import DatasetBase, DatasetItem
from datumaro.components.exporter import Exporter
from datumaro.components.format_detection import FormatDetectionContext
from datumaro.components.importer import ImportContext, Importer

from datumaro_clip.adapters.carried import ATTRIBUTE
from datumaro_clip.adapters.codec.items import DatasetDescription, ItemDecoder, describe_dataset
from datumaro_clip.adapters.embedding import Embedder
from datumaro_clip.adapters.options import EmbeddingOptions, add_embedding_options
from datumaro_clip.adapters.storing import ItemStorer, MediaOptions, store_as_they_are, store_embedded
from datumaro_clip.errors import OptionError, StoreFormatError
from datumaro_clip.store import (
    DTYPES,
    Header,
    StoreWriter,
    append_to_store,
    create_store,
    open_store,
    store_kind,
)
from datumaro_clip.store.manifest import find_kind, manifest_path
from datumaro_clip.store.segments import SegmentReader
from datumaro_clip.vectors import Embedding, ItemKey


class _Confidence(IntEnum):
    """More than Datumaro's MEDIUM, which is all that formats without a file of their own can claim."""

    CERTAIN = 100


class _StoreImporter(Importer):
    """What both importers share."""

    @classmethod
    def detect(cls, context: FormatDetectionContext) -> int:
        """A store is known by the name and first bytes of its manifest."""
        context.require_file(f"{cls.NAME}.json")
        with context.probe_text_file(f"{cls.NAME}.json", f"must begin as the manifest of a {cls.NAME} store") as file:
            if not file.readline().startswith(f'{{"format":"{cls.NAME}",'):
                raise ValueError("another first line")
        return _Confidence.CERTAIN

    @classmethod
    def find_sources(cls, path: str) -> list[dict[str, Any]]:
        """The store in a directory; its manifest's path does as well."""
        root = Path(path).parent if Path(path).name == f"{cls.NAME}.json" else Path(path)
        found = manifest_path(root, cls.NAME).is_file()
        return [{"url": str(root), "format": cls.NAME}] if found else []

    @classmethod
    def get_file_extensions(cls) -> list[str]:
        """Of the file that tells the format."""
        return [".json"]

    @classmethod
    def get_plugin_cls(cls) -> type[_StoreImporter]:
        """This class: an environment that detects formats asks every importer, lazily known or not."""
        return cls

    @property
    def can_stream(self) -> bool:
        """Items are read one by one."""
        return True


class _StoreBase(DatasetBase):
    """A store as a dataset: opening reads the manifest, iterating reads items and vectors block by block."""

    def __init__(self, url: str, stream: bool = False, ctx: ImportContext | None = None) -> None:
        self._url, self._stream = url, stream
        self._reader = open_store(url)
        if self._reader.kind.name != self.NAME:
            raise StoreFormatError(f"{url} holds a {self._reader.kind.name} store, not {self.NAME}")
        self._description = DatasetDescription(self._reader)
        self._decoder = ItemDecoder(Path(url))
        super().__init__(
            length=len(self._reader),
            subsets=list(self._reader.subsets),
            media_type=self._description.media_type,
            ctx=ctx,
        )

    def __reduce__(self) -> tuple[type[_StoreBase], tuple[str, bool]]:
        return type(self), (self._url, self._stream)

    def __iter__(self) -> Iterator[DatasetItem]:
        for segment in self._reader.segments:
            for row in segment.live:
                yield self._item(segment, int(row))

    def get(self, id: str, subset: str | None = None) -> DatasetItem | None:
        """One item, found without reading the others."""
        row = self._reader.find(ItemKey(str(id), subset or "default"))
        return None if row is None else self._item(*self._reader.locate(row))

    def infos(self) -> dict[str, Any]:
        """What the dataset says of itself."""
        return self._description.infos

    def categories(self) -> dict[Any, Any]:
        """Categories by annotation type."""
        return self._description.categories

    @property
    def is_stream(self) -> bool:
        """Whether items shall not be kept by who reads them."""
        return self._stream

    def _item(self, segment: SegmentReader, row: int) -> DatasetItem:
        record = segment.record(row)
        item = self._decoder.decode(record.key, record.payload)
        space = self._reader.header.space
        if record.embedding is not None and space is not None:
            precision = str(record.payload.get("precision", segment.entry.precision))
            item.attributes[ATTRIBUTE] = Embedding(record.embedding, space.fingerprint, space.model, precision)
        return item


class _StoreExporter(Exporter):
    """What both exporters share."""

    DEFAULT_IMAGE_EXT = ".png"

    @classmethod
    def build_cmdline_parser(cls, **kwargs: Any) -> argparse.ArgumentParser:
        """Declare the options that both formats have."""
        parser: argparse.ArgumentParser = super().build_cmdline_parser(**kwargs)
        add = parser.add_argument
        add("--dtype", choices=list(DTYPES), help="how vectors are kept (default: float32, or as the store has them)")
        add("--no-embed", action="store_true", help="keep the vectors that items carry; compute none")
        add_embedding_options(parser, overwrite=True)
        return parser

    def __init__(
        self,
        extractor: Any,
        save_dir: str,
        *,
        dtype: str | None = None,
        compression: str = "none",
        no_embed: bool = False,
        **options: Any,
    ) -> None:
        self._options = EmbeddingOptions.take_from(options)
        self._dtype, self._compression, self._no_embed = dtype, compression, no_embed
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
        with create_store(self._save_dir, self.NAME, self._header(), overwrite=True) as writer:
            self._write(writer, self._extractor, None if self._stream else len(self._extractor))

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
            return same_dtype and reader.kind.supports_append and len(patch.updated_items) < len(reader)

    def _write(self, writer: StoreWriter, items: Iterable[DatasetItem], total: int | None) -> None:
        storer = ItemStorer(writer, MediaOptions(bool(self._save_media), self._image_ext))
        if self._no_embed:
            store_as_they_are(storer, items)
        else:
            store_embedded(storer, items, Embedder(self._options, self._extractor.categories()), total)
        storer.report()

    def _header(self) -> Header:
        kind = store_kind(self.NAME)
        if self._compression not in kind.compressions:
            raise OptionError(f"--compression must be one of {', '.join(kind.compressions)}; got {self._compression!r}")
        source = self._extractor
        return describe_dataset(
            source.categories(),
            source.infos(),
            source.media_type(),
            dtype=self._dtype or "float32",
            compression=self._compression,
        )


class ClipHdf5Importer(_StoreImporter):
    """A dataset with its CLIP vectors, in HDF5."""


class ClipHdf5Base(_StoreBase):
    """A ``clip_hdf5`` store, read lazily."""


class ClipHdf5Exporter(_StoreExporter):
    """
    Writes a dataset, without loss, and its CLIP vectors to HDF5; vectors that items lack are computed.|n
    |n
    Example:|n
    |s|sdatum export -i path/to/coco:coco -f clip_hdf5 -o STORE -- --model tiny --save-media
    """

    @classmethod
    def build_cmdline_parser(cls, **kwargs: Any) -> argparse.ArgumentParser:
        """Declare the options."""
        parser = super().build_cmdline_parser(**kwargs)
        choices = store_kind(cls.NAME).compressions
        parser.add_argument("--compression", choices=choices, default="none", help="default: %(default)s")
        return parser


class ClipMmapImporter(_StoreImporter):
    """A dataset with its CLIP vectors, in NumPy files that are mapped."""


class ClipMmapBase(_StoreBase):
    """A ``clip_mmap`` store, read lazily."""


class ClipMmapExporter(_StoreExporter):
    """
    Writes a dataset, without loss, and its CLIP vectors to NumPy files that are mapped when read; vectors that items
    lack are computed.|n
    |n
    Example:|n
    |s|sdatum export -i path/to/coco:coco -f clip_mmap -o STORE -- --model tiny --save-media
    """
