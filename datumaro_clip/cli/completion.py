"""``datum-clip completion``: print a script by which a shell completes commands, options and paths."""

from __future__ import annotations

import argparse
from pathlib import Path

import shtab


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's argument."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    # Here, since the package imports this module to make the parser.
    from datumaro_clip.cli import make_parser

    parser = make_parser()
    _complete_paths(parser)
    # As it is, tabs included: the script holds no text of files.
    print(shtab.complete(parser, args.shell))
    return 0


def _complete_paths(parser: argparse.ArgumentParser) -> None:
    """Tell shtab which arguments are paths."""
    for action in parser._actions:
        if action.type is Path:
            action.complete = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE  # type: ignore[attr-defined]
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _complete_paths(command)
