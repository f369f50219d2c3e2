"""WebDataset shards: tar archives in which the members of one name and several endings are one row.

As in the webdataset library, a member's key is its path up to the first dot of its base name, and its field is the rest
after that dot; consecutive members of one key are a row. Pictures stay in the archive.
"""

from __future__ import annotations

import glob
import itertools
import json
import re
import tarfile
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from datumaro_clip.errors import TableError
from datumaro_clip.store import ArchiveMember
from datumaro_clip.tables.arrow import ParquetTable
from datumaro_clip.tables.files import subset_of
from datumaro_clip.tables.layout import usual_columns
from datumaro_clip.tables.options import USUAL_NAMES, TableOptions
from datumaro_clip.tables.records import DEFAULT_SUBSET
from datumaro_clip.tables.rows import KEY, PICTURE, Refused, Row, Value
from datumaro_clip.tables.sidecars import is_picture

TEXT_FIELD, LABEL_FIELD, JSON_FIELD = "txt", "cls", "json"
_READ = (TEXT_FIELD, "text", "caption", LABEL_FIELD, JSON_FIELD)
_NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)", re.DOTALL)
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_NUMBER = re.compile(r"[-_.]?\d+(-of-\d+)?$")
_BLOCK = 512
_SEEN_FOR_COLUMNS = 100


def find_shards(spec: str) -> list[tuple[Path, str]]:
    """Find the archives of a file, a directory, or a pattern with braces (``{00000..00009}``) or ``*``.

    Each comes with its subset.

    Raises
    ------
    TableError
        If there is none, one that a pattern names is missing, or one is compressed.
    """
    if Path(spec).is_dir():
        found = sorted(path for path in Path(spec).rglob("*") if path.suffix == ".tar" and path.is_file())
        refused = [path for path in Path(spec).iterdir() if path.name.endswith(_COMPRESSED)]
    else:
        named = [spec] if Path(spec).exists() else expand_braces(spec)
        found = [Path(name) for each in named for name in (sorted(glob.glob(each)) if glob.has_magic(each) else [each])]
        refused = [path for path in found if path.name.endswith(_COMPRESSED)]
    if refused:
        raise TableError(f"{refused[0]} is compressed, and pictures are read where they lie: unpack it to a plain .tar")
    if missing := [path for path in found if not path.is_file()]:
        raise TableError(f"there is no {missing[0]}, which {spec} names; check the path")
    if not found:
        raise TableError(f"{spec} names no .tar archive; check the path")
    return [(path, _subset(path, Path(spec))) for path in found]


def expand_braces(pattern: str) -> list[str]:
    """Return the names that a pattern with ``{a,b}`` and ``{000..010}`` stands for, in order."""
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        return [pattern]
    numbers = _RANGE.fullmatch(match[1])
    if numbers:
        first, last = int(numbers[1]), int(numbers[2])
        parts = [f"{number:0{len(numbers[1])}d}" for number in range(first, last + 1)]
    else:
        parts = match[1].split(",")
    before, after = pattern[: match.start()], pattern[match.end() :]
    return [whole for part in parts for whole in expand_braces(before + part + after)]


def _subset(path: Path, root: Path) -> str:
    """Return the subset that an archive's name without its number stands for, else its folder's name."""
    subset = DEFAULT_SUBSET if path.stem.isdecimal() else subset_of(_NUMBER.sub("", path.stem))
    inside = path.parent != root and root in path.parents
    return subset_of(path.parent.name) if subset == DEFAULT_SUBSET and inside else subset


def split_name(name: str) -> tuple[str, str] | None:
    """Return a member's key and its field in lower case; None if the base name has no dot, or begins with one."""
    match = _NAME.fullmatch(name.removeprefix("./"))
    return None if match is None else (match[1], match[2].lower())


