"""Finding tables, and telling those of pictures that are there from other data."""

from __future__ import annotations

import argparse
from enum import IntEnum
from itertools import islice
from pathlib import Path
from typing import Any

from datumaro.components.format_detection import FormatDetectionContext
from datumaro.components.importer import Importer

from datumaro_clip.errors import DatumaroClipError
from datumaro_clip.tables.dataset import TableDataset
from datumaro_clip.tables.opening import COMPRESSIONS, FORMATS
from datumaro_clip.tables.options import SETTINGS_FILE, add_table_options
from datumaro_clip.tables.records import Blob, Record

_SEEN_FOR_DETECTION = 20


class _Confidence(IntEnum):
    """More than what formats claim that only look at endings; less than a file of one's own."""

    PICTURES_FOUND = 30
    CERTAIN = 100


class ClipTableImporter(Importer):
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
            return _Confidence.CERTAIN
        try:
            found = list(islice((each for _, each in TableDataset(root).unchecked()), _SEEN_FOR_DETECTION))
        except (DatumaroClipError, OSError) as exc:
            context.fail(f"a table whose image column names files that are there: {exc}")
        if not any(isinstance(each, Record) and _is_there(each.picture) for each in found):
            context.fail("a table whose image column names files that are there")
        return _Confidence.PICTURES_FOUND

    @classmethod
    def find_sources_with_params(cls, path: str, **options: Any) -> list[dict[str, Any]]:
        """The table, or the directory of tables; options are checked when it is opened."""
        return [{"url": path, "format": cls.NAME}]

    find_sources = find_sources_with_params

    @classmethod
    def get_file_extensions(cls) -> list[str]:
        """Of files that a directory of tables may have."""
        return [*FORMATS, *COMPRESSIONS, ".toml"]

    @classmethod
    def get_plugin_cls(cls) -> type[ClipTableImporter]:
        """This class: an environment that detects formats asks every importer, lazily known or not."""
        return cls

    @property
    def can_stream(self) -> bool:
        """Items are read one by one."""
        return True


def _is_there(picture: str | Blob | None) -> bool:
    return isinstance(picture, Blob) or (picture is not None and Path(picture).is_file())
