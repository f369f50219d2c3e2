"""Writes datasets as image–text tables and WebDataset shards."""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from datumaro.components.annotation import AnnotationType, Caption, Label
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.exporter import Exporter
from datumaro.components.media import Image, ImageFromBytes, ImageFromFile
from datumaro.util.image import encode_image

from datumaro_clip.curate.split import copy_groups, split_groups
from datumaro_clip.errors import ImageError, OptionError, TableError
from datumaro_clip.host.codec.pixels import decoded_anew, dotted
from datumaro_clip.host.items import has_picture, label_names, neutral
from datumaro_clip.host.tables.reading import COLUMN, INFO
from datumaro_clip.system.files import atomic_path, atomic_write, copy_picture, reading_picture
from datumaro_clip.system.notices import notice_counts
from datumaro_clip.tables.dialects import WEBDATASET
from datumaro_clip.tables.files import find_tables
from datumaro_clip.tables.opening import FORMATS
from datumaro_clip.tables.options import DIALECTS
from datumaro_clip.tables.planning import Census, Origin, make_plan
from datumaro_clip.tables.records import ColumnText, Record
from datumaro_clip.tables.shard_writing import ShardExport
from datumaro_clip.tables.writing import TableExport
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE

#: The subsets that ``--split`` makes where no others are named.
SPLIT_NAMES = ("train", "val")
SHARD_SIZE = 10_000

log = logging.getLogger(__name__)

_LOSSES = {
    "unsaved": "%d pictures have no file of their own, and are not in the table; --save-media keeps them",
    "missing": "%d pictures could not be copied, since their files are not there",
    "without_picture": "%d items have no picture, and this layout no place for them",
    "annotations": "%d boxes, masks and other annotations have no place in a table, and were left out",
    "attributes": "%d attributes of captions and labels have no place in a table, and were left out",
}
_UNREAD = "%d pictures cannot be read and were not copied (%s)"


class ClipTableExporter(Exporter):
    """
    Writes captions, labels, attributes and pictures as a table, by default in the format and with the columns of the
    input. Boxes and masks are left out, and counted.|n
    |n
    Example:|n
    |s|sdatum convert -i path/to/coco -if coco -f clip_table -o OUT -- --table-format jsonl --save-media
    """

    DEFAULT_IMAGE_EXT = ".png"

    @classmethod
    def build_cmdline_parser(cls, **kwargs: Any) -> argparse.ArgumentParser:
        """Declare the form of the table."""
        parser: argparse.ArgumentParser = super().build_cmdline_parser(**kwargs)
        add = parser.add_argument
        formats = sorted(set(FORMATS.values()))
        add("--table-format", choices=formats, help="file format (default: that of the input, else csv)")
        add("--dialect", choices=DIALECTS, help="layout (default: that of the input, else auto)")
        add_split_options(parser)
        add("--inline-media", action="store_true", help="put the pictures into the table (Parquet only)")
        return parser

    def __init__(
        self,
        extractor: Any,
        save_dir: str,
        *,
        table_format: str | None = None,
        dialect: str | None = None,
        inline_media: bool = False,
        split: float | None = None,
        seed: int = 0,
        split_names: Sequence[str] = SPLIT_NAMES,
        **options: Any,
    ) -> None:
        super().__init__(extractor, save_dir, **options)
        self._split, self._seed, self._split_names = split, seed, tuple(split_names)
        if split is not None and not 0 < split < 1:
            raise OptionError(f"--split must be a share above 0 and below 1, got {split}")
        if len(set(self._split_names)) != 2:
            raise OptionError(f"--split-names must be two names, got {' '.join(self._split_names)}")
        self._format, self._dialect, self._inline_media = table_format, dialect, inline_media

    @classmethod
    def patch(cls, dataset: Any, patch: Any, save_dir: str, **options: Any) -> None:
        """Write the tables anew where they are; pictures stay, also those that no row names any more."""
        try:
            before = {path.absolute() for path, _ in find_tables(Path(save_dir))}
        except TableError:
            before = set()
        written = cls(dataset, save_dir, **options).apply()
        for path in before - {path.absolute() for path in written}:
            path.unlink()

    @property
    def can_stream(self) -> bool:
        """Items are written one by one; they are read twice, first to know the columns."""
        return True

    def _apply_impl(self) -> set[Path]:
        subsets, census, lost = self._subsets(), Census(), Counter[str]()
        for record, picture, left_out in self._records(subsets):
            census.add(record, picture)
            lost.update(left_out)
        export = self._export(census, Origin.from_info((self._extractor.infos() or {}).get(INFO)))
        export.write_all((record, picture) for record, picture, _ in self._records(subsets))
        notice_counts(log, export.counts + lost, _LOSSES, _UNREAD)
        return export.written

    def _export(self, census: Census, origin: Origin | None) -> TableExport | ShardExport:
        """Plan what is written, by what all items have and by the table that they came from."""
        is_told = self._dialect in (None, "auto") and origin is not None and origin.dialect != WEBDATASET
        plan = make_plan(
            census,
            origin,
            dialect=None if is_told else self._dialect or "auto",
            format=self._format,
            saves_media=bool(self._save_media),
            is_inline=self._inline_media,
        )
        return TableExport(Path(self._save_dir), plan)

    def _subsets(self) -> list[str] | None:
        """Return the subset that ``--split`` puts each item in."""
        if self._split is None:
            return None
        classes = label_names(self._extractor.categories())
        first, second = self._split_names
        groups = copy_groups([neutral(item, classes) for item in self._extractor])
        return [first if chosen else second for chosen in split_groups(groups, self._split, self._seed)]

    def _records(self, subsets: list[str] | None) -> Iterator[tuple[Record, ItemPicture | None, Counter[str]]]:
        """Return the record and the picture of each item, and the numbers of what a table has no place for."""
        for place, item in enumerate(self._extractor):
            record, lost = record_of(item, self._extractor.categories())
            picture = ItemPicture(item.media, self._image_ext) if has_picture(item) else None
            yield record if subsets is None else replace(record, subset=subsets[place]), picture, lost


