"""Options for reading a table, from Python, the command line, or a file beside the table."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from datumaro_clip.errors import OptionError
from datumaro_clip.system.files import read_toml, write_text

SETTINGS_FILE = "clip_table.toml"
DIALECTS = ("auto", "img2dataset", "imagefolder", "open_clip", "llava", "clip-retrieval", "sidecar")
REPEATS = ("refuse", "number")

#: Usual names of columns, in any case, by their meaning.
USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "image_column": (
        "image", "image_path", "img", "img_path", "image_file", "image_name", "filepath", "file_path", "file_name",
        "filename", "file", "path",
    ),
    "url_column": ("url", "image_url", "img_url"),
    "id_column": ("id", "key", "image_id", "item_id", "product_id", "sample_id", "uid", "uuid"),
    "subset_column": ("subset", "split"),
    "caption_column": ("caption", "captions", "text", "title", "description", "alt", "alt_text", "prompt"),
    "label_column": ("label", "labels", "category", "categories", "class", "class_name"),
}  # fmt: skip
#: Those meanings that several columns may have.
SEVERAL = ("caption_column", "label_column")
_ONE = tuple(name for name in USUAL_NAMES if name not in SEVERAL)


@dataclass(frozen=True)
class TableOptions:
    """How to read a table; None leaves a choice to the names of the columns.

    Attributes
    ----------
    image_column : str, optional
        The column with the picture's path, or in Parquet the picture itself.
    image_template : str, optional
        A path made of several columns, as ``{imageid}_{productid}.jpg``; ``{table}`` is the table's name without its
        ending.
    image_root : str, optional
        The directory that paths are relative to; the table's where omitted. No path may leave it.
    image_if : str, optional
        A condition such as ``status=success``: only rows with this value have a picture.
    caption_column, label_column : tuple of str, optional
        Columns of captions, and of labels; an empty tuple for none.
    label_separator : str, optional
        The separator of several labels in one cell.
    id_column, subset_column, url_column : str, optional
        An empty string for none.
    attributes : tuple of str, optional
        Columns to keep as attributes; all where omitted, none where empty.
    repeats : str
        Whether to ``refuse`` a row whose id an earlier row has, or to ``number`` it, as ``id#2``.
    dialect : str
        One of ``DIALECTS``.
    separator, encoding : str, optional
        Of text tables.
    """

    image_column: str | None = None
    image_template: str | None = None
    image_root: str | None = None
    image_if: str | None = None
    caption_column: tuple[str, ...] | None = None
    label_column: tuple[str, ...] | None = None
    label_separator: str | None = None
    id_column: str | None = None
    subset_column: str | None = None
    url_column: str | None = None
    attributes: tuple[str, ...] | None = None
    repeats: str = "refuse"
    dialect: str = "auto"
    separator: str | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        for name, choices in (("dialect", DIALECTS), ("repeats", REPEATS)):
            if getattr(self, name) not in choices:
                raise OptionError(f"--{name} must be one of {', '.join(choices)}; got {getattr(self, name)!r}")
        if self.image_if is not None and "=" not in self.image_if:
            raise OptionError(f"--image-if must be COLUMN=VALUE, got {self.image_if!r}")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str) -> TableOptions:
        """Make options of values by name.

        Raises
        ------
        OptionError
            If one cannot be used; the message says ``where`` it was found.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise OptionError(f"{where} has no option {', '.join(unknown)}; it has {', '.join(sorted(known))}")
        return cls(**{name: _checked(name, value, where) for name, value in values.items() if value is not None})

    @classmethod
    def from_arguments(cls, args: argparse.Namespace) -> TableOptions:
        """Return the options given to a parser with :func:`add_table_options`."""
        values = {each.name: getattr(args, each.name) for each in fields(cls)}
        if values["attributes"] in (["all"], ["none"]):
            values["attributes"] = values["attributes"][0]
        return cls.from_mapping(values, "the command line")

    def given(self) -> dict[str, Any]:
        """Return the options that differ from their defaults."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) != each.default}

    def present_in(self, columns: Sequence[str]) -> TableOptions:
        """Return these options without the columns that a table does not have."""
        columns = ("", *columns)
        absent: dict[str, Any] = {name: None for name in _ONE if getattr(self, name) not in columns}
        absent |= {name: None for name in SEVERAL if not set(getattr(self, name) or ()) <= set(columns)}
        return replace(self, **absent)

    def over(self, other: TableOptions) -> TableOptions:
        """Return these options, with the other's where these are at their defaults."""
        return replace(other, **self.given())


def _checked(name: str, value: Any, where: str) -> Any:
    if name in (*SEVERAL, "attributes"):
        if name == "attributes" and value in ("all", "none"):
            return None if value == "all" else ()
        several = (value,) if isinstance(value, str) else value
        if isinstance(several, list | tuple) and all(isinstance(each, str) for each in several):
            return tuple(several)
    elif isinstance(value, str):
        return value
    raise OptionError(f"{where}: {name} must be text{' or a list of texts' if name in SEVERAL else ''}, got {value!r}")


def read_settings(directory: Path) -> TableOptions:
    """Read the options in a directory's ``clip_table.toml``; return the defaults if there is none.

    Raises
    ------
    OptionError
        If it cannot be read as options.
    """
    path = directory / SETTINGS_FILE
    try:
        values = read_toml(path)
    except FileNotFoundError:
        return TableOptions()
    except ValueError as exc:
        raise OptionError(f"{path} is no TOML: {exc}") from exc
    return TableOptions.from_mapping(values, str(path))


def write_settings(directory: Path, options: TableOptions, comment: str) -> Path:
    """Write ``clip_table.toml``, and return its path."""
    lines = [f"# {comment}", *(f"{name} = {_toml(value)}" for name, value in options.given().items())]
    write_text(directory / SETTINGS_FILE, "\n".join(lines) + "\n")
    return directory / SETTINGS_FILE


def _toml(value: Any) -> str:
    """Return a text or texts as TOML: its basic strings are those of JSON, but with the delete character escaped."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def add_table_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of :class:`TableOptions` on a parser."""
    add = parser.add_argument
    add("--image-column", metavar="NAME", help="the column with the picture's path")
    add("--image-template", metavar="TEXT", help="path made of several columns, such as '{imageid}_{productid}.jpg'")
    add("--image-root", metavar="DIR", help="what paths are relative to (default: the table's directory)")
    add("--image-if", metavar="COLUMN=VALUE", help="only rows with this value have a picture")
    add("--caption-column", action="append", metavar="NAME", help="a column of captions; may be repeated")
    add("--label-column", action="append", metavar="NAME", help="a column of labels; may be repeated")
    add("--label-separator", metavar="TEXT", help="separator of several labels in one cell")
    add("--id-column", metavar="NAME", help="the column that names the row (default: the picture's path)")
    add("--subset-column", metavar="NAME", help="the column that names the subset (default: the file does)")
    add("--url-column", metavar="NAME", help="the column with the address that 'datum-clip fetch' asks for")
    add("--attributes", nargs="+", metavar="NAME", help="columns to keep as attributes, 'all' or 'none'")
    add("--repeats", choices=REPEATS, help="what to do with a row whose id an earlier row has (default: refuse)")
    add("--dialect", choices=DIALECTS, help="the layout (default: auto, by file name and columns)")
    add("--separator", metavar="CHARACTER", help="separator of columns (default: guessed)")
    add("--encoding", metavar="NAME", help="text encoding (default: UTF-8, with or without a byte-order mark)")
