"""Finding tables, and telling those of pictures that are there from other data."""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path
from typing import Any

from datumaro.components.format_detection import FormatDetectionContext

from datumaro_clip.errors import DatumaroClipError
from datumaro_clip.host.formats.importer import Confidence, StreamingImporter
from datumaro_clip.store import ArchiveMember
from datumaro_clip.tables.dataset import TableDataset
from datumaro_clip.tables.opening import COMPRESSIONS, FORMATS
from datumaro_clip.tables.options import SETTINGS_FILE, add_table_options
from datumaro_clip.tables.records import Blob, Record
from datumaro_clip.tables.rows import KEY, PICTURE
from datumaro_clip.tables.shards import ShardTable, find_shards

_SEEN_FOR_DETECTION = 20


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
        """A directory is ours if a table in it names pictures that are there, or ``clip_table.toml`` says so."""
        root = Path(context.root_path)
        if (root / SETTINGS_FILE).is_file():
            return Confidence.CERTAIN
        try:
            found = list(islice((each for _, each in TableDataset(root).unchecked()), _SEEN_FOR_DETECTION))
        except (DatumaroClipError, OSError) as exc:
            context.fail(f"a table whose image column names files that are there: {exc}")
        if not any(isinstance(each, Record) and _is_there(each.picture) for each in found):
            context.fail("a table whose image column names files that are there")
        return Confidence.PICTURES_FOUND

    @classmethod
    def find_sources_with_params(cls, path: str, **options: Any) -> list[dict[str, Any]]:
        """The table, or the directory of tables; options are checked when it is opened."""
        return [{"url": path, "format": cls.NAME}]

    find_sources = find_sources_with_params

    @classmethod
    def get_file_extensions(cls) -> list[str]:
        """Of files that a directory of tables may have."""
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
        """A directory is ours if an archive in it begins with a picture that has a text or JSON of its name."""
        try:
            shard, _ = find_shards(context.root_path)[0]
            columns = ShardTable(shard, Path(context.root_path)).columns
        except (DatumaroClipError, OSError) as exc:
            context.fail(f"a tar archive of pictures and texts: {exc}")
        if len(columns) <= len((KEY, PICTURE)):
            context.fail("a tar archive of pictures and texts")
        return Confidence.PICTURES_FOUND

    def __call__(self, path: str, stream: bool = False, **options: Any) -> list[dict[str, Any]]:
        """The source that a path or pattern names; Datumaro itself would want a path that exists."""
        streamed = {"stream": True} if stream else {}
        return [{"url": path, "format": self.NAME, "options": {**options, **streamed}}]

    @classmethod
    def get_file_extensions(cls) -> list[str]:
        """Of files that a directory of shards has."""
        return [".tar"]


def _is_there(picture: str | Blob | ArchiveMember | None) -> bool:
    return Path(picture).is_file() if isinstance(picture, str) else picture is not None
