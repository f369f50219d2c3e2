"""Datasets to image–text tables."""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datumaro.components.exporter import Exporter

from datumaro_clip.errors import TableError
from datumaro_clip.host.tables.base import INFO
from datumaro_clip.host.tables.items import record_of
from datumaro_clip.host.tables.pictures import ItemPicture, picture_of
from datumaro_clip.tables.files import find_tables
from datumaro_clip.tables.opening import FORMATS
from datumaro_clip.tables.options import DIALECTS
from datumaro_clip.tables.origin import Origin
from datumaro_clip.tables.records import Record
from datumaro_clip.tables.writing import Census, TableExport, make_plan

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
        **options: Any,
    ) -> None:
        super().__init__(extractor, save_dir, **options)
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
        census, lost = Census(), 0
        for item in self._extractor:
            record, left_out = record_of(item, self._extractor.categories())
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
        export.write_all(self._records())
        _report(export.counts, lost)
        return export.written

    def _records(self) -> Iterator[tuple[Record, ItemPicture | None]]:
        for item in self._extractor:
            yield record_of(item, self._extractor.categories())[0], picture_of(item, self._image_ext)


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
