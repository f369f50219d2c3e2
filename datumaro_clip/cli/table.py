"""``datum-clip table``: set how a table is read, or check each of its rows."""

from __future__ import annotations

import argparse
from pathlib import Path

from datumaro_clip.cli.printing import say
from datumaro_clip.errors import OptionError
from datumaro_clip.tables.dataset import TableDataset
from datumaro_clip.tables.options import SETTINGS_FILE, TableOptions, add_table_options, write_settings
from datumaro_clip.tables.rows import Refused


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare ``init`` and ``check``."""
    actions = parser.add_subparsers(dest="action", required=True)
    init = actions.add_parser("init", help=f"write {SETTINGS_FILE} beside a table, for the importer clip_table")
    init.add_argument("file", type=Path, help="a table, or a directory of tables")
    init.add_argument("--overwrite", action="store_true", help=f"replace the {SETTINGS_FILE} that is there")
    add_table_options(init)
    check = actions.add_parser("check", help="read every row; status 1 if a row is refused")
    check.add_argument("file", type=Path, help="a table, or a directory of tables")


def run(args: argparse.Namespace) -> int:
    """Write the settings if they fit the table, or check the rows."""
    if not args.file.exists():
        raise OptionError(f"there is nothing at {args.file}; check the path")
    return _init(args) if args.action == "init" else _check(args.file)


def _init(args: argparse.Namespace) -> int:
    directory = args.file if args.file.is_dir() else args.file.parent
    if (directory / SETTINGS_FILE).exists() and not args.overwrite:
        raise OptionError(f"{directory / SETTINGS_FILE} is there already; edit it, or give --overwrite")
    options = TableOptions.from_arguments(args)
    tables = TableDataset(args.file, options, with_settings=False)
    first = tables.sources[0]
    say(f"{first.table.path}: {first.dialect}, {len(first.layout.columns)} columns")
    for name, value in first.layout.options().given().items():
        told = ", ".join(value) if isinstance(value, tuple) else value
        say(f"  {name.replace('_', ' ')}: {told or 'none'}")
    comment = "How the tables beside this file are read; 'datum-clip table init' wrote it."
    say(write_settings(directory, options, comment))
    return 0


def _check(path: Path) -> int:
    tables = TableDataset(path)
    for source, found in tables.outcomes():
        if isinstance(found, Refused):
            say(f"{source.table.path}, line {found.line}: {found.reason}: {found.message}")
    return 1 if tables.survey.refused else 0
