"""The layouts of image–text tables that other programs write and read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datumaro_clip.tables.opening import table_format, table_stem
from datumaro_clip.tables.options import TableOptions
from datumaro_clip.tables.rows import KEY, PICTURE
from datumaro_clip.tables.sidecars import is_picture


@dataclass(frozen=True)
class Dialect:
    """The layout of one program's tables.

    Attributes
    ----------
    options : TableOptions
        The meaning of its columns.
    formats : tuple of str
        Formats that it reads; the first one is the default for writing.
    table : str
        The path of a subset's table in the dataset's directory. ``{folder}`` is the subset's name with a slash, empty
        for the default subset; ``{metadata}`` is the same, but ``metadata/`` for the default subset.
    picture : str
        The value of the image column for a picture that has none yet; relative to the table's directory.
    """

    options: TableOptions
    formats: tuple[str, ...]
    table: str
    picture: str = "images/{folder}{name}"

    @property
    def has_folders(self) -> bool:
        """Whether each subset has a folder of its own."""
        return "{folder}" in self.table or "{metadata}" in self.table


#: The dialect of shards, which formats of their own read and write.
WEBDATASET = "webdataset"

DIALECTS = {
    "auto": Dialect(TableOptions(), ("csv", "tsv", "jsonl", "json", "parquet"), "{subset}.{format}"),
    "img2dataset": Dialect(
        TableOptions(
            image_template="{table}/{key}.jpg",
            image_if="status=success",
            id_column="key",
            caption_column=("caption",),
            label_column=(),
            subset_column="",
        ),
        ("parquet",),
        "{shard}.parquet",
    ),
    "imagefolder": Dialect(
        TableOptions(image_column="file_name"),
        ("jsonl", "csv", "parquet"),
        "{folder}metadata.{format}",
        "{folder}{name}",
    ),
    "open_clip": Dialect(
        TableOptions(image_column="filepath", caption_column=("title",), separator="\t"),
        ("tsv", "csv"),
        "{subset}.{format}",
    ),
    "llava": Dialect(
        TableOptions(image_column="image", id_column="id", caption_column=("conversations",)),
        ("json",),
        "{subset}.json",
    ),
    "clip-retrieval": Dialect(
        TableOptions(image_column="image_path", caption_column=("caption",)),
        ("parquet",),
        "{metadata}metadata_0.parquet",
    ),
    WEBDATASET: Dialect(TableOptions(image_column=PICTURE, id_column=KEY), ("tar",), "{subset}"),
    "sidecar": Dialect(
        TableOptions(image_column="file_name", caption_column=("caption",)), ("txt",), "{folder}", "{folder}{name}"
    ),
}


def recognise(path: Path, columns: Sequence[str]) -> str:
    """Return the dialect of a table, by its name and columns; ``auto`` if it is none of those known."""
    present = set(columns)
    if path.is_dir():
        return "sidecar"
    if {"key", "status"} <= present and path.with_suffix("").is_dir():
        return "img2dataset"
    if "conversations" in present:
        return "llava"
    if table_stem(path) == "metadata" and "file_name" in present:
        return "imagefolder"
    if table_stem(path).startswith("metadata_") and {"image_path", "caption"} <= present:
        return "clip-retrieval"
    is_open_clip = {"filepath", "title"} <= present and table_format(path) == "tsv"
    return "open_clip" if is_open_clip or present == {"filepath", "title"} else "auto"


def options_of(dialect: str, path: Path, columns: Sequence[str]) -> TableOptions:
    """Return a dialect's options for the columns that a table has.

    The pictures of img2dataset all have the ending of the first one in their folder.
    """
    options = DIALECTS[dialect].options.present_in(columns)
    if dialect != "img2dataset":
        return options
    with os.scandir(path.with_suffix("")) as entries:
        ending = next((os.path.splitext(entry.name)[1] for entry in entries if is_picture(entry.name)), ".jpg")
    return TableOptions(image_template=f"{{table}}/{{key}}{ending}").over(options)
