"""Reads tables and WebDataset shards as datasets, lazily; tells tables of pictures that are there from other data."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from datumaro.components.annotation import AnnotationType, Caption, Label, LabelCategories
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.format_detection import FormatDetectionContext
from datumaro.components.importer import ImportContext
from datumaro.components.media import Image

from datumaro_clip.errors import DatumaroClipError
from datumaro_clip.host.formats import Confidence, LazyBase, StreamingImporter
from datumaro_clip.store import ArchiveMember
from datumaro_clip.tables.dataset import ShardDataset, TableDataset
from datumaro_clip.tables.opening import COMPRESSIONS, FORMATS
from datumaro_clip.tables.options import SETTINGS_FILE, TableOptions, add_table_options
from datumaro_clip.tables.planning import Origin
from datumaro_clip.tables.records import Record
from datumaro_clip.tables.rows import KEY, PICTURE
from datumaro_clip.tables.shards import ShardTable, find_shards

#: The key of a dataset's infos under which it remembers its table's form.
INFO = "clip_table"
#: The attribute of a caption or label that names the column it came from.
COLUMN = "column"

_SEEN_FOR_DETECTION = 20


class ClipTableBase(LazyBase):
    """Image–text tables, read row by row; opening reads them once, to know labels and count rows."""

    READER: ClassVar[type[TableDataset]] = TableDataset

    def __init__(self, url: str, stream: bool = False, ctx: ImportContext | None = None, **options: Any) -> None:
        self._url, self._stream, self._given = url, stream, options
        self.tables = self.READER(Path(url), TableOptions.from_mapping(options, self.NAME))
        survey = self.tables.survey
        labels = LabelCategories.from_iterable(survey.labels)
        self._categories = {AnnotationType.label: labels} if survey.labels else {}
        self._numbers = {name: number for number, name in enumerate(survey.labels)}
        self._infos = {INFO: Origin.of(self.tables).to_info()}
        super().__init__(length=survey.records, subsets=list(survey.subsets) or None, media_type=Image, ctx=ctx)

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), **self._given), (self._url, self._stream)

    def __iter__(self) -> Iterator[DatasetItem]:
        return (item_of(record, self._numbers) for record in self.tables)


class ClipWebdatasetBase(ClipTableBase):
    """WebDataset shards, whose pictures stay in their archives until they are asked for."""

    READER = ShardDataset


def item_of(record: Record, labels: Mapping[str, int]) -> DatasetItem:
    """Return the item that a record describes; ``labels`` are numbers by name."""
    captions = [Caption(said.text, attributes={COLUMN: said.column}) for said in record.captions]
    named = [Label(labels[said.text], attributes={COLUMN: said.column}) for said in record.labels]
    picture = record.picture
    media = None
    if isinstance(picture, str):
        media = Image.from_file(picture)
    elif isinstance(picture, ArchiveMember):
        media = Image.from_bytes(picture, ext=os.path.splitext(picture.member)[1] or None)
    elif picture is not None:  # In a cell of the table, which may say what its file was called.
        told = record.attributes.get(picture.column)
        name = str(told.get("path") or "") if isinstance(told, dict) else ""
        media = Image.from_bytes(picture, ext=os.path.splitext(name)[1] or None)
    return DatasetItem(
        id=record.id,
        subset=record.subset,
        media=media,
        annotations=[*captions, *named],
        attributes=dict(record.attributes),
    )


class ClipTableImporter(StreamingImporter):
    """
    Image–text tables: CSV, TSV, JSON lines, JSON, Parquet, and the layouts of img2dataset, Hugging Face's imagefolder,
    open_clip, LLaVA, clip-retrieval, and pictures with texts beside them.
    """

    @classmethod
    def build_cmdline_parser(cls, **kwargs: Any) -> argparse.ArgumentParser:
        """Declare what ``datum-clip table init`` writes down, and Python gives as keywords."""
        parser: argparse.ArgumentParser = super().build_cmdline_parser(**kwargs)
        add_table_options(parser)
        return parser

    @classmethod
    def detect(cls, context: FormatDetectionContext) -> int:
        """Take a directory if a table in it names pictures that are there, or ``clip_table.toml`` says so."""
        root = Path(context.root_path)
        if (root / SETTINGS_FILE).is_file():
            return Confidence.CERTAIN
        try:
            found = list(islice((each for _, each in TableDataset(root).unchecked()), _SEEN_FOR_DETECTION))
        except (DatumaroClipError, OSError) as exc:
            context.fail(f"a table whose image column names files that are there: {exc}")
        pictures = [each.picture for each in found if isinstance(each, Record)]
        if not any(Path(each).is_file() if isinstance(each, str) else each is not None for each in pictures):
            context.fail("a table whose image column names files that are there")
        return Confidence.PICTURES_FOUND

    @classmethod
    def find_sources_with_params(cls, path: str, **options: Any) -> list[dict[str, Any]]:
        """Return the table, or the directory of tables; options are checked when it is opened."""
        return [{"url": path, "format": cls.NAME}]

    find_sources = find_sources_with_params

    @classmethod
    def get_file_extensions(cls) -> list[str]:
        """Return the endings of files that a directory of tables may have."""
        return [*FORMATS, *COMPRESSIONS, ".toml"]


class ClipWebdatasetImporter(ClipTableImporter):
    """
    WebDataset shards: tar archives of pictures with texts, JSON and class numbers of the same names, and the Parquet
    files that some programs put beside them. A pattern stands for many: 'data/{00000..00009}.tar', 'data/*.tar'.
    """

    @classmethod
    def build_cmdline_parser(cls, **kwargs: Any) -> argparse.ArgumentParser:
        """Declare nothing: what shards hold needs no telling on a command line."""
        parser: argparse.ArgumentParser = super(ClipTableImporter, cls).build_cmdline_parser(**kwargs)
        return parser

    @classmethod
    def detect(cls, context: FormatDetectionContext) -> int:
        """Take a directory if an archive in it begins with a picture that has a text or JSON of its name."""
        try:
            shard, _ = find_shards(context.root_path)[0]
            columns = ShardTable(shard, Path(context.root_path)).columns
        except (DatumaroClipError, OSError) as exc:
            context.fail(f"a tar archive of pictures and texts: {exc}")
        if len(columns) <= len((KEY, PICTURE)):
            context.fail("a tar archive of pictures and texts")
        return Confidence.PICTURES_FOUND

    def __call__(self, path: str, stream: bool = False, **options: Any) -> list[dict[str, Any]]:
        """Return the source that a path or pattern names; Datumaro itself would want a path that exists."""
        streamed = {"stream": True} if stream else {}
        return [{"url": path, "format": self.NAME, "options": {**options, **streamed}}]

    @classmethod
    def get_file_extensions(cls) -> list[str]:
        """Return the ending of files that a directory of shards has."""
        return [".tar"]
