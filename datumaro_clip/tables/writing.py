"""Writing records and their pictures as tables, in any format and dialect."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from datumaro_clip.errors import ImageError, TableError
from datumaro_clip.system.files import safe_file_name, write_text
from datumaro_clip.tables.arrow import PICTURE_FIELDS, write_parquet
from datumaro_clip.tables.delimited import write_delimited
from datumaro_clip.tables.dialects import DIALECTS
from datumaro_clip.tables.json_rows import write_json
from datumaro_clip.tables.options import TableOptions, write_settings
from datumaro_clip.tables.planning import Picture, Plan
from datumaro_clip.tables.records import DEFAULT_SUBSET, ColumnText, Record, make_row
from datumaro_clip.tables.rows import Value, WriteRow, as_json

# img2dataset's defaults: the last four digits of a key count within a shard.
_SHARD_DIGITS, _SHARD_ROWS = 4, 10_000


def open_writer(
    path: Path, format: str, columns: Sequence[str], *, schema: Any = None, separator: str = ","
) -> AbstractContextManager[WriteRow]:
    """Open a table of any format for a block, and give a function that writes a row.

    The table appears whole when the block ends.
    """
    if format == "parquet":
        return write_parquet(path, schema)
    if format in ("json", "jsonl"):
        return write_json(path, in_list=format == "json")
    return write_delimited(path, columns, separator)


class TableExport:
    """Writes a dataset's records, each to the table of its subset; all tables appear whole at the end.

    Parameters
    ----------
    directory : Path
    plan : Plan

    Attributes
    ----------
    counts : collections.Counter
        Pictures and items left out: ``unsaved`` pictures, which have no file and are not copied; items
        ``without_picture``, for which the dialect has no place; pictures that raise an :class:`ImageError`, by reason.
    written : set of Path
        The tables.
    """

    def __init__(self, directory: Path, plan: Plan) -> None:
        self._directory, self._plan = directory, plan
        self._style = DIALECTS[plan.dialect]
        self._stack = ExitStack()
        self._writers: dict[Path, WriteRow] = {}
        self._keys = 0
        self._taken: dict[int, int] = {}  # Hashes of written paths, and of the pictures written there.
        self._shards: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    @property
    def written(self) -> set[Path]:
        """The tables that have been begun."""
        return set(self._writers)

    def write_all(self, records: Iterable[tuple[Record, Picture | None]]) -> None:
        """Write all records; after an error no table appears, and old ones stay as they were."""
        with self._stack:
            for record, picture in records:
                self._write(record, picture)
            if not self._writers and self._style.formats != ("txt",):
                self._writer(self._table_of(Record("", DEFAULT_SUBSET)))
        if self._plan.dialect == "img2dataset":
            for path in self._writers:
                successes = {"successes": self._shards[path.stem]}
                write_text(path.with_name(f"{path.stem}_stats.json"), json.dumps(successes) + "\n")
        self._write_settings()

    def _write(self, record: Record, picture: Picture | None) -> None:
        renamed = self._plan.renamed
        captions = tuple(ColumnText(renamed.get(each.column, each.column), each.text) for each in record.captions)
        record = replace(record, captions=captions)
        if self._plan.dialect == "img2dataset":
            record = self._keyed(record, picture)
        table = self._table_of(record)
        image = self._place(record, picture, table)
        values = make_row(self._plan.layout, record, image)
        if self._plan.dialect == "llava":
            values = _with_turns(values, record)
        if self._plan.dialect == "sidecar":
            self._write_sidecar(table, image, values)
        else:
            self._writer(table)(values)
            if self._plan.dialect == "img2dataset" and picture is not None:
                self._write_img2dataset(table, values)

    def _table_of(self, record: Record) -> Path:
        subset = DEFAULT_SUBSET if self._plan.layout.subset else record.subset
        folder = "" if subset == DEFAULT_SUBSET else f"{subset}/"
        shard = str(record.attributes.get("key", "0" * 9))[:-_SHARD_DIGITS] or "0"
        name = self._style.table.format(
            subset=subset, folder=folder, metadata=folder or "metadata/", format=self._plan.format, shard=shard
        )
        return self._directory / name

    def _writer(self, path: Path) -> WriteRow:
        if path not in self._writers:
            plan = self._plan
            opened = open_writer(path, plan.format, plan.layout.columns, schema=plan.schema, separator=plan.separator)
            self._writers[path] = self._stack.enter_context(opened)
        return self._writers[path]

    def _place(self, record: Record, picture: Picture | None, table: Path) -> Value:
        """Put the picture in its place, and return the value of the image column."""
        plan = self._plan
        old = record.attributes.get(plan.layout.image) if plan.layout.image else None
        known = old if isinstance(old, str) else None
        if picture is None:
            return old
        if plan.is_inline:
            path = known or f"{safe_file_name(record.id)}{picture.ending}"
            return self._inline(picture, path, old)
        if not plan.saves_media:
            return known if known is not None and plan.keeps_names else self._reference(picture)
        usable = known if known and _may_be_named(known, picture) else None
        name = self._template_name(record, table) or usable or self._new_name(record, picture)
        target = self._target(table, name)
        source = hash(picture.path or (record.subset, record.id))
        if self._taken.setdefault(hash(target), source) != source:
            name = self._new_name(record, picture)
            target = self._target(table, name)
            self._taken[hash(target)] = source
        try:
            if picture.path is None or not _is_same_file(picture.path, target):
                picture.save(target)
        except ImageError as exc:
            self.counts[exc.reason] += 1
        return name

    def _new_name(self, record: Record, picture: Picture) -> str:
        """Return a name made of the item's id, in a folder of its subset unless its table is in that already."""
        is_in_folder = self._style.has_folders and not self._plan.layout.subset
        is_bare = record.subset == DEFAULT_SUBSET or is_in_folder
        folder = "" if is_bare else f"{safe_file_name(record.subset)}/"
        name = "/".join(safe_file_name(part) for part in record.id.split("/") if part) or safe_file_name(record.id)
        return self._style.picture.format(folder=folder, name=name + picture.ending)

    def _target(self, table: Path, name: str) -> Path:
        folder = table.parent if table.suffix else table
        return Path(os.path.normpath(folder / name.replace("\\", "/")))

    def _template_name(self, record: Record, table: Path) -> str | None:
        template = self._plan.layout.template
        if template is None:
            return None
        values = {name: str(value) for name, value in make_row(self._plan.layout, record).items()}
        name = template.format_map({"table": table.stem, **values})
        if not _may_be_named(name, None):
            raise TableError(f"item '{record.id}': {name!r}, as --image-template makes it, leaves the directory")
        return name

    def _inline(self, picture: Picture, path: str, old: Value) -> Value:
        """Return a cell with the encoded picture."""
        try:
            data = picture.read()
        except ImageError as exc:
            self.counts[exc.reason] += 1
            return None
        kind = self._plan.schema.field(self._plan.layout.image).type
        if kind.num_fields == 0:
            return data
        rest = old if isinstance(old, dict) else {PICTURE_FIELDS[1]: path}
        return {**rest, PICTURE_FIELDS[0]: data}

    def _reference(self, picture: Picture) -> str | None:
        """Return the path of a picture that is not copied."""
        if picture.path is None or self._plan.root is None:
            self.counts["unsaved"] += 1
            return None
        return Path(os.path.relpath(os.path.abspath(picture.path), self._plan.root)).as_posix()

    def _write_sidecar(self, folder: Path, image: Value, values: dict[str, Value]) -> None:
        if not isinstance(image, str):
            self.counts["without_picture"] += 1
            return
        caption = values.get(self._plan.layout.captions[0]) if self._plan.layout.captions else None
        if caption is not None:
            write_text(self._target(folder, image).with_suffix(".txt"), str(caption), durable=False)

    def _keyed(self, record: Record, picture: Picture | None) -> Record:
        """Return a record with img2dataset's key and status; a record that has them keeps them."""
        key = record.attributes.get("key")
        if not isinstance(key, str) or not key.isdecimal() or len(key) <= _SHARD_DIGITS:
            shard, place = divmod(self._keys, _SHARD_ROWS)
            self._keys += 1
            key = f"{shard:05d}{place:0{_SHARD_DIGITS}d}"
        status = record.attributes.get("status") or ("success" if picture is not None else "no_picture")
        return replace(record, id=key, attributes={**record.attributes, "key": key, "status": status})

    def _write_img2dataset(self, table: Path, values: dict[str, Value]) -> None:
        folder = table.with_suffix("")
        key = str(values["key"])
        self._shards[table.stem] += 1
        write_text(folder / f"{key}.json", as_json(values), durable=False)
        if self._plan.layout.captions and isinstance(caption := values.get(self._plan.layout.captions[0]), str):
            write_text(folder / f"{key}.txt", caption, durable=False)

    def _write_settings(self) -> None:
        plan = self._plan
        options = plan.layout.options() if plan.dialect == "auto" else TableOptions()
        if plan.root is not None:
            options = replace(options, image_root=plan.root)
        if plan.separator not in (",", "\t") or (plan.separator == "\t" and plan.format == "csv"):
            options = replace(options, separator=plan.separator)
        if options.given():
            write_settings(self._directory, options, "How the tables beside this file are read; written with them.")


def _with_turns(values: dict[str, Value], record: Record) -> dict[str, Value]:
    """Return LLaVA's row: captions that are no turns become answers to a request for a description."""
    turns = values.get("conversations")
    if isinstance(turns, list) and all(isinstance(turn, dict) for turn in turns):
        return values
    texts = [turns] if isinstance(turns, str) else turns or []
    made = []
    for number, text in enumerate(texts):
        asked = "Describe this picture." if number else "<image>\nDescribe this picture."
        made += [{"from": "human", "value": asked}, {"from": "gpt", "value": text}]
    return {**values, "conversations": made}


def _may_be_named(name: str, picture: Picture | None) -> bool:
    """Return whether a table's name for a picture may be used: it stays in the directory, and has the right ending."""
    path = os.path.normpath(name.replace("\\", "/"))
    inside = not os.path.isabs(path) and path.split("/")[0] not in ("..", ".") and "\0" not in path
    return inside and (picture is None or os.path.splitext(path)[1].lower() == picture.ending.lower())


def _is_same_file(path: str, target: Path) -> bool:
    try:
        return os.path.samefile(path, target)
    except (FileNotFoundError, NotADirectoryError):
        return False
