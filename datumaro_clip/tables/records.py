"""Records: what a row says about one picture. Made of rows, and turned into rows again."""

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
from datumaro_clip.tables.layout import Layout
from datumaro_clip.tables.opening import table_stem
from datumaro_clip.tables.rows import KEY, PICTURE, Refused, Row, Value, as_text

DEFAULT_SUBSET = "default"
# Ids and subsets that Datumaro refuses: absolute paths, drives, and parts that Windows reads as "..".
_CLIMBS = re.compile(r"^/|^[A-Za-z]:|(?:^|/)\.\.[. ]*(?:/|$)")
_WEB = re.compile(r"(?i)https?://")
_SCHEME = re.compile(r"(?i)[a-z][a-z0-9+.-]+://")


class Blob(NamedTuple):
    """An encoded picture in a Parquet file; rows count from 0. Calling it returns the bytes."""

    path: str
    column: str
    row: int

    def __call__(self) -> bytes:
        """Return the picture's bytes; :class:`OSError` if the file cannot be read."""
        return read_blob(*self)


class ColumnText(NamedTuple):
    """A caption or a label, and the column that it is in; the column is empty if it came from no table."""

    column: str
    text: str


@dataclass(frozen=True)
class Record:
    """The content of one row.

    Attributes
    ----------
    id, subset : str
    picture : str, Blob or ArchiveMember, optional
        The path of a file, which may be missing; or the picture's place in the table or in an archive.
    captions, labels : tuple of ColumnText
    attributes : mapping
        The row's other columns, and values of caption and label columns that cannot be restored from their texts.
    line : int
        The row's line.
    """

    id: str
    subset: str
    picture: str | Blob | ArchiveMember | None = None
    captions: tuple[ColumnText, ...] = ()
    labels: tuple[ColumnText, ...] = ()
    attributes: Mapping[str, Value] = field(default_factory=dict)
    line: int = 0


class RecordReader:
    """Makes records of one table's rows.

    Parameters
    ----------
    table : Path
    layout : Layout
    root : Path
        The directory that pictures' paths are relative to, and must not leave.
    subset : str
        The subset of rows that name none.
    blobs : sequence of str
        Columns that hold encoded pictures.
    """

    def __init__(
        self, table: Path, layout: Layout, root: Path, subset: str = DEFAULT_SUBSET, blobs: Sequence[str] = ()
    ) -> None:
        self._path, self._layout, self._subset = table, layout, subset
        self._root = os.path.abspath(root)
        self._is_blob = layout.image in blobs
        self._parsed = frozenset([*layout.captions, *layout.labels, *([layout.subset] if layout.subset else ())])

    def read(self, row: Row, number: int, full_names: frozenset[str] = frozenset()) -> Record | Refused:
        """Return the record of a row, or why it is refused.

        Parameters
        ----------
        row : Row
        number : int
            The row's number in its subset, from 0: its id if nothing else names it.
        full_names : frozenset of str
            Paths without ending that several pictures share; their ids keep the ending.
        """
        values, layout = row.values, self._layout
        name = self.picture_name(values)
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
        if layout.id:
            id_text = as_name(values.get(layout.id))
        elif name is None:
            id_text = f"{number:09d}"
        else:
            full, short = picture_ids(name)
            id_text = full if short in full_names else short
        if not id_text:
            message = f"its column {layout.id!r} is empty; fill it, or name another --id-column"
            return Refused(row.line, "no_id", message)
        subset = as_name(values.get(layout.subset)) if layout.subset else ""
        for name in (id_text, subset):
            if _CLIMBS.search(name):
                message = f"the id or subset {name!r} could lead out of a directory; rename it"
                return Refused(row.line, "outside", message)
        return Record(
            id_text,
            subset or self._subset,
            picture,
            tuple(self._texts(values, layout.captions)),
            tuple(self._texts(values, layout.labels)),
            self._attributes(values),
            row.line,
        )

    def picture_name(self, values: Mapping[str, Value]) -> str | _Problem | None:
        """Return the picture's path as a row says it; None if the row has none."""
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
        if value is None or value == "" or isinstance(value, ArchiveMember):
            return None
        if not isinstance(value, str):
            return _Problem("no_picture_name", f"its picture is {as_text(value)[:40]}, which is no path")
        if _SCHEME.match(value):
            if _WEB.match(value):
                return None
            return _Problem("outside", f"{value!r} is no path; pictures elsewhere are fetched: datum-clip fetch")
        return value

    def _resolved(self, name: str) -> str | None:
        """Return the file inside the root that a name means; None if it leaves the root.

        Backslashes are read as slashes only if there is such a file.
        """
        path = os.path.normpath(os.path.join(self._root, name))
        if "\\" in name:
            other = os.path.normpath(os.path.join(self._root, name.replace("\\", "/")))
            path = other if not os.path.exists(path) and os.path.exists(other) else path
        is_inside = path.startswith(self._root.rstrip(os.sep) + os.sep)
        return path if is_inside and "\0" not in path else None

    def _texts(self, values: Mapping[str, Value], columns: Sequence[str]) -> Iterable[ColumnText]:
        for column in columns:
            yield from (ColumnText(column, text) for text in self._layout.texts_in(column, values.get(column)))

    def _attributes(self, values: Mapping[str, Value]) -> dict[str, Value]:
        layout = self._layout
        found = {}
        for column, value in values.items():
            if column in self._parsed:
                if column == layout.subset:
                    keep = as_name(value) != value or value in ("", DEFAULT_SUBSET)
                else:
                    keep = value is None or layout.with_texts(column, None, layout.texts_in(column, value)) != value
            elif column in (KEY, PICTURE):
                keep = False
            else:
                keep = layout.attributes is None or column in layout.attributes
            if keep:
                found[column] = value
        return found


