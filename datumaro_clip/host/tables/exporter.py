"""Datasets to image–text tables."""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datumaro.components.dataset_base import DatasetItem
from datumaro.components.exporter import Exporter

from datumaro_clip.curate.split import copy_groups, split_groups
from datumaro_clip.errors import OptionError, TableError
from datumaro_clip.host.items import label_names, neutral
from datumaro_clip.host.tables.base import INFO
from datumaro_clip.host.tables.items import record_of
from datumaro_clip.host.tables.pictures import ItemPicture, picture_of
from datumaro_clip.system.notices import notice_counts
from datumaro_clip.tables.dialects import WEBDATASET
from datumaro_clip.tables.files import find_tables
from datumaro_clip.tables.opening import FORMATS
from datumaro_clip.tables.options import DIALECTS
from datumaro_clip.tables.origin import Origin
from datumaro_clip.tables.planning import Census, make_plan
from datumaro_clip.tables.records import Record
from datumaro_clip.tables.shard_writing import ShardExport
from datumaro_clip.tables.writing import TableExport

#: The subsets that ``--split`` makes where no others are named.
SPLIT_NAMES = ("train", "val")
SHARD_SIZE = 10_000

log = logging.getLogger(__name__)


class ClipTableExporter(Exporter):
    """
    Writes captions, labels, attributes and pictures as a table: the one that the dataset came from, with its columns,
    unless another format or dialect is asked for. Boxes and masks have no place in it, and are counted.|n
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
        census, subsets, lost = self._counted()
        origin = Origin.from_info((self._extractor.infos() or {}).get(INFO))
        is_told = self._dialect in (None, "auto") and origin is not None and origin.dialect != WEBDATASET
        plan = make_plan(
            census,
            origin,
            dialect=None if is_told else self._dialect or "auto",
            format=self._format,
            saves_media=bool(self._save_media),
            is_inline=self._inline_media,
        )
        export = TableExport(Path(self._save_dir), plan)
        export.write_all(self._pictured(subsets))
        _report(export.counts, lost)
        return export.written

    def _counted(self) -> tuple[Census, list[str] | None, Counter[str]]:
        """What all items have, the subsets that ``--split`` makes, and the ``annotations`` and ``attributes`` lost."""
        subsets, census, lost = self._parts(), Census(), Counter[str]()
        for item, record, left_out in self._said(subsets):
            census.add(record, picture_of(item, self._image_ext))
            lost.update(left_out)
        return census, subsets, lost

    def _pictured(self, subsets: list[str] | None) -> Iterator[tuple[Record, ItemPicture | None]]:
        return ((record, picture_of(item, self._image_ext)) for item, record, _ in self._said(subsets))

    def _parts(self) -> list[str] | None:
        """The subset of each item that ``--split`` puts it in."""
        if self._split is None:
            return None
        classes = label_names(self._extractor.categories())
        first, second = self._split_names
        groups = copy_groups([neutral(item, classes) for item in self._extractor])
        return [first if chosen else second for chosen in split_groups(groups, self._split, self._seed)]

    def _said(self, subsets: list[str] | None) -> Iterator[tuple[DatasetItem, Record, Counter[str]]]:
        """Each item, what a table says of it, and what it has no place for."""
        for place, item in enumerate(self._extractor):
            record, lost = record_of(item, self._extractor.categories())
            yield item, record if subsets is None else replace(record, subset=subsets[place]), lost


class ClipWebdatasetExporter(ClipTableExporter):
    """
    Writes WebDataset shards: the picture of each item, its first caption as txt, and what else it says as JSON. The
    same items give the same bytes. Boxes and masks have no place in them, and are counted.|n
    |n
    Example:|n
    |s|sdatum convert -i path/to/coco -if coco -f clip_webdataset -o OUT -- --shard-size 1000
    """

    @classmethod
    def build_cmdline_parser(cls, **kwargs: Any) -> argparse.ArgumentParser:
        """Declare the size of the archives, and the split."""
        parser: argparse.ArgumentParser = super(ClipTableExporter, cls).build_cmdline_parser(**kwargs)
        add = parser.add_argument
        add("--shard-size", type=int, default=SHARD_SIZE, help="items per archive (default: %(default)s)")
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

    def _apply_impl(self) -> set[Path]:
        census, subsets, lost = self._counted()
        origin = Origin.from_info((self._extractor.infos() or {}).get(INFO))
        plan = make_plan(census, origin, dialect=WEBDATASET)
        export = ShardExport(Path(self._save_dir), plan, self._shard_size)
        export.write_all(self._pictured(subsets))
        _report(export.counts, lost)
        return export.written


def add_split_options(parser: argparse.ArgumentParser) -> None:
    """Declare how a dataset is split."""
    add = parser.add_argument
    add("--split", type=float, metavar="SHARE", help="split into two subsets without leaks")
    add("--seed", type=int, default=0, help="random seed of the split (default: %(default)s)")
    add("--split-names", nargs=2, default=SPLIT_NAMES, metavar="NAME", help="of the two subsets (default: train val)")


def _report(counts: Counter[str], lost: Counter[str]) -> None:
    told = {
        "unsaved": "%d pictures have no file of their own, and are not in the table; --save-media keeps them",
        "missing": "%d pictures could not be copied, since their files are not there",
        "without_picture": "%d items have no picture, and this layout no place for them",
        "annotations": "%d boxes, masks and other annotations have no place in a table, and were left out",
        "attributes": "%d attributes of captions and labels have no place in a table, and were left out",
    }
    notice_counts(log, counts + lost, told, "%d pictures cannot be read and were not copied (%s)")
