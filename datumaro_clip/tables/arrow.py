"""Tables in Parquet, whose values keep their types, and compressed streams; the only module that imports Arrow."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from datumaro_clip.errors import TableError
from datumaro_clip.system.files import atomic_path
from datumaro_clip.tables.rows import Refused, Row, Value, as_text

_BATCH = 256
_GROUP_ROWS = 1000


class ParquetTable:
    """A Parquet file.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    columns : tuple of str
    schema : pyarrow.Schema

    Raises
    ------
    TableError
        If it is no Parquet file, or its end is missing, without which no row can be found.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _opened(path) as file:
            self.schema = file.schema_arrow
        self.columns = tuple(self.schema.names)
        if len(set(self.columns)) != len(self.columns):
            raise TableError(f"{path} has two columns of one name; rename one of them")

    @property
    def blobs(self) -> tuple[str, ...]:
        """Columns that hold encoded pictures: bytes, or structs with a field ``bytes``."""
        return tuple(field.name for field in self.schema if _is_blob(field.type))

    def __iter__(self) -> Iterator[Row | Refused]:
        """Every row, each blob replaced by the rest of its struct, or by None."""
        wanted = [part for field in self.schema for part in _read_parts(field)]
        blobs = set(self.blobs)
        with _opened(self.path) as file:
            number = 0
            for group in range(file.num_row_groups):
                count, read = file.metadata.row_group(group).num_rows, 0
                try:
                    for batch in file.iter_batches(_BATCH, row_groups=[group], columns=wanted):
                        for values in _as_rows(batch):
                            read += 1
                            row = {name: values.get(name, {} if name in blobs else None) for name in self.columns}
                            yield Row(number + read, row)
                except (OSError, ValueError) as exc:
                    message = f"its part of the file is damaged: {str(exc).splitlines()[0]}; get the file again"
                    yield from (Refused(number + line, "damaged", message) for line in range(read + 1, count + 1))
                number += count


def read_blob(path: str, column: str, row: int) -> bytes:
    """The encoded picture in a row, from 0 on.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    group, first = _group_of(path, row)
    value = _group_blobs(path, column, group)[row - first].as_py()
    return bytes(value["bytes"] if isinstance(value, dict) else value)


@lru_cache(maxsize=2)
def _group_blobs(path: str, column: str, group: int) -> Any:
    with _opened(Path(path)) as file:
        return file.read_row_group(group, columns=[column]).column(0)


@lru_cache(maxsize=64)
def _group_limits(path: str) -> tuple[int, ...]:
    with _opened(Path(path)) as file:
        counts = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    return tuple(sum(counts[:end]) for end in range(len(counts) + 1))


def _group_of(path: str, row: int) -> tuple[int, int]:
    """The row group of a row, and that group's first row."""
    limits = _group_limits(path)
    group = next(group for group, limit in enumerate(limits[1:]) if row < limit)
    return group, limits[group]


def _opened(path: Path) -> Any:
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path)
    except ValueError as exc:  # pyarrow's own is one, as is a column's name that is no UTF-8.
        told = str(exc).split(". ")[0].rstrip(".")
        raise TableError(f"{path} is no Parquet file, or its end is missing: {told}; get it again") from exc


def _is_blob(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):
        return any(kind.field(i).name == "bytes" and _is_blob(kind.field(i).type) for i in range(kind.num_fields))
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _read_parts(field: Any) -> list[str]:
    """What to read of a column: of a struct with bytes, the other fields; of bytes, nothing."""
    if not _is_blob(field.type):
        return [field.name]
    import pyarrow.types as types

    if not types.is_struct(field.type):
        return []
    names = [field.type.field(i).name for i in range(field.type.num_fields)]
    return [f"{field.name}.{name}" for name in names if name != "bytes"]


def _as_rows(batch: Any) -> Iterator[dict[str, Value]]:
    columns = [(name, _as_values(batch.column(name))) for name in batch.schema.names]
    for row in range(batch.num_rows):
        yield {name: values[row] for name, values in columns}


def _as_values(column: Any) -> list[Value]:
    """A column's values; times, decimals and the like as the text that Arrow makes of them."""
    import pyarrow.types as types

    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    if types.is_temporal(kind) or types.is_decimal(kind):
        import pyarrow

        column = column.cast(pyarrow.string())
    values: list[Value] = column.to_pylist()
    return values


