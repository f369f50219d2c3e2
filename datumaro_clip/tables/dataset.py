"""The tables of a file or directory as one sequence of records; each row is a record, or is refused with a reason."""

from __future__ import annotations

import itertools
import logging
import os
import re
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from datumaro_clip.errors import TableError
from datumaro_clip.system.notices import notice
from datumaro_clip.tables.arrow import ParquetTable
from datumaro_clip.tables.dialects import WEBDATASET, options_of, recognise
from datumaro_clip.tables.files import find_tables, open_table
from datumaro_clip.tables.layout import Layout, settle_layout
from datumaro_clip.tables.options import TableOptions, read_settings
from datumaro_clip.tables.records import Record, RecordReader, picture_ids
from datumaro_clip.tables.rows import Refused, Table
from datumaro_clip.tables.shards import ShardTable, find_shards, shard_options
from datumaro_clip.tables.sidecars import SidecarTable, find_sidecars

log = logging.getLogger(__name__)

# Refused rows that a survey names.
_NAMED = 20
# Picture files that a survey looks for: if all are missing, the directory is probably wrong.
_SEEN_FOR_PICTURES = 10


@dataclass(frozen=True)
class Source:
    """One table of a dataset, what its columns mean, and the subset of the rows that name none.

    Pictures' paths are relative to ``root``.
    """

    table: Table
    subset: str
    dialect: str
    layout: Layout
    root: Path

    def reader(self) -> RecordReader:
        """Return a reader that makes records of the table's rows."""
        blobs = self.table.blobs if isinstance(self.table, ParquetTable) else ()
        return RecordReader(self.table.path, self.layout, self.root, self.subset, blobs)


@dataclass
class Survey:
    """The results of reading all rows once.

    Attributes
    ----------
    rows, records : int
        The number of rows, and of those that became records.
    columns : dict
        Columns in order of appearance, as keys.
    subsets : dict
        The number of records of each subset, in order of appearance.
    labels : dict
        Labels in order of appearance, as keys.
    refused : collections.Counter
        The number of rows that are no records, by reason.
    named : list of str
        The first twenty refused rows, each with its file and line, the reason and the cure.
    absent : int
        How many of the first ten picture files are missing.
    """

    rows: int = 0
    records: int = 0
    columns: dict[str, None] = field(default_factory=dict)
    subsets: dict[str, int] = field(default_factory=dict)
    labels: dict[str, None] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    named: list[str] = field(default_factory=list)
    absent: int = 0

    def refuse(self, source: Source, refused: Refused) -> None:
        """Count a refused row."""
        self.refused[refused.reason] += 1
        if len(self.named) < _NAMED:
            self.named.append(f"{source.table.path}, line {refused.line}: {refused.message}")

    def __str__(self) -> str:
        counts = ", ".join(f"{reason} {count}" for reason, count in sorted(self.refused.items()))
        refused = f"; refused {self.refused.total()}: {counts}" if counts else ""
        return f"{self.rows} rows, {self.records} items{refused}"


