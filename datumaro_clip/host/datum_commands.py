"""Commands of ``datum``: ``export``, which Datumaro has dropped, and ``-f FORMAT`` for ``filter`` and ``transform``.

``datum convert`` does the work of ``export``. ``filter`` and ``transform`` write in the format of the source, which may
be one that Datumaro only reads.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

HELP = "Export a dataset in some format"
#: Formats of Datumaro's that hold pictures with all or most kinds of annotations.
_GENERAL = ("datumaro", "coco", "voc", "yolo", "image_dir")


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


def add_format(build_parser: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command's ``build_parser`` with the option added."""

    def build(*args: Any, **kwargs: Any) -> Any:
        parser = build_parser(*args, **kwargs)
        parser.add_argument("-f", "--format", help="Output format (default: the dataset's)")
        return parser

    return build


def choose_format(module: Any, command: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Return a command of a module of Datumaro's that writes in the format that is asked for.

    A format that cannot be written is refused before any work.
    """
    opened = module.parse_dataset_pathspec

    def run(args: argparse.Namespace) -> int:
        def parse_dataset_pathspec(*given: Any, **options: Any) -> Any:
            dataset = opened(*given, **options)
            if not getattr(args, "dry_run", False):
                _set_format(dataset, args)
            return dataset

        module.parse_dataset_pathspec = parse_dataset_pathspec
        try:
            return command(args)
        finally:
            module.parse_dataset_pathspec = opened

    return run


def _set_format(dataset: Any, args: argparse.Namespace) -> None:
    """Let ``dataset.save`` write the wanted format; raise ``CliException`` if nothing writes it, or not there."""
    from datumaro.cli.util.errors import CliException

    exporters, source = dataset.env.exporters, Path(dataset.data_path)
    wanted = getattr(args, "format", None) or dataset.format
    if wanted not in exporters:
        own = sorted(name for name in exporters if name.startswith("clip_"))
        could = ", ".join(name for name in (*_GENERAL, *own) if name in exporters)
        problem = f"There is no output format '{wanted}'"
        if wanted in dataset.env.importers:
            problem = f"Datumaro reads the format '{wanted}' but does not write it"
        raise CliException(
            f"{problem}: choose another with -f before the dataset, as -f datumaro. These hold pictures: {could}; "
            "'datum convert --help' lists all"
        )
    if wanted == dataset.format:
        return
    if args.dst_dir is None or Path(args.dst_dir).absolute() == source.absolute():
        raise CliException(f"'{source}' is of the format '{dataset.format}'; name another directory for -f with -o")
    dataset.bind(dataset.data_path, wanted)
