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
from datumaro_clip.host.tables.pictures import picture_of
from datumaro_clip.tables.files import find_tables
from datumaro_clip.tables.opening import FORMATS
from datumaro_clip.tables.options import DIALECTS
from datumaro_clip.tables.origin import Origin
from datumaro_clip.tables.records import Record
from datumaro_clip.tables.writing import Census, TableExport, make_plan

#: The subsets that ``--split`` makes where no others are named.
SPLIT_NAMES = ("train", "val")

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
        add("--table-format", choices=formats, help="default: the one that the dataset came from, else csv")
        add("--dialect", choices=DIALECTS, help="default: the one that the dataset came from, else auto")
        add("--split", type=float, metavar="SHARE", help="make two subsets, copies of a picture on one side of them")
        add("--seed", type=int, default=0, help="of the split (default: %(default)s)")
        add("--split-names", nargs=2, default=SPLIT_NAMES, metavar="NAME", help="default: train val")
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
        subsets = self._parts()
        census, lost = Census(), 0
        for item, record, left_out in self._said(subsets):
            census.add(record, picture_of(item, self._image_ext))
            lost += left_out
        plan = make_plan(
            census,
            Origin.from_info((self._extractor.infos() or {}).get(INFO)),
            dialect=None if self._dialect == "auto" else self._dialect,
            format=self._format,
            saves_media=bool(self._save_media),
            is_inline=self._inline_media,
        )
        export = TableExport(Path(self._save_dir), plan)
        export.write_all((record, picture_of(item, self._image_ext)) for item, record, _ in self._said(subsets))
        _report(export.counts, lost)
        return export.written

    def _parts(self) -> list[str] | None:
        """The subset of each item that ``--split`` puts it in."""
        if self._split is None:
            return None
        classes = label_names(self._extractor.categories())
        first, second = self._split_names
        groups = copy_groups([neutral(item, classes) for item in self._extractor])
        return [first if chosen else second for chosen in split_groups(groups, self._split, self._seed)]

    def _said(self, subsets: list[str] | None) -> Iterator[tuple[DatasetItem, Record, int]]:
        """Each item, what a table says of it, and the number of annotations that it has no place for."""
        for place, item in enumerate(self._extractor):
            record, lost = record_of(item, self._extractor.categories())
            yield item, record if subsets is None else replace(record, subset=subsets[place]), lost


def _report(counts: Counter[str], lost: int) -> None:
    told = {
        "unsaved": "%d pictures have no file of their own, and are not in the table; --save-media keeps them",
        "missing": "%d pictures could not be copied, since their files are not there",
        "without_picture": "%d items have no picture, and this layout no place for them",
    }
    for kind, count in sorted(counts.items()):
        log.warning(told[kind], count)
    if lost:
        log.warning("%d boxes, masks and other annotations have no place in a table, and were left out", lost)
