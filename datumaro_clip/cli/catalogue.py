"""``datum-clip catalogue``: draw a product catalogue with known defects."""

from __future__ import annotations

import argparse
from pathlib import Path

from datumaro_clip.cli.parsing import at_least
from datumaro_clip.cli.printing import say
from datumaro_clip.demo.catalogue import write_catalogue
from datumaro_clip.demo.catalogue.plan import FEWEST_ITEMS
from datumaro_clip.host.unfinished import filling
from datumaro_clip.system.terminal import progress


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("-o", "--output-dir", type=Path, required=True, help="a new or empty directory")
    parser.add_argument("--items", type=at_least(FEWEST_ITEMS), default=2000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Draw the catalogue, and print where it is."""
    with filling(args.output_dir, vars(args)), progress(args.items, doing="Drawing") as bar:
        write_catalogue(
            args.output_dir, items=args.items, seed=args.seed, progress=lambda drawn: bar.update(drawn - bar.n)
        )
    say(f"{args.items} items in {args.output_dir}; planted defects are listed in {args.output_dir / 'truth.json'}")
    return 0
