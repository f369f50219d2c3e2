"""``datum-clip remove``: remove items from a store."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from datumaro_clip.cli.printing import say
from datumaro_clip.curate.decisions import read_exceptions

_NAMED = 3
_log = logging.getLogger(__name__)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("store", type=Path, help="directory of a store")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--ids", type=Path, metavar="FILE", help="items to remove, a line id@subset each")
    which.add_argument("--except", dest="kept", type=Path, metavar="FILE", help="items to keep; all others are removed")


def run(args: argparse.Namespace) -> int:
    """Remove the items, and print how many; return 1 if lines of the file name no item."""
    from datumaro_clip.host.storing import remove_from_store

    removed, unknown = remove_from_store(
        args.store, read_exceptions(args.ids or args.kept), others=args.kept is not None
    )
    say(f"{args.store}: {removed} items removed")
    if unknown:
        named = ", ".join(map(str, unknown[:_NAMED]))
        _log.warning("%d lines name no item of the store: %s; write id@subset as inspect does", len(unknown), named)
    return 1 if unknown else 0
