"""Adds ``-f FORMAT`` to Datumaro's commands that write in the format of the source, which may be only readable."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Formats of Datumaro's that hold pictures with all or most kinds of annotations.
_GENERAL = ("datumaro", "coco", "voc", "yolo", "image_dir")


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
