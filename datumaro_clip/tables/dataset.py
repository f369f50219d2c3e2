"""The tables of a file or directory as one collection of records, every row accounted for."""

from __future__ import annotations

import itertools
import logging
import os
import re
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from datumaro_clip.errors import TableError
from datumaro_clip.system.notices import notice
from datumaro_clip.tables.arrow import ParquetTable
from datumaro_clip.tables.dialects import WEBDATASET, options_of, recognise
from datumaro_clip.tables.files import find_tables, open_table
from datumaro_clip.tables.options import Layout, TableOptions, read_settings, settle_layout
from datumaro_clip.tables.records import Record, RecordReader
from datumaro_clip.tables.rows import Refused, Table
from datumaro_clip.tables.shards import ShardTable, find_shards, shard_options
from datumaro_clip.tables.sidecars import SidecarTable, find_sidecars

log = logging.getLogger(__name__)

_NAMED = 20
# As many pictures are looked for, whether they are there: a wrong directory shows at once.
_SEEN_FOR_PICTURES = 10


@dataclass(frozen=True)
class Source:
    """One table of a dataset: its rows, what they mean, and the subset of rows that name none."""

    table: Table
    subset: str
    dialect: str
    layout: Layout
    root: Path
    blobs: tuple[str, ...] = ()


@dataclass
class Survey:
    """What reading all rows once has shown.

    Attributes
    ----------
    rows, records : int
        Rows that there are, and those that became records.
    columns : dict
        Columns in order of appearance, as keys.
    subsets : dict
        Records by subset, in order of appearance.
    labels : dict
        Labels in order of appearance, as keys.
    refused : collections.Counter
        Rows that are no records, by reason.
    named : list of str
        The first twenty of those, each with its file and line, the reason and the cure.
    absent : int
        Of the first ten pictures that are files, those that are not there.
    """

    rows: int = 0
    records: int = 0
    columns: dict[str, None] = field(default_factory=dict)
    subsets: dict[str, int] = field(default_factory=dict)
    labels: dict[str, None] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    named: list[str] = field(default_factory=list)
    absent: int = 0

    def __str__(self) -> str:
        counts = ", ".join(f"{reason} {count}" for reason, count in sorted(self.refused.items()))
        refused = f"; refused {self.refused.total()}: {counts}" if counts else ""
        return f"{self.rows} rows, {self.records} items{refused}"


