"""Embedding stores as formats of Datumaro's, one for each kind that is installed: a dataset and its vectors.

The classes are made when they are first asked for, and named after their kind: ``ClipMmapBase``, ``ClipMmapExporter``,
``ClipMmapImporter``.
"""

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

from datumaro_clip.curate.item import Item
from datumaro_clip.curate.vector_options import EMBEDDING_OPTIONS, EmbeddingOptions
from datumaro_clip.errors import OptionError, StoreFormatError
from datumaro_clip.host.codec.items import DatasetDescription, ItemDecoder, attach_vectors, describe_dataset
from datumaro_clip.host.configured import add_configured_options
from datumaro_clip.host.embedding import Embedder
from datumaro_clip.host.items import label_names, neutral
from datumaro_clip.host.specs import class_name
from datumaro_clip.host.storing import (
    ItemStorer,
    refuse_another_size,
    store_as_they_are,
    store_embedded,
    tell_no_items,
)
from datumaro_clip.store import (
    DTYPES,
    Header,
    SegmentReader,
    StoreWriter,
    append_to_store,
    create_store,
    kind_names,
    open_store,
    store_kind,
)
from datumaro_clip.store.manifest import find_kind, manifest_path
from datumaro_clip.vectors import ItemKey


def stored_items(path: Path, keys: Iterable[ItemKey]) -> Iterator[Item]:
    """Read items of a store by their keys, without reading the others; those that are not there are left out."""
    with open_store(path) as store:
        description, decoder = DatasetDescription(store), ItemDecoder(path)
        classes = label_names(description.categories)
        for key in dict.fromkeys(keys):
            if (row := store.find(key)) is not None:
                record = store.record(row)
                yield neutral(decoder.decode(record.key, record.payload), classes)


class LazyBase(DatasetBase):
    """A dataset that is read item by item; a subclass sets its infos, its categories, and whether it is streamed."""

    _infos: dict[str, Any]
    _categories: dict[Any, Any]
    _stream: bool

    def infos(self) -> dict[str, Any]:
        """Return the dataset's infos."""
        return self._infos

    def categories(self) -> dict[Any, Any]:
        """Return the categories by annotation type."""
        return self._categories

    @property
    def is_stream(self) -> bool:
        """Whether readers shall not keep the items."""
        return self._stream


class StoreBase(LazyBase):
    """A store as a dataset: opening reads the manifest, iterating reads items and vectors block by block."""

    def __init__(self, url: str, stream: bool = False, ctx: ImportContext | None = None) -> None:
        self._url, self._stream = url, stream
        self._reader = open_store(url)
        if self._reader.kind.name != self.NAME:
            raise StoreFormatError(f"{url} holds a {self._reader.kind.name} store, not {self.NAME}")
        described = DatasetDescription(self._reader)
        self._infos, self._categories = described.infos, described.categories
        self._decoder = ItemDecoder(Path(url))
        subsets = list(self._reader.subsets)
        super().__init__(length=len(self._reader), subsets=subsets, media_type=described.media_type, ctx=ctx)

    def __reduce__(self) -> tuple[type[StoreBase], tuple[str, bool]]:
        return type(self), (self._url, self._stream)

    def __iter__(self) -> Iterator[DatasetItem]:
        for segment in self._reader.segments:
            for row in segment.live:
                yield self._item(segment, int(row))

    def get(self, id: str, subset: str | None = None) -> DatasetItem | None:
        """Find one item without reading the others."""
        row = self._reader.find(ItemKey(str(id), subset or "default"))
        return None if row is None else self._item(*self._reader.locate(row))

    def _item(self, segment: SegmentReader, row: int) -> DatasetItem:
        record = segment.record(row)
        item = self._decoder.decode(record.key, record.payload)
        attach_vectors(item, record, self._reader.header.space, segment.entry.precision)
        return item


