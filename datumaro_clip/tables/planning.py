"""The plan for writing a dataset as tables: columns, format and the place of pictures, from a census of all records."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import count, islice
from pathlib import Path
from typing import Any, Protocol

from datumaro_clip.errors import DatumaroClipError, OptionError
from datumaro_clip.system.files import safe_file_name
from datumaro_clip.tables.arrow import ParquetTable, dump_schema, has_blob, load_schema, make_schema, with_pictures
from datumaro_clip.tables.dataset import TableDataset
from datumaro_clip.tables.dialects import DIALECTS, WEBDATASET, Dialect
from datumaro_clip.tables.files import subset_of
from datumaro_clip.tables.layout import Layout, settle_layout
from datumaro_clip.tables.opening import table_format
from datumaro_clip.tables.options import USUAL_NAMES, TableOptions
from datumaro_clip.tables.records import DEFAULT_SUBSET, Record, as_name


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
        form = table_format(first.table.path) or DIALECTS[first.dialect].formats[0]
        separator = getattr(first.table, "separator", None)
        return cls(first.dialect, form, layout, str(Path(first.root).absolute()), separator, schema)

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


class Picture(Protocol):
    """A picture that can be written.

    Attributes
    ----------
    path : str, optional
        The path of its file, if it has one.
    ending : str
        The ending of the file to write, as ``.jpg``.
    """

    path: str | None
    ending: str

    def read(self) -> bytes:
        """Return its encoded bytes."""

    def save(self, path: Path) -> None:
        """Write it to a file, which appears whole; parent directories are made."""


@dataclass
class Census:
    """What all records have, which decides the columns; :meth:`add` counts one record.

    Attributes
    ----------
    kinds : dict
        The types of each attribute's values, attributes in order of appearance.
    captions, labels : dict
        The columns that they are in, in order of appearance, as keys.
    unplaced : int
        The most captions without a column that a record has.
    has_unplaced_labels : bool
        Whether a record has labels without a column.
    subsets : dict
        In order of appearance, as keys.
    folder : str, optional
        The directory that all picture files are below.
    has_pictures : bool
    id_columns : dict
        Attributes with usual names of ids, and whether they are the ids of all records.
    """

    kinds: dict[str, set[type]] = field(default_factory=dict)
    captions: dict[str, None] = field(default_factory=dict)
    labels: dict[str, None] = field(default_factory=dict)
    unplaced: int = 0
    has_unplaced_labels: bool = False
    subsets: dict[str, None] = field(default_factory=dict)
    folder: str | None = None
    has_pictures: bool = False
    id_columns: dict[str, bool] = field(default_factory=dict)
    _count: int = 0

    def add(self, record: Record, picture: Picture | None) -> None:
        """Count a record."""
        self.subsets[record.subset] = None
        for name, value in record.attributes.items():
            kinds = self.kinds.setdefault(name, set())
            if value is not None:
                kinds.add(type(value))
        for name in record.attributes:
            if name.casefold() in USUAL_NAMES["id_column"]:
                is_id = self.id_columns.get(name, self._count == 0) and as_name(record.attributes[name]) == record.id
                self.id_columns[name] = is_id
        for name in self.id_columns:
            self.id_columns[name] &= name in record.attributes
        self._count += 1
        self.captions.update((each.column, None) for each in record.captions if each.column)
        self.labels.update((each.column, None) for each in record.labels if each.column)
        self.unplaced = max(self.unplaced, sum(not each.column for each in record.captions))
        self.has_unplaced_labels |= any(not each.column for each in record.labels)
        if picture is not None:
            self.has_pictures = True
            if picture.path is not None:
                folder = os.path.dirname(os.path.abspath(picture.path))
                self.folder = folder if self.folder is None else os.path.commonpath([self.folder, folder])


@dataclass(frozen=True)
class Plan:
    """How a dataset is written.

    Attributes
    ----------
    dialect, format : str
    layout : Layout
    renamed : dict
        Caption columns that have another name in this dialect.
    saves_media, is_inline : bool
        Whether pictures are copied, or written into the table.
    root : str, optional
        The directory that the paths of pictures that are not copied are relative to.
    keeps_names : bool
        Whether the image column keeps the names of pictures.
    separator : str
    schema : Arrow schema, optional
    """

    dialect: str
    format: str
    layout: Layout
    renamed: dict[str, str]
    saves_media: bool
    is_inline: bool
    root: str | None
    keeps_names: bool
    separator: str
    schema: Any = None


def make_plan(
    census: Census,
    origin: Origin | None = None,
    *,
    dialect: str | None = None,
    format: str | None = None,
    saves_media: bool = False,
    is_inline: bool = False,
) -> Plan:
    """Decide how to write the records of a census: in the form that they came from, unless another is asked for.

    Raises
    ------
    OptionError
        If the dialect does not have the format, or the format cannot hold pictures in the table.
    """
    name = dialect or (origin.dialect if origin else "auto")
    style = DIALECTS.get(name)
    if style is None:
        raise OptionError(f"--dialect must be one of {', '.join(DIALECTS)}; got {name!r}")
    same = origin if origin and origin.dialect == name else None
    stays = origin and origin.format in style.formats and (same or name == "auto")
    form = format or (origin.format if origin and stays else style.formats[0])
    if form not in style.formats:
        raise OptionError(f"--table-format: {name} is written as {' or '.join(style.formats)}, not as {form}")
    if same and form == "parquet" and same.schema is not None:
        is_inline = is_inline or has_blob(load_schema(same.schema), same.layout.image)
    if is_inline and form != "parquet":
        raise OptionError(
            f"--inline-media: pictures are kept inside Parquet only, not in {form}; add --table-format parquet"
        )
    layout, renamed = (_same_layout(census, same), {}) if same else _new_layout(census, style, origin)
    if any(not _is_told_by_a_file(subset, style) for subset in census.subsets) and not layout.subset:
        layout = replace(layout, subset="subset", columns=(*layout.columns, "subset"))
    root = None if saves_media or is_inline else (same.root if same else census.folder)
    schema = None
    if form == "parquet":
        schema = make_schema(layout.columns, census.kinds, origin.schema if origin else None)
        if is_inline and layout.image:
            schema = with_pictures(schema, layout.image)
    separator = "\t" if form == "tsv" else (same and same.separator) or ","
    return Plan(name, form, layout, renamed, saves_media, is_inline, root, same is not None, separator, schema)


def _same_layout(census: Census, origin: Origin) -> Layout:
    """Return the columns of the table that a dataset came from, then those that it has gained since."""
    layout = origin.layout
    captions = _captions_for(census.captions, census.unplaced, layout.captions)
    labels = _labels_for(census, layout.labels)
    image = layout.image or ("image" if census.has_pictures and not layout.template else None)
    extra = (image, *captions, *labels, *census.kinds)
    columns = tuple(dict.fromkeys([*layout.columns, *(name for name in extra if name)]))
    return replace(layout, columns=columns, captions=captions, labels=labels, image=image)


def _new_layout(census: Census, style: Dialect, origin: Origin | None) -> tuple[Layout, dict[str, str]]:
    """Return a dialect's columns, then the dataset's other columns, without the old image column."""
    options = style.options
    wanted = options.caption_column or ()
    renamed = {}
    if wanted and census.captions and wanted[0] not in census.captions:
        renamed = {next(iter(census.captions)): wanted[0]}
    used = tuple(renamed.get(name, name) for name in census.captions)
    captions = _captions_for(used, census.unplaced, wanted or used[:1])
    labels = _labels_for(census, options.label_column or ())
    image = None if options.image_template else options.image_column or ("image" if census.has_pictures else None)
    key = options.id_column or next((name for name, is_id in census.id_columns.items() if is_id), "id")
    status = "status" if options.image_if else None
    # The image column of shards has no names of files, so it is not kept in another dialect.
    old = origin.layout.image if origin and style is not DIALECTS[WEBDATASET] else None
    others = [name for name in census.kinds if name != old]
    columns = tuple(dict.fromkeys(filter(None, [key, image, *captions, *labels, status, *others])))
    settled = TableOptions(
        image_column=image or "", caption_column=captions, label_column=labels, id_column=key, subset_column="",
        url_column="", image_template=options.image_template, image_if=options.image_if,
    )  # fmt: skip
    return settle_layout(columns, settled, "the table"), renamed


def _captions_for(used: Collection[str], unplaced: int, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return columns for all captions: those known, those used, and new ones for captions without a column."""
    columns = list(dict.fromkeys([*known, *used]))
    first = columns[0] if columns else "caption"
    free = sum(column not in used for column in columns)
    numbered = (first if number == 1 else f"{first}_{number}" for number in count(1))
    names = (name for name in numbered if name not in columns)
    return (*columns, *islice(names, max(unplaced - free, 0)))


def _labels_for(census: Census, known: tuple[str, ...]) -> tuple[str, ...]:
    columns = tuple(dict.fromkeys([*known, *census.labels]))
    return columns or (("label",) if census.has_unplaced_labels else ())


def _is_told_by_a_file(subset: str, style: Dialect) -> bool:
    """Return whether a reader can tell the subset from the table's path."""
    if subset == DEFAULT_SUBSET:
        return True
    if "{subset}" not in style.table and not style.has_folders:
        return False
    return safe_file_name(subset) == subset and subset_of(subset) == subset and not subset.startswith(".")
