"""``datum-clip verify``: read every block of a store."""

from __future__ import annotations

import argparse
from pathlib import Path

from datumaro_clip.store import open_store

NAME = "verify"
HELP = "read every block of a store and check it against its checksum"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("store", type=Path, help="directory of a clip_hdf5 or clip_mmap store")


def run(args: argparse.Namespace) -> int:
    """Check everything; the first damage is an error."""
    with open_store(args.store) as reader:
        reader.check()
        blocks = sum(len(column.spec.crc32) for segment in reader.segments for column in segment.columns.values())
        print(f"{args.store} is sound: {len(reader)} items, {reader.embedding_count} embeddings, {blocks} blocks")
    return 0
