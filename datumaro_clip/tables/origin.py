"""The form of the table that a dataset came from, kept with the dataset so that it is written in the same form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datumaro_clip.errors import DatumaroClipError
from datumaro_clip.tables.arrow import ParquetTable, dump_schema
from datumaro_clip.tables.dataset import TableDataset
from datumaro_clip.tables.dialects import DIALECTS
from datumaro_clip.tables.opening import table_format
from datumaro_clip.tables.options import Layout, TableOptions, settle_layout


@dataclass(frozen=True)
class Origin:
    """The form of a table.

    Attributes
    ----------
    dialect, format : str
    layout : Layout
    root : str
        The directory that pictures' paths are relative to.
    separator : str, optional
    schema : str, optional
        The Parquet schema, as ``dump_schema`` writes it.
    """

    dialect: str
    format: str
    layout: Layout
    root: str
    separator: str | None = None
    schema: str | None = None

    @classmethod
    def of(cls, dataset: TableDataset) -> Origin:
        """Return the form of a dataset's first table, with the columns of all tables."""
        first = dataset.sources[0]
        layout = settle_layout(tuple(dataset.survey.columns), first.layout.options(), str(dataset.path))
        schema = dump_schema(first.table.schema) if isinstance(first.table, ParquetTable) else None
        told = table_format(first.table.path) or DIALECTS[first.dialect].formats[0]
        separator = getattr(first.table, "separator", None)
        return cls(first.dialect, told, layout, str(Path(first.root).absolute()), separator, schema)

    def to_info(self) -> dict[str, Any]:
        """Return JSON values, for a dataset's infos."""
        given = self.layout.options().given()
        options = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
        return {
            "dialect": self.dialect,
            "format": self.format,
            "columns": list(self.layout.columns),
            "options": options,
            "root": self.root,
            "separator": self.separator,
            "schema": self.schema,
        }

    @classmethod
    def from_info(cls, info: Any) -> Origin | None:
        """Return the form that :meth:`to_info` gave; None for anything else."""
        if not isinstance(info, Mapping):
            return None
        try:
            columns = tuple(map(str, info["columns"]))
            layout = settle_layout(columns, TableOptions.from_mapping(info["options"], "infos"), "infos")
            texts = [info[name] for name in ("separator", "schema")]
            if not all(text is None or isinstance(text, str) for text in texts):
                return None
            return cls(str(info["dialect"]), str(info["format"]), layout, str(info["root"]), *texts)
        except (KeyError, TypeError, DatumaroClipError):
            return None
