"""``datum-clip demo``: run the whole product on a drawn catalogue, by the commands that a user would type."""

from __future__ import annotations

import argparse
from pathlib import Path

from datumaro_clip.cli.parsing import at_least
from datumaro_clip.demo.catalogue.plan import FEWEST_ITEMS
from datumaro_clip.demo.tour import run_tour


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--items", type=at_least(FEWEST_ITEMS), default=300, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where to work (default: a new temporary directory)")


def run(args: argparse.Namespace) -> int:
    """Run every step."""
    run_tour(args.items, args.seed, args.keep)
    return 0
