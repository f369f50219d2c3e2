"""The command ``datum-clip``: everything about models, stores and decisions that is not a Datumaro verb."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Collection, Sequence
from importlib import import_module

from datumaro_clip import __version__
from datumaro_clip.cli.parsing import Parser
from datumaro_clip.cli.printing import complain, run_while_read
from datumaro_clip.errors import DatumaroClipError, OptionError, with_cure
from datumaro_clip.system.configuration import find_configuration
from datumaro_clip.system.notices import noticed_last
from datumaro_clip.system.terminal import open_missing_streams, printable_log

FAILURE = 1
INTERRUPTED = 130

# The modules of this package that are a command each, and what it does. A module has ``configure(parser)``, which
# declares the arguments, and ``run(args)``, which returns the exit status.
COMMANDS = {
    "add": "add the new and changed items of a dataset to a store",
    "cache": "show, verify or clear the vector cache",
    "catalogue": "draw a product catalogue with known defects, as a COCO dataset",
    "completion": "print a completion script for bash, zsh or fish",
    "decisions": "make decisions with a tool, apply a decisions file to a dataset, or compare two files",
    "demo": "run the whole product on drawn pictures, printing each command",
    "detector": "add, list and inspect object detectors",
    "doctor": "show versions, devices, defaults, models and caches, and what is missing",
    "embed": "embed a dataset into a new store, and print the first items",
    "evaluate": "train a classifier on raw, curated and randomly reduced data: does curation help?",
    "explore": "browse, search and curate a store or a dataset in the browser",
    "fetch": "download the pictures of a table of URLs, keeping them aligned with their rows",
    "help": "print the options of a tool or a format (clip_dedup, clip_hdf5, …), with examples",
    "index": "create, fill, verify or describe the search index of a store",
    "inspect": "print what a store holds: counts, vector space, dtype, and the first items",
    "labels": "propose which labels of several datasets mean the same, for a person to accept",
    "merge": "merge datasets: the same picture becomes one item, labels are mapped",
    "map": "compute the explorer's 2D map of a store",
    "model": "export, list, inspect, verify and certify models",
    "plan": "embed a dataset in shards: in a loop, on Slurm or on Ray",
    "remove": "remove items from a store",
    "search": "find the items of a store most similar to a text, a picture or an item",
    "serve": "serve stores over HTTP: search, pictures, records, ingest",
    "store": "merge several stores into one",
    "table": "set how a table is read, or check each of its rows",
    "verify": "verify a store: checksums, counts, items, pictures",
}


_JOBS = """\
What do you want to do?
  try it on drawn pictures    datum-clip demo
  embed a dataset             datum-clip embed path/to/coco:coco -o store
  add new pictures to it      datum-clip add store path/to/coco:coco
  search                      datum-clip search store "a red mug"
  look at it in the browser   datum-clip explore store
  drop copies                 datum transform -t clip_dedup -o unique path/to/coco:coco -- --report report
  look up a tool's options    datum-clip help clip_dedup
  see what is missing here    datum-clip doctor
"""


def make_parser(configured: Collection[str] = tuple(COMMANDS)) -> argparse.ArgumentParser:
    """Return the parser of the command line, with the arguments of some commands; only their modules are loaded."""
    parser = Parser(prog="datum-clip", description=_JOBS, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=__version__)
    _add_loudness(parser, False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        subparser = commands.add_parser(name, help=summary, description=summary)
        if name in configured:
            command = import_module(f"{__name__}.{name}")
            command.configure(subparser)
            subparser.set_defaults(run=command.run)
        # An option before the command counts, unless one stands behind it.
        _add_loudness(subparser, argparse.SUPPRESS)
    return parser


def _add_loudness(parser: argparse.ArgumentParser, default: object) -> None:
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("-v", "--verbose", action="store_true", default=default, help="log more, and show tracebacks")
    loudness.add_argument(
        "-q", "--quiet", action="store_true", default=default, help="print results, warnings and errors only"
    )


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
    """Run the command; return its exit status, or that of what stopped it."""
    words = sys.argv[1:] if argv is None else list(argv)
    wanted = [word for word in words if word in COMMANDS][:1]
    try:
        if wanted != ["doctor"] and find_configuration():  # It reports a wrong file itself.
            # Here, since it loads what many commands do without.
            from datumaro_clip.host.configured import use_configured_model

            use_configured_model()
        args = make_parser(wanted).parse_args(words)
    except OptionError as exc:
        complain(exc)
        return FAILURE
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    level = logging.DEBUG if args.verbose else logging.WARNING if args.quiet else logging.INFO
    logging.basicConfig(level=level, handlers=[handler])
    try:
        with printable_log(), noticed_last():
            status: int = args.run(args)
        return status
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as exc:
        if args.verbose:
            raise
        if isinstance(exc, DatumaroClipError | OSError):
            complain(with_cure(exc))
        else:
            # Here, since it loads Datumaro, which such an error came from.
            from datumaro_clip.host.causes import in_one_line

            complain(in_one_line(exc))
        return FAILURE
