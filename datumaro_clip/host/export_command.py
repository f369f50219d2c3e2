"""``datum export``, a command that Datumaro has dropped; ``datum convert`` does its work."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

HELP = "Export a dataset in some format"


def build_parser(parser_ctor: Callable[..., Any] = argparse.ArgumentParser) -> Any:
    """Declare the command's arguments, as Datumaro's own commands do."""
    from datumaro.cli.util import MultilineFormatter
    from datumaro.cli.util.dataset_utils import FilterModes
    from datumaro.components.environment import DEFAULT_ENVIRONMENT

    parser = parser_ctor(
        help=HELP,
        description=f"""
        Exports a dataset in some format. The input's format is detected where it is not given.|n
        |n
        Supported output formats: {", ".join(sorted(DEFAULT_ENVIRONMENT.exporters))}|n
        |n
        Examples:|n
        - Embed a COCO dataset and keep its vectors in an HDF5 store:|n
        |s|s%(prog)s -i path/to/coco:coco -f clip_hdf5 -o out -- --save-media|n
        |n
        - Export the dataset in the current directory as YOLO:|n
        |s|s%(prog)s -f yolo -o out -- --save-media
        """,
        formatter_class=MultilineFormatter,
    )
    parser.add_argument(
        "-i", "--input", default=".", metavar="PATH[:FORMAT]", help="Input dataset (default: the current directory)"
    )
    parser.add_argument("-f", "--format", required=True, help="Output format")
    parser.add_argument("-o", "--output-dir", help="Output directory (default: a new one in the current directory)")
    parser.add_argument("--overwrite", action="store_true", help="Overwrite existing files in the output directory")
    parser.add_argument("-e", "--filter", help="XML XPath filter of dataset items, as 'datum filter' takes it")
    parser.add_argument(
        "--filter-mode",
        default=FilterModes.i.name,
        type=FilterModes.parse,
        help=f"Filter mode, one of {', '.join(FilterModes.list_options())} (default: %(default)s)",
    )
    parser.add_argument(
        "extra_args",
        nargs=argparse.REMAINDER,
        help="Arguments of the output format, after '--' (pass '-- -h' for help)",
    )
    parser.set_defaults(command=export_command)
    return parser


def export_command(args: argparse.Namespace) -> int:
    """Run the command through ``datum convert``, and return its exit status."""
    from datumaro.cli.commands.convert import convert_command
    from datumaro.cli.util.errors import CliException

    from datumaro_clip.host.sources import split_spec

    source, input_format = split_spec(args.input)
    if not Path(source).exists():
        raise CliException(f"There is nothing at '{source}'. Give the dataset as -i PATH or -i PATH:FORMAT")
    repeats = not args.overwrite and _is_ours(args.format, args.output_dir)
    code: int = convert_command(
        argparse.Namespace(
            source=source,
            input_format=input_format,
            output_format=args.format,
            dst_dir=args.output_dir,
            overwrite=args.overwrite or repeats,
            filter=args.filter,
            filter_mode=args.filter_mode,
            encryption_key=None,
            extra_args=[*(args.extra_args or ["--"]), "--repeat"] if repeats else args.extra_args,
        )
    )
    return code


def _is_ours(output_format: str, directory: str | None) -> bool:
    """Whether a directory holds a store of the output's format, whole or unfinished: an export may be run again."""
    from datumaro_clip.store import kind_names, store_kind
    from datumaro_clip.store.lock import is_unfinished
    from datumaro_clip.store.manifest import find_kind

    if directory is None or output_format not in kind_names() or not Path(directory).is_dir():
        return False
    return find_kind(Path(directory)) == output_format or is_unfinished(Path(directory), store_kind(output_format))
