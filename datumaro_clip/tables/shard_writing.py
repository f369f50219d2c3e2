"""Writing records and their pictures as WebDataset shards: equal records give equal bytes."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from datumaro_clip.errors import ImageError
from datumaro_clip.system.files import atomic_path
from datumaro_clip.tables.planning import Picture, Plan
from datumaro_clip.tables.records import DEFAULT_SUBSET, Record, make_row
from datumaro_clip.tables.rows import KEY, PICTURE, Value, as_json, as_text
from datumaro_clip.tables.shards import JSON_FIELD, LABEL_FIELD, TEXT_FIELD, first_caption, split_name


class ShardExport:
    """Writes records to ``SUBSET-000000.tar`` and so on; archives of the default subset have just a number as name.

    Each record is its picture, its first caption as ``txt``, and the rest as ``json``. An archive appears whole, once
    it is full.

    Parameters
    ----------
    directory : Path
    plan : Plan
        Of the dialect ``webdataset``.
    shard_rows : int
        Records in an archive.

    Attributes
    ----------
    counts : collections.Counter
        The records left out: ``without_picture``, or the reason of the :class:`ImageError` that reading its picture
        raised.
    written : set of Path
        The archives.
    """

    def __init__(self, directory: Path, plan: Plan, shard_rows: int) -> None:
        self._directory, self._plan, self._shard_rows = directory, plan, shard_rows
        self._open: dict[str, tuple[ExitStack, tarfile.TarFile]] = {}
        self._rows: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.written: set[Path] = set()

    def write_all(self, records: Iterable[tuple[Record, Picture | None]]) -> None:
        """Write all records; after an error, archives that are not full do not appear."""
        with ExitStack() as stack:
            for record, picture in records:
                if picture is None:
                    self.counts["without_picture"] += 1
                    continue
                try:
                    data = picture.read()
                except ImageError as exc:
                    self.counts[exc.reason] += 1
                    continue
                self._write(record, data, picture.ending, stack)
            for subset in list(self._open):
                self._close(subset)

    def _write(self, record: Record, data: bytes, ending: str, stack: ExitStack) -> None:
        subset = DEFAULT_SUBSET if self._plan.layout.subset else record.subset
        if subset not in self._open:
            self._begin(subset, stack)
        row = make_row(self._plan.layout, record)
        values = {name: value for name, value in row.items() if name not in (KEY, PICTURE)}
        # A key ends at the first dot of its base name; an id of another form is kept in the JSON, too.
        folder, slash, base = record.id.removeprefix("./").rpartition("/")
        key = f"{folder}{slash}{base.replace('.', '_') or '_'}"
        if split_name(f"{key}.x") != (record.id, "x"):
            values[KEY] = record.id
        tar = self._open[subset][1]
        _add(tar, key + ending.lower(), data)
        for name, text in _texts(values):
            _add(tar, f"{key}.{name}", text.encode())
        self._rows[subset] += 1
        if self._rows[subset] % self._shard_rows == 0:
            self._close(subset)

    def _begin(self, subset: str, stack: ExitStack) -> None:
        number = self._rows[subset] // self._shard_rows
        name = f"{number:06d}.tar" if subset == DEFAULT_SUBSET else f"{subset}-{number:06d}.tar"
        path = self._directory / name
        whole = stack.enter_context(ExitStack())
        temporary = whole.enter_context(atomic_path(path))
        tar = tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - the stack closes it
        whole.enter_context(tar)
        self._open[subset] = whole, tar
        self.written.add(path)

    def _close(self, subset: str) -> None:
        """End a subset's archive, which then appears under its name."""
        self._open.pop(subset)[0].close()


def _texts(values: dict[str, Value]) -> Iterable[tuple[str, str]]:
    """Yield the text members of a row: caption, class number, and the rest as JSON."""
    own = values.pop(TEXT_FIELD, None) if isinstance(values.get(TEXT_FIELD), str) else None
    text = first_caption(values) if own is None else own
    if text is not None:
        yield TEXT_FIELD, text
    number = values.pop(LABEL_FIELD, None)
    if number is not None:
        yield LABEL_FIELD, as_text(number)
    if values:
        yield JSON_FIELD, as_json(values)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
