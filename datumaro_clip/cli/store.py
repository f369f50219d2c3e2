"""``datum-clip store``: merge several stores into one."""

from __future__ import annotations

import argparse
from pathlib import Path

from datumaro_clip.cli.printing import say
from datumaro_clip.store import merge_stores


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    text = "make one store of several, in their order; nothing is computed"
    merge = actions.add_parser("merge", help=text, description=text)
    add = merge.add_argument
    add("stores", type=Path, nargs="+", metavar="STORE", help="stores of one kind, model, dtype and categories")
    add("-o", "--output", type=Path, required=True, metavar="DIR", help="the store to write")
    add(
        "--on-repeat",
        choices=("refuse", "first", "last"),
        default="refuse",
        help="which of several items with the same id and subset to keep (default: %(default)s)",
    )
    add("--overwrite", action="store_true", help="replace a store of the same kind that is there")
    add("--copy", action="store_true", help="copy files instead of sharing them by hard links")


def run(args: argparse.Namespace) -> int:
    """Merge the stores, and print how many items the result has."""
    done = merge_stores(
        args.stores, args.output, on_repeat=args.on_repeat, overwrite=args.overwrite, link=not args.copy
    )
    lost = f"; {done.left_out} items left out, whose id and subset another has" if done.left_out else ""
    say(f"{args.output}: {done.items} items of {done.stores} stores{lost}")
    return 0