class StoreExporter(Exporter):
    """Writes a dataset to a store of one kind, or adds to the store what changed."""

    DEFAULT_IMAGE_EXT = ".png"

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
        """Add what changed to the store where that is cheaper and gives the same; else write it anew."""
        exporter = cls(dataset, save_dir, **options)
        if find_kind(Path(save_dir)) != cls.NAME or not exporter._can_append(patch):
            exporter.apply()
            return
        with append_to_store(save_dir, exporter._header()) as writer:
            changed = []
            for id_and_subset in patch.updated_items:
                item = patch.data.get(*id_and_subset)
                writer.remove(ItemKey(*id_and_subset)) if item is None else changed.append(item)
            exporter._write(writer, changed, len(changed))

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

    def _can_append(self, patch: Any) -> bool:
        with open_store(self._save_dir) as reader:
            same_dtype = self._dtype in (None, reader.header.dtype)
            same_bytes = self._compression in (None, reader.header.compression)
            media_too = not self._save_media or (reader.path / "media").is_dir()
            is_less = reader.kind.supports_append and len(patch.updated_items) < len(reader)
            return same_dtype and same_bytes and media_too and is_less

    def _write(self, writer: StoreWriter, items: Iterable[DatasetItem], total: int | None) -> None:
        categories = self._extractor.categories()
        storer = ItemStorer(writer, categories, bool(self._save_media), self._image_ext)
        if self._no_embed:
            store_as_they_are(storer, items)
        else:
            store_embedded(storer, items, Embedder(self._options, categories), total)
        storer.report()

    def _header(self) -> Header:
        kind = store_kind(self.NAME)
        if self._compression not in (None, *kind.compressions):
            raise OptionError(f"--compression must be one of {', '.join(kind.compressions)}; got {self._compression!r}")
        compression = self._compression or "none"
        return describe_dataset(self._extractor, dtype=self._dtype or "float32", compression=compression)


class Confidence(IntEnum):
    """How sure a detection is: above Datumaro's MEDIUM, 20, which formats have that only look at file endings."""

    PICTURES_FOUND = 30
    CERTAIN = 100


class StreamingImporter(Importer):
    """An importer that detects its format itself, and reads items one by one."""

    @classmethod
    def get_plugin_cls(cls) -> type[StreamingImporter]:
        """Return this class: an environment that detects formats asks every importer, lazily known or not."""
        return cls

    @property
    def can_stream(self) -> bool:
        """Items are read one by one."""
        return True


class StoreImporter(StreamingImporter):
    """Finds stores of one kind."""

    @classmethod
    def detect(cls, context: FormatDetectionContext) -> int:
        """Know a store by the name and first bytes of its manifest."""
        context.require_file(f"{cls.NAME}.json")
        with context.probe_text_file(f"{cls.NAME}.json", f"must begin as the manifest of a {cls.NAME} store") as file:
            if not file.readline().startswith(f'{{"format":"{cls.NAME}",'):
                raise ValueError("another first line")
        return Confidence.CERTAIN

    @classmethod
    def find_sources(cls, path: str) -> list[dict[str, Any]]:
        """Find the store in a directory; its manifest's path does as well."""
        root = Path(path).parent if Path(path).name == f"{cls.NAME}.json" else Path(path)
        found = manifest_path(root, cls.NAME).is_file()
        return [{"url": str(root), "format": cls.NAME}] if found else []

    @classmethod
    def get_file_extensions(cls) -> list[str]:
        """Return the ending of the file that tells the format."""
        return [".json"]


# The class of each role, and what the format's help says.
_ROLES: dict[str, tuple[Any, str]] = {
    "Base": (StoreBase, "A {kind} store, read lazily."),
    "Exporter": (
        StoreExporter,
        """
    Writes a dataset without loss, and its CLIP vectors, to {title}. Computes the vectors that items
    lack.|n
    |n
    Example:|n
    |s|sdatum export -i path/to/coco:coco -f {kind} -o STORE -- --model tiny --save-media
    """,
    ),
    "Importer": (StoreImporter, "A dataset with its CLIP vectors, in a {kind} store."),
}


def __getattr__(name: str) -> Any:
    for kind in kind_names():
        for role, (base, told) in _ROLES.items():
            if name == class_name(kind) + role:
                doc = told.format(kind=kind, title=store_kind(kind).title)
                members = {"NAME": kind, "__doc__": doc, "__module__": __name__}
                return globals().setdefault(name, type(name, (base,), members))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
