"""From a row to what it says of one picture, and back."""

from __future__ import annotations

import os
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from datumaro_clip.store import ArchiveMember
from datumaro_clip.tables.arrow import read_blob
from datumaro_clip.tables.opening import table_stem
from datumaro_clip.tables.options import Layout
from datumaro_clip.tables.rows import KEY, PICTURE, Refused, Row, Value, as_text

DEFAULT_SUBSET = "default"
# What Datumaro refuses in an id or subset: absolute paths, drives, parts that Windows takes for "..".
_CLIMBS = re.compile(r"^/|^[A-Za-z]:|(?:^|/)\.\.[. ]*(?:/|$)")
_WEB = re.compile(r"(?i)https?://")
_SCHEME = re.compile(r"(?i)[a-z][a-z0-9+.-]+://")


class Blob(NamedTuple):
    """An encoded picture in a row, from 0 on, of a Parquet file; called, it gives the bytes."""

    path: str
    column: str
    row: int

    def __call__(self) -> bytes:
        """The picture's bytes; :class:`OSError` if the file cannot be read."""
        return read_blob(*self)


class Said(NamedTuple):
    """A caption or a label, and the column that says it; empty where no column did."""

    column: str
    text: str


@dataclass(frozen=True)
class Record:
    """What one row says.

    Attributes
    ----------
    id, subset : str
    picture : str, Blob or ArchiveMember, optional
        The path of a file, which need not be there; or where in the table, or in an archive, the picture is.
    captions, labels : tuple of Said
    attributes : mapping
        The row's other columns; of a caption or label column, a value that its texts alone do not say.
    line : int
        Of the row.
    """

    id: str
    subset: str
    picture: str | Blob | ArchiveMember | None = None
    captions: tuple[Said, ...] = ()
    labels: tuple[Said, ...] = ()
    attributes: Mapping[str, Value] = field(default_factory=dict)
    line: int = 0


class RecordReader:
    """Makes records of one table's rows.

    Parameters
    ----------
    table : Path
    layout : Layout
    root : Path
        What pictures' paths are relative to, and must stay in.
    subset : str
        Of rows that name none.
    blobs : sequence of str
        Columns that hold encoded pictures.
    """

    def __init__(
        self, table: Path, layout: Layout, root: Path, subset: str = DEFAULT_SUBSET, blobs: Sequence[str] = ()
    ) -> None:
        self._path, self._layout, self._subset = table, layout, subset
        self._root = os.path.abspath(root)
        self._is_blob = layout.image in blobs
        said = {*layout.captions, *layout.labels, *([layout.subset] if layout.subset else ())}
        chosen = layout.columns if layout.attributes is None else layout.attributes
        self._keeps_all = layout.attributes is None
        self._kept = frozenset(chosen) - said - {KEY, PICTURE}
        self._said = frozenset(said)

    def read(self, row: Row, number: int, full_names: frozenset[str] = frozenset()) -> Record | Refused:
        """The record of a row.

        Parameters
        ----------
        row : Row
        number : int
            The row's place among its subset's, from 0: its id, where nothing else names it.
        full_names : frozenset of str
            Paths without their ending that two pictures share; their ids keep it.
        """
        values, layout = row.values, self._layout
        name = self._picture_name(values)
        if isinstance(name, _Problem):
            return Refused(row.line, *name)
        picture: str | Blob | ArchiveMember | None = None
        own = values.get(layout.image) if layout.image else None
        if isinstance(own, ArchiveMember):
            picture = own
        elif self._is_blob and layout.image:
            picture = None if own is None else Blob(str(self._path), layout.image, row.line - 1)
        elif name is not None:
            picture = self._resolved(name)
            if picture is None:
                return Refused(row.line, "outside", f"{name!r} leaves {self._root}; name its root with --image-root")
        id_text = self._id(values, name, number, full_names)
        if not id_text:
            message = f"its column {layout.id!r} is empty; fill it, or name another --id-column"
            return Refused(row.line, "no_id", message)
        captions, labels = self._texts(values, layout.captions), self._texts(values, layout.labels)
        subset = as_name(values.get(layout.subset)) if layout.subset else ""
        for name in (id_text, subset):
            if _CLIMBS.search(name):
                message = f"the id or subset {name!r} could lead out of a directory; rename it"
                return Refused(row.line, "outside", message)
        return Record(
            id_text,
            subset or self._subset,
            picture,
            tuple(captions),
            tuple(labels),
            self._attributes(values),
            row.line,
        )

    def _picture_name(self, values: Mapping[str, Value]) -> str | _Problem | None:
        """The picture's path as the row says it; None where the row has no picture of its own."""
        layout = self._layout
        if layout.image_if and as_text(values.get(layout.image_if[0])) != layout.image_if[1]:
            return None
        if layout.template:
            try:
                parts = {column: as_text(value) for column, value in values.items()}
                return string.Formatter().vformat(layout.template, (), {"table": table_stem(self._path), **parts})
            except KeyError as exc:
                return _Problem("no_picture_name", f"it has no column {exc}, which --image-template names")
        value = values.get(layout.image) if layout.image else None
        if self._is_blob:
            value = value.get("path") if isinstance(value, dict) else None
        if isinstance(value, ArchiveMember):
            return None
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            return _Problem("no_picture_name", f"its picture is {as_text(value)[:40]}, which is no path")
        if _SCHEME.match(value):
            if _WEB.match(value):
                return None
            return _Problem("outside", f"{value!r} is no path; pictures elsewhere are fetched: datum-clip fetch")
        return value

    def _resolved(self, name: str) -> str | None:
        """The file that a name means inside the root; with backslashes for slashes only where that finds it."""
        path = os.path.normpath(os.path.join(self._root, name))
        if "\\" in name:
            other = os.path.normpath(os.path.join(self._root, name.replace("\\", "/")))
            path = other if not os.path.exists(path) and os.path.exists(other) else path
        is_inside = path.startswith(self._root.rstrip(os.sep) + os.sep)
        return path if is_inside and "\0" not in path else None

    def _id(self, values: Mapping[str, Value], name: str | None, number: int, full_names: frozenset[str]) -> str:
        if self._layout.id:
            return as_name(values.get(self._layout.id))
        if name is None:
            return f"{number:09d}"
        full, short = picture_ids(name)
        return full if short in full_names else short

    def names_by_picture(self, row: Row) -> tuple[str, str] | None:
        """Both ids that a row's picture could give it, if that is what names it."""
        if self._layout.id:
            return None
        name = self._picture_name(row.values)
        return picture_ids(name) if isinstance(name, str) else None

    def _texts(self, values: Mapping[str, Value], columns: Sequence[str]) -> Iterable[Said]:
        for column in columns:
            yield from (Said(column, text) for text in self._layout.texts_in(column, values.get(column)))

    def _attributes(self, values: Mapping[str, Value]) -> dict[str, Value]:
        layout = self._layout
        found = {}
        for column, value in values.items():
            if column in self._said:
                if column == layout.subset:
                    keep = as_name(value) != value or value in ("", DEFAULT_SUBSET)
                else:
                    keep = value is None or layout.with_texts(column, None, layout.texts_in(column, value)) != value
            else:
                keep = column in self._kept or (self._keeps_all and column not in layout.columns)
            if keep:
                found[column] = value
        return found