class ShardTable:
    """The rows of one archive, in its order; the places of its members are read once.

    Parameters
    ----------
    path : Path
    root : Path
        The directory that references to the archive are relative to.

    Attributes
    ----------
    columns : tuple of str
        :data:`KEY`, the key, and :data:`PICTURE`, an :class:`ArchiveMember`; then the fields of the first hundred rows,
        the names in their JSON, and the columns of the Parquet file beside the archive.
    left : collections.Counter
        The members that are not read, by field.

    Raises
    ------
    TableError
        If it is no tar archive.
    """

    def __init__(self, path: Path, root: Path) -> None:
        self.path = path
        self._root, self._place = str(root.absolute()), path.absolute().relative_to(root.absolute()).as_posix()
        self.left: Counter[str] = Counter()
        self._index = _Index(path)
        beside = path.with_suffix(".parquet")
        self._beside = ParquetTable(beside) if beside.is_file() else None
        found = dict.fromkeys((KEY, PICTURE))
        for row in itertools.islice(self, _SEEN_FOR_COLUMNS):
            if isinstance(row, Row):
                found.update(dict.fromkeys(row.values))
        self.columns = tuple(found)

    def __iter__(self) -> Iterator[Row | Refused]:
        self.left.clear()
        beside = self._rows_beside()
        with self.path.open("rb") as file:
            for line, key, members in self._index.rows():
                row = self._row(file, line, key, members)
                if isinstance(row, Row):
                    row.values.update({**beside.pop(key, {}), **row.values})
                    yield row
                    yield from self._extra(line, key, members)
                else:
                    yield row
        for key, values in beside.items():
            status = f", of status {values['status']}," if values.get("status") else ""
            yield Refused(0, "no_picture", f"key {key!r}{status} is in the Parquet file beside it, not in the archive")
        if self._index.damage is not None:
            yield self._index.damage

    def _rows_beside(self) -> dict[str, dict[str, Value]]:
        """Return the rows of the Parquet file beside the archive, by key; none if it has no column ``key``."""
        rows = () if self._beside is None or "key" not in self._beside.columns else self._beside
        return {str(row.values["key"]): row.values for row in rows if isinstance(row, Row)}

    def _row(self, file: BinaryIO, line: int, key: str, members: list[Member]) -> Row | Refused:
        """Return a key's row: its picture, and the content of its text members."""
        values: dict[str, Value] = {KEY: key}
        from_json: dict[str, Value] = {}
        for member in members:
            if member.field in _READ and member.field not in values:
                file.seek(member.offset)
                try:
                    content = _parsed(member.field, file.read(member.length))
                except UnicodeDecodeError as exc:
                    return Refused(line, "encoding", f"{key}.{member.field}: it is no UTF-8 text: {exc}")
                except (ValueError, RecursionError) as exc:
                    return Refused(line, "not_json", f"{key}.{member.field}: it is not JSON: {exc}")
                if member.field == JSON_FIELD and isinstance(content, dict):
                    from_json = content
                else:
                    values[member.field] = content
        picture = _picture_of(members)
        if picture is None:
            names = ", ".join(f"{key}.{member.field}" for member in members)
            return Refused(line, "no_picture", f"{names}: no picture has this name, up to its first dot")
        values[PICTURE] = ArchiveMember(self._root, self._place, picture.offset, picture.length, picture.name)
        if isinstance(own := from_json.get(KEY), str):
            values[KEY] = own
        if TEXT_FIELD in values and values[TEXT_FIELD] == first_caption(from_json):
            del values[TEXT_FIELD]
        return Row(line, {**from_json, **values})

    def _extra(self, line: int, key: str, members: list[Member]) -> Iterator[Refused]:
        """Yield members that the row has no place for; those whose field is not read are only counted."""
        picture, seen = _picture_of(members), set[str]()
        for member in members:
            name = f"{key}.{member.field}"
            if member.field in seen:
                yield Refused(line, "repeated_member", f"{name} is there twice")
            elif _is_picture(member) and member is not picture:
                message = f"{name} is another picture of {key!r}: a key ends at the first dot of a name; rename it"
                yield Refused(line, "extra_picture", message)
            elif not _is_picture(member) and member.field not in _READ:
                self.left[member.field] += 1
            seen.add(member.field)


