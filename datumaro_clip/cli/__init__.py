"""The command ``datum-clip``: everything about models, stores and decisions that is not a Datumaro verb."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Protocol

from datumaro_clip import __version__
from datumaro_clip.cli.printing import LineFormatter, complain, run_while_read
from datumaro_clip.errors import DatumaroClipError, with_cure
from datumaro_clip.system.streams import open_missing_streams

FAILURE = 1
INTERRUPTED = 130

# Modules of this package, each one command.
COMMANDS = (
    "add",
    "cache",
    "catalogue",
    "decisions",
    "demo",
    "detector",
    "doctor",
    "embed",
    "explore",
    "fetch",
    "index",
    "inspect",
    "labels",
    "merge",
    "map",
    "model",
    "remove",
    "search",
    "serve",
    "store",
    "table",
    "verify",
)


class Command(Protocol):
    """What a module of this package offers."""

    NAME: str
    HELP: str

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Run it; the result is the exit status."""


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="datum-clip", description="Models, stores and decisions of datumaro-clip, Datumaro's CLIP plugins."
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--verbose", action="store_true", help="log more, and show tracebacks")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        command: Command = import_module(f"{__name__}.{name}")
        subparser = commands.add_parser(command.NAME, help=command.HELP, description=command.HELP)
        command.configure(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; the process's own where omitted.

    Returns
    -------
    int
        Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    open_missing_streams()
    return run_while_read(lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    """Run the command; its own exit status, or that of what stopped it."""
    args = make_parser().parse_args(argv)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter("%(message)s"))
    logging.basicConfig(level=logging.DEBUG if args.verbose else logging.INFO, handlers=[handler])
    try:
        status: int = args.run(args)
        return status
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except (DatumaroClipError, OSError) as exc:
        if args.verbose:
            raise
        complain(with_cure(exc))
        return FAILURE