class TableDataset:
    """The records of tables.

    Rows are read once for the survey, and again at each iteration. The survey takes sixteen bytes of memory a row;
    the hashes of repeated ids stay.

    Parameters
    ----------
    path : Path
        A table, or a directory of tables.
    options : TableOptions
        They take precedence over those of ``clip_table.toml`` beside the table.
    with_settings : bool
        Whether that file is read.

    Raises
    ------
    TableError, OptionError
        If there is no table, or the meaning of its columns is ambiguous.
    """

    def __init__(self, path: Path, options: TableOptions | None = None, *, with_settings: bool = True) -> None:
        self.path = path
        settings = read_settings(path if path.is_dir() else path.parent) if with_settings else TableOptions()
        self.options = (options or TableOptions()).over(settings)
        self.sources = [self._source(table, subset) for table, subset in self._find()]
        self._survey: Survey | None = None
        self._full_names: frozenset[str] = frozenset()
        self._repeated: frozenset[int] = frozenset()

    @property
    def survey(self) -> Survey:
        """The survey of all rows, which reads them on first use."""
        if self._survey is None:
            self._survey = self._read_all()
            log.info("%s: %s", self.path, self._survey)
            for line in self._survey.named:
                log.warning("Not a row: %s", line)
            if self._survey.absent == _SEEN_FOR_PICTURES:
                notice(
                    log,
                    "%s: none of the first %d pictures is there; name their directory with --image-root: "
                    "datum-clip table init",
                    self.path,
                    _SEEN_FOR_PICTURES,
                )
        return self._survey

    def __iter__(self) -> Iterator[Record]:
        return (found for _, found in self.outcomes() if isinstance(found, Record))

    def outcomes(self) -> Iterator[tuple[Source, Record | Refused]]:
        """Yield the record of each row, or why it is refused, in order, with the table that it is in."""
        _ = self.survey
        seen: Counter[tuple[str, str]] = Counter()
        for source, found in self.unchecked():
            if isinstance(found, Record) and hash((found.subset, found.id)) in self._repeated:
                key = found.subset, found.id
                seen[key] += 1
                if seen[key] > 1:
                    found = self._repetition(found, seen[key])
            yield source, found

    def unchecked(self) -> Iterator[tuple[Source, Record | Refused]]:
        """Yield outcomes as :meth:`outcomes`, but without the survey: repeated ids are not noticed."""
        numbers: Counter[str] = Counter()
        for source in self.sources:
            reader = source.reader()
            for row in source.table:
                number = numbers[source.subset]
                numbers[source.subset] += 1
                yield source, row if isinstance(row, Refused) else reader.read(row, number, self._full_names)

    def _repetition(self, record: Record, count: int) -> Record | Refused:
        """Refuse or rename a record whose id ``count - 1`` earlier ones have."""
        if self.options.repeats == "refuse":
            message = f"an earlier row of subset {record.subset} has the id {record.id!r}; name another --id-column"
            return Refused(record.line, "repeated_id", f"{message}, or count them with --repeats number")
        return replace(record, id=f"{record.id}#{count}")

    def _find(self) -> list[tuple[Path, str]]:
        """Return the tables, each with the subset of the rows that name none."""
        if self.options.dialect == "sidecar":
            if not self.path.is_dir():
                raise TableError(f"{self.path} is no directory, and --dialect sidecar reads one of pictures and texts")
            return find_sidecars(self.path)
        return find_tables(self.path)

    def _source(self, path: Path, subset: str) -> Source:
        """Open a table, and decide what its columns mean."""
        table: Table = SidecarTable(path) if path.is_dir() else open_table(path, self.options)
        dialect = self.options.dialect
        dialect = recognise(path, table.columns) if dialect == "auto" else dialect
        options = self.options.over(options_of(dialect, path, table.columns))
        layout = settle_layout(table.columns, options, str(path))
        root = path if path.is_dir() else path.parent
        if options.image_root is not None:
            root = (self.path if self.path.is_dir() else self.path.parent) / options.image_root
        return Source(table, subset, dialect, layout, root)

    def _read_all(self) -> Survey:
        self._full_names = self._shared_names()
        survey, ids, seen = Survey(), array("q"), 0
        for source in self.sources:
            survey.columns.update(dict.fromkeys(source.layout.columns))
        for source, found in self.unchecked():
            survey.rows += 1
            if isinstance(found, Refused):
                survey.refuse(source, found)
                continue
            ids.append(hash((found.subset, found.id)))
            survey.subsets[found.subset] = survey.subsets.get(found.subset, 0) + 1
            if isinstance(found.picture, str) and seen < _SEEN_FOR_PICTURES:
                seen += 1
                survey.absent += not os.path.exists(found.picture)
            survey.columns.update(dict.fromkeys(found.attributes))
            survey.labels.update((label.text, None) for label in found.labels)
        values, counts = np.unique(np.frombuffer(ids, np.int64), return_counts=True)
        self._repeated = frozenset(values[counts > 1].tolist())
        self._survey = survey
        if self._repeated and self.options.repeats == "refuse":
            survey.subsets = dict.fromkeys(survey.subsets, 0)
            for source, found in self.outcomes():
                if isinstance(found, Record):
                    survey.subsets[found.subset] += 1
                elif found.reason == "repeated_id":
                    survey.refuse(source, found)
        survey.records = sum(survey.subsets.values())
        return survey

    def _shared_names(self) -> frozenset[str]:
        """Return the paths without ending that pictures of several endings share."""
        short, full = array("q"), array("q")
        for with_ending, without in self._picture_names():
            full.append(hash(with_ending))
            short.append(hash(without))
        pairs = np.unique(np.stack([np.frombuffer(each, np.int64) for each in (short, full)]), axis=1)
        values, counts = np.unique(pairs[0], return_counts=True)
        several = frozenset(values[counts > 1].tolist())
        return frozenset(name for _, name in self._picture_names() if hash(name) in several) if several else frozenset()

    def _picture_names(self) -> Iterator[tuple[str, str]]:
        """Yield each picture's path with and without its ending, where that becomes the row's id."""
        for source in self.sources:
            if source.layout.id:
                continue
            reader = source.reader()
            for row in source.table:
                name = None if isinstance(row, Refused) else reader.picture_name(row.values)
                if isinstance(name, str):
                    yield picture_ids(name)


class ShardDataset(TableDataset):
    """The records of WebDataset shards.

    ``path`` is an archive, a directory of archives, or a pattern with braces or ``*``.
    """

    def _find(self) -> list[tuple[Path, str]]:
        return find_shards(str(self.path))

    def _source(self, path: Path, subset: str) -> Source:
        table = ShardTable(path, _root_of(self.path))
        options = self.options.over(shard_options(table.columns))
        return Source(table, subset, WEBDATASET, settle_layout(table.columns, options, str(path)), path.parent)

    def _read_all(self) -> Survey:
        survey = super()._read_all()
        left: Counter[str] = Counter()
        for source in self.sources:
            left += source.table.left if isinstance(source.table, ShardTable) else Counter()
        if left:
            fields = ", ".join(f"{field} {count}" for field, count in sorted(left.items()))
            log.warning("%s: members that no item has a place for stay in the archives: %s", self.path, fields)
        return survey


def _root_of(spec: Path) -> Path:
    """Return the directory that references to archives are relative to: that of a pattern, up to its first wildcard."""
    if spec.is_dir():
        return spec
    plain = itertools.takewhile(lambda part: not re.search(r"[{}*?\[]", part), spec.parent.parts)
    return Path(*plain)