class ClipWebdatasetExporter(ClipTableExporter):
    """
    Writes WebDataset shards: the picture of each item, its first caption as txt, and everything else as JSON. The same
    items give the same bytes. Boxes and masks are left out, and counted.|n
    |n
    Example:|n
    |s|sdatum convert -i path/to/coco -if coco -f clip_webdataset -o OUT -- --shard-size 1000
    """

    @classmethod
    def build_cmdline_parser(cls, **kwargs: Any) -> argparse.ArgumentParser:
        """Declare the size of the archives, and the split."""
        parser: argparse.ArgumentParser = super(ClipTableExporter, cls).build_cmdline_parser(**kwargs)
        parser.add_argument(
            "--shard-size", type=int, default=SHARD_SIZE, help="items per archive (default: %(default)s)"
        )
        add_split_options(parser)
        return parser

    def __init__(self, extractor: Any, save_dir: str, *, shard_size: int = SHARD_SIZE, **options: Any) -> None:
        if shard_size < 1:
            raise OptionError(f"--shard-size must be at least 1, got {shard_size}")
        self._shard_size = shard_size
        super().__init__(extractor, save_dir, **options)

    @classmethod
    def patch(cls, dataset: Any, patch: Any, save_dir: str, **options: Any) -> None:
        """Write the archives anew; those that are there are read until the last one is written."""
        super(ClipTableExporter, cls).patch(dataset, patch, save_dir, **options)

    def _export(self, census: Census, origin: Origin | None) -> ShardExport:
        return ShardExport(Path(self._save_dir), make_plan(census, origin, dialect=WEBDATASET), self._shard_size)


def add_split_options(parser: argparse.ArgumentParser) -> None:
    """Declare how a dataset is split."""
    add = parser.add_argument
    add("--split", type=float, metavar="SHARE", help="split into two subsets without leaks")
    add("--seed", type=int, default=0, help="random seed of the split (default: %(default)s)")
    add("--split-names", nargs=2, default=SPLIT_NAMES, metavar="NAME", help="of the two subsets (default: train val)")


def record_of(item: DatasetItem, categories: Mapping[Any, Any]) -> tuple[Record, Counter[str]]:
    """Return what a table can say of an item, and the numbers of ``annotations`` and ``attributes`` that it cannot."""
    names = categories.get(AnnotationType.label)
    captions, labels, lost = [], [], Counter[str]()
    for note in item.annotations:
        column = str(note.attributes.get(COLUMN, ""))
        if isinstance(note, Caption):
            captions.append(ColumnText(column, note.caption))
        elif isinstance(note, Label) and names is not None and 0 <= note.label < len(names):
            labels.append(ColumnText(column, names[note.label].name))
        else:
            lost["annotations"] += 1
            continue
        lost["attributes"] += sum(name != COLUMN for name in note.attributes)
    attributes = {str(name): value for name, value in item.attributes.items() if name != EMBEDDING_ATTRIBUTE}
    return Record(str(item.id), str(item.subset), None, tuple(captions), tuple(labels), attributes), lost


class ItemPicture:
    """The picture of an item as a file that can be written: its bytes as they are, unless encoded anew.

    Parameters
    ----------
    media : Image
    image_ext : str, optional
        Encode in this format, as ``.png``, unless the picture is in it already.
    """

    def __init__(self, media: Image, image_ext: str | None = None) -> None:
        self._media = media
        self.path: str | None = media.path if type(media) is ImageFromFile else None
        wanted = dotted(image_ext)
        own = media.ext if isinstance(media, ImageFromFile | ImageFromBytes) else None
        self._is_encoded = bool(own) and wanted in (None, own)
        self.ending: str = wanted or own or ".png"

    def read(self) -> bytes:
        """Return its encoded bytes.

        Raises
        ------
        ImageError
            If its file, or its data, is not there, cannot be read, or not be encoded anew.
        """
        data: bytes | None
        if self._is_encoded and self.path is not None:
            with reading_picture(self.path):
                return Path(self.path).read_bytes()
        if self._is_encoded and isinstance(self._media, ImageFromBytes):
            data = self._media.bytes
        else:
            try:
                with reading_picture(self.path or self._media):
                    pixels = decoded_anew(self._media)
                data = None if pixels is None else bytes(encode_image(np.asarray(pixels), self.ending))
            except ImageError:
                raise
            except Exception as exc:  # Datumaro's decoders and encoders may raise anything.
                raise ImageError("unreadable", f"{self._media!r} cannot be written as {self.ending}: {exc}") from exc
        if data is None:
            raise ImageError("missing", f"{self._media!r} holds no data")
        return data

    def save(self, path: Path) -> None:
        """Write it to a file, whole; a file's bytes are copied."""
        if self.path is not None and self._is_encoded:
            with atomic_path(path, durable=False) as temporary:
                copy_picture(Path(self.path), temporary)
        else:
            data = self.read()
            with atomic_write(path, durable=False) as file:
                file.write(data)
