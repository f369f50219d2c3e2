"""Tables, whose rows are media: each kept once, as a JSON file inside the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datumaro.components.media import Table

from datumaro_clip.host.codec.values import CodecError, decode_value, encode_value
from datumaro_clip.store import MediaFolder, media_path

if TYPE_CHECKING:
    import pandas as pd

# Rows of a few tables may come in turns; more tables than this are read again.
_REMEMBERED = 16


class TableWriter:
    """Keeps tables, each once."""

    def __init__(self, folder: MediaFolder) -> None:
        self._folder = folder
        # Tables are held, so that no other can take the identity of one.
        self._known: dict[int, tuple[Table, str]] = {}

    def reference(self, table: Table) -> str:
        """Where a table is inside the store; it is put there at its first row."""
        if id(table) not in self._known:
            if len(self._known) == _REMEMBERED:
                self._known.clear()
            name = f"tables/{Path(getattr(table, 'path', 'table')).stem}.json"
            self._known[id(table)] = table, self._folder.add_bytes(_to_json(table.data), name)
        return self._known[id(table)][1]


class TableReader:
    """Reads tables, each once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, Table] = {}

    def table(self, reference: str) -> Table:
        """The table that a payload names."""
        if reference not in self._known:
            if len(self._known) == _REMEMBERED:
                self._known.clear()
            self._known[reference] = Table.from_dataframe(_from_json(media_path(self._root, reference)))
        return self._known[reference]


def _to_json(frame: pd.DataFrame) -> bytes:
    columns = [
        {"name": name, "dtype": str(frame[name].dtype), "values": encode_value(frame[name].tolist())}
        for name in frame.columns
    ]
    return json.dumps({"columns": columns}, separators=(",", ":"), allow_nan=False).encode()


def _from_json(path: Path) -> pd.DataFrame:
    # Here, since it takes a third of a second, and few stores hold tables.
    import pandas as pd

    try:
        columns: list[dict[str, Any]] = json.loads(path.read_bytes())["columns"]
        series = {c["name"]: pd.Series(decode_value(c["values"]), dtype=c["dtype"]) for c in columns}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise CodecError(f"the table {path.name}, which cannot be read: {exc!r}") from exc
    return pd.DataFrame(series)