class _Problem(NamedTuple):
    reason: str
    message: str


def as_name(value: Value) -> str:
    """A value as an id or a subset: Datumaro joins those to paths, and takes backslashes for slashes."""
    return as_text(value).replace("\\", "/")


def picture_ids(name: str) -> tuple[str, str]:
    """The ids that a picture's path makes: with its ending, and without."""
    full = os.path.normpath(name.replace("\\", "/")).lstrip("/")
    return full, os.path.splitext(full)[0]


class RowMaker:
    """Makes rows of records.

    Parameters
    ----------
    layout : Layout
        Captions and labels without a column go to its columns in order.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def make(self, record: Record, image: Value = None) -> dict[str, Value]:
        """A row's values by column, in the layout's order; columns without a value are left out.

        ``image`` is the value of the image column.
        """
        layout = self._layout
        values = dict(record.attributes)
        _say(values, record.captions, layout.captions, layout)
        _say(values, record.labels, layout.labels, layout)
        if layout.subset and (as_name(values.get(layout.subset)) or DEFAULT_SUBSET) != record.subset:
            values[layout.subset] = record.subset
        if layout.id and as_name(values.get(layout.id)) != record.id:
            values[layout.id] = record.id
        if layout.image and image is not None:
            values[layout.image] = image
        return {column: values[column] for column in layout.columns if column in values}


def _say(values: dict[str, Value], said: Sequence[Said], columns: Sequence[str], layout: Layout) -> None:
    """Put captions or labels into their columns; those of no column into the first that is free, or the last one."""
    by_column: dict[str, list[str]] = {column: [] for column in columns}
    homeless = []
    for each in said:
        by_column[each.column].append(each.text) if each.column in by_column else homeless.append(each.text)
    for text in homeless:
        free = next((column for column, texts in by_column.items() if not texts), columns[-1] if columns else None)
        if free is not None:
            by_column[free].append(text)
    for column, texts in by_column.items():
        value = layout.with_texts(column, values.get(column), texts)
        if value is not None or column in values:
            values[column] = value
