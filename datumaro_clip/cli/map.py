"""``datum-clip map``: compute the explorer's 2D map of a store."""

from __future__ import annotations

import argparse
from pathlib import Path

from datumaro_clip.cli.printing import say
from datumaro_clip.explorer.map import make_map, map_of
from datumaro_clip.index import OBJECTS, PICTURES, open_index


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("store", type=Path, help="directory of a clip_hdf5 or clip_mmap store")
    parser.add_argument("--target", choices=(PICTURES, OBJECTS), default=PICTURES, help="default: %(default)s")
    parser.add_argument("--again", action="store_true", help="compute the whole map again, not only new points")


def run(args: argparse.Namespace) -> int:
    """Make the map; if there is one, add what is new in the store."""
    snapshot = open_index(args.store).refresh()
    points = None if args.again else map_of(snapshot, args.target)
    if points is None:
        points = make_map(snapshot, args.target)
        say(f"{args.store}: {len(points)} {args.target} laid out")
    else:
        say(f"{args.store}: all of {len(points)} {args.target} have a place; --again lays them out anew")
    return 0