class ParquetWriter:
    """Writes rows, a thousand to a row group."""

    def __init__(self, writer: Any, schema: Any) -> None:
        self._writer, self._schema = writer, schema
        self._rows: list[dict[str, Value]] = []

    def write(self, values: dict[str, Value]) -> None:
        """Write one row; columns that it lacks are null.

        Raises
        ------
        TableError
            If a value is not of its column's type.
        """
        self._rows.append(values)
        if len(self._rows) == _GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the row group so far."""
        import pyarrow

        if not self._rows:
            return
        arrays = [_array([row.get(field.name) for row in self._rows], field, pyarrow) for field in self._schema]
        self._writer.write_table(pyarrow.Table.from_arrays(arrays, schema=self._schema))
        self._rows.clear()


def _array(values: list[Value], field: Any, arrow: Any) -> Any:
    types = arrow.types
    kind = field.type
    try:
        if types.is_string(kind) or types.is_large_string(kind):
            return arrow.array([None if value is None else as_text(value) for value in values], kind)
        if types.is_temporal(kind) or types.is_decimal(kind) or types.is_dictionary(kind):
            return arrow.array(values, arrow.string()).cast(kind)
        return arrow.array(values, kind)
    except (arrow.ArrowInvalid, arrow.ArrowTypeError, arrow.ArrowNotImplementedError) as exc:
        raise TableError(f"column {field.name!r} is {kind} and cannot hold what it should: {exc}") from exc


def decompressed(path: Path, compression: str) -> io.RawIOBase:
    """The bytes of a ``gzip`` or ``zstd`` file, as they are read.

    Raises
    ------
    OSError
        If it cannot be read; while it is read, also where it is cut off.
    """
    import pyarrow

    path.stat()  # Arrow's own message names neither the problem nor the cure.
    stream: io.RawIOBase = pyarrow.input_stream(str(path), compression=compression)
    return stream


@contextmanager
def write_parquet(path: Path, schema: Any) -> Iterator[ParquetWriter]:
    """A writer of a file that appears whole when the block ends."""
    from pyarrow import parquet

    with atomic_path(path) as temporary, parquet.ParquetWriter(temporary, schema) as file:
        writer = ParquetWriter(file, schema)
        yield writer
        writer.flush()


def make_schema(columns: Sequence[str], kinds: Mapping[str, frozenset[type]], known: str | None = None) -> Any:
    """A schema for columns of which these Python types occur.

    Parameters
    ----------
    columns : sequence of str
    kinds : mapping
        The types of each column's values, but for None.
    known : str, optional
        :func:`dump_schema` of the table that the rows came from: its columns keep their types.
    """
    import pyarrow

    old = None if known is None else load_schema(known)
    fields = []
    for name in columns:
        index = -1 if old is None else old.get_field_index(name)
        if old is not None and index >= 0:
            fields.append(old.field(index))
        else:
            fields.append(pyarrow.field(name, _arrow_type(kinds.get(name, frozenset()), pyarrow)))
    return pyarrow.schema(fields, metadata=None if old is None else old.metadata)


def _arrow_type(kinds: frozenset[type], arrow: Any) -> Any:
    """The narrowest type for all values; text where they differ, or hold other values."""
    if kinds == {bool}:
        return arrow.bool_()
    if kinds == {int}:
        return arrow.int64()
    if kinds and kinds <= {int, float}:
        return arrow.float64()
    return arrow.binary() if kinds == {bytes} else arrow.string()


def has_blob(schema: Any, column: str | None) -> bool:
    """Whether a schema has the column, and it holds encoded pictures."""
    index = -1 if column is None else schema.get_field_index(column)
    return index >= 0 and _is_blob(schema.field(index).type)


PICTURE_FIELDS = ("bytes", "path")


def with_pictures(schema: Any, column: str) -> Any:
    """The schema with a column of pictures as Hugging Face keeps them: a struct of bytes and path."""
    import pyarrow

    index = schema.get_field_index(column)
    if index >= 0 and _is_blob(schema.field(index).type):
        return schema
    field = pyarrow.field(column, pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]))
    return schema.set(index, field) if index >= 0 else schema.insert(0, field)


def dump_schema(schema: Any) -> str:
    """A schema as text, to be kept with a dataset."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def load_schema(text: str) -> Any:
    """What :func:`dump_schema` wrote.

    Raises
    ------
    TableError
        If it is something else.
    """
    import pyarrow

    try:
        return pyarrow.ipc.read_schema(pyarrow.py_buffer(base64.b64decode(text, validate=True)))
    except (ValueError, OSError) as exc:
        raise TableError(f"the dataset's record of its table's types is damaged: {exc}") from exc