class _Problem(NamedTuple):
    reason: str
    message: str


def as_name(value: Value) -> str:
    """Return a value as an id or a subset. Backslashes become slashes, as Datumaro reads them when it makes paths."""
    return as_text(value).replace("\\", "/")


def picture_ids(name: str) -> tuple[str, str]:
    """Return both ids that a picture's path can give: with its ending, and without."""
    full = os.path.normpath(name.replace("\\", "/")).lstrip("/")
    return full, os.path.splitext(full)[0]


def make_row(layout: Layout, record: Record, image: Value = None) -> dict[str, Value]:
    """Return a row's values by column, in the layout's order; columns without a value are left out.

    ``image`` is the value of the image column. Captions and labels without a column go to the layout's in order.
    """
    values = dict(record.attributes)
    _put_texts(values, record.captions, layout.captions, layout)
    _put_texts(values, record.labels, layout.labels, layout)
    if layout.subset and (as_name(values.get(layout.subset)) or DEFAULT_SUBSET) != record.subset:
        values[layout.subset] = record.subset
    if layout.id and as_name(values.get(layout.id)) != record.id:
        values[layout.id] = record.id
    if layout.image and image is not None:
        values[layout.image] = image
    return {column: values[column] for column in layout.columns if column in values}


def _put_texts(values: dict[str, Value], texts: Sequence[ColumnText], columns: Sequence[str], layout: Layout) -> None:
    """Put captions or labels into their columns; those without one into the first empty column, or the last one."""
    by_column: dict[str, list[str]] = {column: [] for column in columns}
    unplaced = []
    for each in texts:
        by_column[each.column].append(each.text) if each.column in by_column else unplaced.append(each.text)
    for text in unplaced:
        free = next((column for column, own in by_column.items() if not own), columns[-1] if columns else None)
        if free is not None:
            by_column[free].append(text)
    for column, own in by_column.items():
        value = layout.with_texts(column, values.get(column), own)
        if value is not None or column in values:
            values[column] = value