def first_caption(values: Mapping[str, Value]) -> str | None:
    """Return the text of the first caption column, in the order of their usual names."""
    names = USUAL_NAMES["caption_column"]
    ranks = {name: rank for rank, name in enumerate(names)}
    columns = usual_columns(values, "caption_column")
    ordered = sorted(columns, key=lambda name: (ranks.get(name.casefold(), len(names)), name))
    return next((value for name in ordered if isinstance(value := values[name], str)), None)


def _picture_of(members: list[Member]) -> Member | None:
    """Return the picture of a row: fields of one part come before others, as ``jpg`` before ``seg.png``."""
    pictures = [member for member in members if _is_picture(member)]
    return min(pictures, key=lambda member: member.field.count("."), default=None)


def _is_picture(member: Member) -> bool:
    return is_picture(f"x.{member.field}")


def _parsed(field: str, data: bytes) -> Value:
    """Return the content of a text member: the value of JSON, else text."""
    text = data.decode("utf-8-sig")
    if field == JSON_FIELD:
        return json.loads(text)
    return text.strip() if field == LABEL_FIELD else text


class Member(NamedTuple):
    """A member of an archive: its name, its field, and the place of its bytes."""

    name: str
    field: str
    offset: int
    length: int


class _Index:
    """The places of an archive's members; it takes some sixty bytes of memory for each, and their names.

    Attributes
    ----------
    damage : Refused, optional
        The place from which the archive cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._names: list[str] = []
        self._offsets, self._lengths = array("q"), array("q")
        self.damage: Refused | None = None
        size = path.stat().st_size
        try:
            with tarfile.open(path, "r:") as tar:
                members: list[tarfile.TarInfo] = getattr(tar, "members")  # noqa: B009 - typeshed does not know it
                while (info := tar.next()) is not None:
                    members.clear()  # tarfile would keep them all.
                    if info.isreg():
                        self._names.append(info.name)
                        self._offsets.append(info.offset_data)
                        self._lengths.append(info.size)
                end: int = tar.offset
        except (tarfile.TarError, EOFError) as exc:
            if not self._names:
                raise TableError(f"{path} is no tar archive: {exc}; get it again") from exc
            end = size
        if self._names and self._offsets[-1] + self._lengths[-1] > size:
            message = f"{self._names.pop()}: the archive ends in it; get it again"
            self.damage = Refused(len(self._names) + 1, "truncated", message)
        elif not _ends_at(path, end, size):
            message = f"at byte {end} no member begins, and the archive goes on; get it again"
            self.damage = Refused(len(self._names) + 1, "damaged", message)

    def rows(self) -> Iterator[tuple[int, str, list[Member]]]:
        """Yield each run of members of one key, with the number of its first member, from 1."""
        key, first = "", 0
        members: list[Member] = []
        for number, name in enumerate(self._names):
            parts = split_name(name)
            if parts is None:
                continue
            if parts[0] != key and members:
                yield first, key, members
                members = []
            if not members:
                key, first = parts[0], number + 1
            members.append(Member(name, parts[1], self._offsets[number], self._lengths[number]))
        if members:
            yield first, key, members


def _ends_at(path: Path, offset: int, size: int) -> bool:
    """Return whether an archive ends after its last member: with zeros, or with the file."""
    with path.open("rb") as file:
        file.seek(offset - offset % _BLOCK)
        return offset >= size or not file.read(_BLOCK).strip(b"\0")


def shard_options(columns: Sequence[str]) -> TableOptions:
    """Return the meaning of an archive's columns.

    Captions are in the text member, then in the JSON; labels are in the JSON, else in ``cls``.
    """
    captions = [name for name in usual_columns(columns, "caption_column") if name != TEXT_FIELD]
    labels = usual_columns(columns, "label_column")
    text = [TEXT_FIELD] if TEXT_FIELD in columns else []
    numbers = [LABEL_FIELD] if LABEL_FIELD in columns and not labels else []
    return TableOptions(
        image_column=PICTURE, id_column=KEY, caption_column=(*text, *captions), label_column=(*labels, *numbers)
    )