class TableDataset:
    """Records of tables.

    Rows are read twice: once for the survey, and whenever it is iterated. Memory holds sixteen bytes a row for the
    time of the survey, and the ids that repeat.

    Parameters
    ----------
    path : Path
        A table, or a directory of tables.
    options : TableOptions
        They win over those of ``clip_table.toml`` beside the table.
    with_settings : bool
        Whether that file is read.

    Raises
    ------
    TableError, OptionError
        If there is no table, or what its columns mean cannot be told.
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
        """What all rows say together; they are read for it on first use."""
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
        _ = self.survey
        for _, found in self.outcomes():
            if isinstance(found, Record):
                yield found

    def outcomes(self) -> Iterator[tuple[Source, Record | Refused]]:
        """What became of each row, in order, with the table that it is in."""
        _ = self.survey
        seen: Counter[tuple[str, str]] = Counter()
        for source, found in self._outcomes():
            if isinstance(found, Record) and hash((found.subset, found.id)) in self._repeated:
                key = found.subset, found.id
                seen[key] += 1
                if seen[key] > 1:
                    found = self._repetition(found, seen[key])
            yield source, found

    def unchecked(self) -> Iterator[tuple[Source, Record | Refused]]:
        """What the rows say each by itself, before others are looked at: enough to know what a table is of."""
        return self._outcomes()

    def _repetition(self, record: Record, count: int) -> Record | Refused:
        if self.options.repeats == "refuse":
            message = f"an earlier row of subset {record.subset} has the id {record.id!r}; name another --id-column"
            return Refused(record.line, "repeated_id", f"{message}, or count them with --repeats number")
        return Record(
            f"{record.id}#{count}",
            record.subset,
            record.picture,
            record.captions,
            record.labels,
            record.attributes,
            record.line,
        )

    def _find(self) -> list[tuple[Path, str]]:
        """The tables, each with the subset of rows that name none."""
        if self.options.dialect == "sidecar":
            if not self.path.is_dir():
                raise TableError(f"{self.path} is no directory, and --dialect sidecar reads one of pictures and texts")
            return find_sidecars(self.path)
        return find_tables(self.path)

    def _source(self, path: Path, subset: str) -> Source:
        """One table, opened, with what its columns mean."""
        table: Table = SidecarTable(path) if path.is_dir() else open_table(path, self.options)
        dialect = self.options.dialect
        dialect = recognise(path, table.columns) if dialect == "auto" else dialect
        options = self.options.over(options_of(dialect, path, table.columns))
        layout = settle_layout(table.columns, options, str(path))
        root = path if path.is_dir() else path.parent
        if options.image_root is not None:
            root = (self.path if self.path.is_dir() else self.path.parent) / options.image_root
        return Source(table, subset, dialect, layout, root, table.blobs if isinstance(table, ParquetTable) else ())

    def _outcomes(self) -> Iterator[tuple[Source, Record | Refused]]:
        numbers: Counter[str] = Counter()
        for source in self.sources:
            reader = RecordReader(source.table.path, source.layout, source.root, source.subset, source.blobs)
            for row in source.table:
                number = numbers[source.subset]
                numbers[source.subset] += 1
                yield source, row if isinstance(row, Refused) else reader.read(row, number, self._full_names)

    def _read_all(self) -> Survey:
        self._full_names = self._shared_names()
        survey, ids, seen = Survey(), array("q"), 0
        for source in self.sources:
            survey.columns.update(dict.fromkeys(source.layout.columns))
        for source, found in self._outcomes():
            survey.rows += 1
            if isinstance(found, Refused):
                _count(survey, source, found)
                continue
            ids.append(hash((found.subset, found.id)))
            survey.subsets[found.subset] = survey.subsets.get(found.subset, 0) + 1
            if isinstance(found.picture, str) and seen < _SEEN_FOR_PICTURES:
                seen += 1
                survey.absent += not os.path.exists(found.picture)
            survey.columns.update(dict.fromkeys(found.attributes))
            survey.labels.update((said.text, None) for said in found.labels)
        values, counts = np.unique(np.frombuffer(ids, np.int64), return_counts=True)
        self._repeated = frozenset(values[counts > 1].tolist())
        self._survey = survey
        if self._repeated and self.options.repeats == "refuse":
            self._count_repetitions(survey)
        survey.records = sum(survey.subsets.values())
        return survey

    def _count_repetitions(self, survey: Survey) -> None:
        seen: set[tuple[str, str]] = set()
        for source, found in self._outcomes():
            if isinstance(found, Record) and hash((found.subset, found.id)) in self._repeated:
                if (found.subset, found.id) in seen:
                    survey.subsets[found.subset] -= 1
                    refused = self._repetition(found, 2)
                    if isinstance(refused, Refused):
                        _count(survey, source, refused)
                seen.add((found.subset, found.id))

    def _shared_names(self) -> frozenset[str]:
        """Paths of pictures without their ending that pictures of several endings share."""
        short, full = array("q"), array("q")
        shared: set[str] = set()
        for names in self._picture_names():
            short.append(hash(names[1]))
            full.append(hash(names[0]))
        pairs = np.unique(np.stack([np.frombuffer(each, np.int64) for each in (short, full)]), axis=1)
        values, counts = np.unique(pairs[0], return_counts=True)
        several = frozenset(values[counts > 1].tolist())
        if several:
            shared.update(names[1] for names in self._picture_names() if hash(names[1]) in several)
        return frozenset(shared)

    def _picture_names(self) -> Iterator[tuple[str, str]]:
        for source in self.sources:
            if source.layout.id:
                continue
            reader = RecordReader(source.table.path, source.layout, source.root, source.subset, source.blobs)
            for row in source.table:
                names = None if isinstance(row, Refused) else reader.names_by_picture(row)
                if names is not None:
                    yield names


def _count(survey: Survey, source: Source, refused: Refused) -> None:
    survey.refused[refused.reason] += 1
    if len(survey.named) < _NAMED:
        survey.named.append(f"{source.table.path}, line {refused.line}: {refused.message}")


class ShardDataset(TableDataset):
    """Records of WebDataset shards; ``path`` is an archive, a directory of them, or a pattern with braces or ``*``."""

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
    """The directory that references to archives are relative to: that of the pattern, as far as it is one name."""
    if spec.is_dir():
        return spec
    plain = itertools.takewhile(lambda part: not re.search(r"[{}*?\[]", part), spec.parent.parts)
    return Path(*plain)
