"""Tables in Parquet, and decompression of other tables; the only module that imports Arrow."""

from __future__ import annotations

import base64
import io
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from datumaro_clip.errors import TableError
from datumaro_clip.system.files import atomic_path
from datumaro_clip.tables.rows import Refused, Row, Value, WriteRow, as_text

# Rows read at a time, and rows in a row group that is written.
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
        If it is no Parquet file, or its end is missing, which says where the rows are.
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
        """Yield every row. Encoded pictures are not read: of their structs only the other fields are in the row."""
        wanted = [part for field in self.schema for part in _read_parts(field)]
        with _opened(self.path) as file:
            number = 0
            for group in range(file.num_row_groups):
                count, read = file.metadata.row_group(group).num_rows, 0
                try:
                    for batch in file.iter_batches(_BATCH, row_groups=[group], columns=wanted):
                        read_columns = {name: _as_values(batch.column(name)) for name in batch.schema.names}
                        columns = [(name, read_columns.get(name)) for name in self.columns]
                        for at in range(batch.num_rows):
                            read += 1
                            values = {name: {} if column is None else column[at] for name, column in columns}
                            yield Row(number + read, values)
                except (OSError, ValueError) as exc:
                    message = f"its part of the file is damaged: {str(exc).splitlines()[0]}; get the file again"
                    yield from (Refused(number + line, "damaged", message) for line in range(read + 1, count + 1))
                number += count


def read_blob(path: str, column: str, row: int) -> bytes:
    """Return the encoded picture in a row; rows count from 0.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    limits = _group_limits(path)
    group = bisect(limits, row) - 1
    value = _group_blobs(path, column, group)[row - limits[group]].as_py()
    return bytes(value["bytes"] if isinstance(value, dict) else value)


@lru_cache(maxsize=2)
def _group_blobs(path: str, column: str, group: int) -> Any:
    with _opened(Path(path)) as file:
        return file.read_row_group(group, columns=[column]).column(0)


@lru_cache(maxsize=64)
def _group_limits(path: str) -> tuple[int, ...]:
    """Return the first row of each row group, and the number of rows."""
    with _opened(Path(path)) as file:
        counts = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    return tuple(accumulate(counts, initial=0))


def _opened(path: Path) -> Any:
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path)
    except ValueError as exc:  # ArrowInvalid is one, and so is the error of a column's name that is no UTF-8.
        problem = str(exc).split(". ")[0].rstrip(".")
        raise TableError(f"{path} is no Parquet file, or its end is missing: {problem}; get it again") from exc


def _is_blob(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):
        return any(kind.field(i).name == "bytes" and _is_blob(kind.field(i).type) for i in range(kind.num_fields))
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _read_parts(field: Any) -> list[str]:
    """Return what to read of a column: the other fields of a struct with bytes, nothing of bytes."""
    if not _is_blob(field.type):
        return [field.name]
    import pyarrow.types as types

    if not types.is_struct(field.type):
        return []
    names = [field.type.field(i).name for i in range(field.type.num_fields)]
    return [f"{field.name}.{name}" for name in names if name != "bytes"]


def _as_values(column: Any) -> list[Value]:
    """Return a column's values; times and decimals as the text that Arrow makes of them."""
    import pyarrow.types as types

    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    if types.is_temporal(kind) or types.is_decimal(kind):
        import pyarrow

        column = column.cast(pyarrow.string())
    values: list[Value] = column.to_pylist()
    return values


@contextmanager
def write_parquet(path: Path, schema: Any) -> Iterator[WriteRow]:
    """Open a file for a block, and give a function that writes a row; the file appears whole when the block ends.

    Columns that a row lacks are null. Where a value is not of its column's type, that is a :class:`TableError`.
    """
    import pyarrow
    from pyarrow import parquet

    rows: list[dict[str, Value]] = []
    with atomic_path(path) as temporary, parquet.ParquetWriter(temporary, schema) as file:

        def flush() -> None:
            arrays = [_array([row.get(field.name) for row in rows], field, pyarrow) for field in schema]
            file.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
            rows.clear()

        def write(values: dict[str, Value]) -> None:
            rows.append(values)
            if len(rows) == _GROUP_ROWS:
                flush()

        yield write
        if rows:
            flush()


def _array(values: list[Value], field: Any, arrow: Any) -> Any:
    """Return values as an array of a column's type."""
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
    """Open a ``gzip`` or ``zstd`` file.

    Raises
    ------
    OSError
        If it cannot be read; reading raises it too, where the file is cut off.
    """
    import pyarrow

    path.stat()  # Arrow's own message names neither the problem nor the cure.
    stream: io.RawIOBase = pyarrow.input_stream(str(path), compression=compression)
    return stream


def make_schema(columns: Sequence[str], kinds: Mapping[str, Set[type]], known: str | None = None) -> Any:
    """Return a schema for columns.

    Parameters
    ----------
    columns : sequence of str
    kinds : mapping
        The Python types of each column's values, without None.
    known : str, optional
        :func:`dump_schema` of the table that the rows came from: its columns keep their types.
    """
    import pyarrow

    old = pyarrow.schema([]) if known is None else load_schema(known)
    fields = [
        old.field(name) if name in old.names else pyarrow.field(name, _arrow_type(kinds.get(name, set()), pyarrow))
        for name in columns
    ]
    return pyarrow.schema(fields, metadata=old.metadata)


def _arrow_type(kinds: Set[type], arrow: Any) -> Any:
    """Return the narrowest type for values of these Python types; text if there is no common type."""
    if kinds == {bool}:
        return arrow.bool_()
    if kinds == {int}:
        return arrow.int64()
    if kinds and kinds <= {int, float}:
        return arrow.float64()
    return arrow.binary() if kinds == {bytes} else arrow.string()


def has_blob(schema: Any, column: str | None) -> bool:
    """Return whether a schema has the column, and it holds encoded pictures."""
    index = -1 if column is None else schema.get_field_index(column)
    return index >= 0 and _is_blob(schema.field(index).type)


#: The fields of the struct in which a column of pictures keeps each.
PICTURE_FIELDS = ("bytes", "path")


def with_pictures(schema: Any, column: str) -> Any:
    """Return the schema with a column of pictures, of the type that Hugging Face uses: a struct of bytes and path."""
    import pyarrow

    if has_blob(schema, column):
        return schema
    index = schema.get_field_index(column)
    field = pyarrow.field(column, pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]))
    return schema.set(index, field) if index >= 0 else schema.insert(0, field)


def dump_schema(schema: Any) -> str:
    """Return a schema as text, which is kept with a dataset."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def load_schema(text: str) -> Any:
    """Return the schema of a text that :func:`dump_schema` made.

    Raises
    ------
    TableError
        If it is another text.
    """
    import pyarrow

    try:
        return pyarrow.ipc.read_schema(pyarrow.py_buffer(base64.b64decode(text, validate=True)))
    except (ValueError, OSError) as exc:
        raise TableError(f"the dataset's record of its table's types is damaged: {exc}") from exc
