"""``datum-clip index``: build, fill, check and describe the index of a store."""

from __future__ import annotations

import argparse
from pathlib import Path

from datumaro_clip.index import TARGETS, VectorIndex, open_index

NAME = "index"
HELP = "build, check or describe the index of a store"

# Differences that are printed.
_FIRST = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, action in {"create": _create, "verify": _verify, "info": _info}.items():
        help_text = str(action.__doc__).partition(";")[0].rstrip(".").lower()
        subparser = actions.add_parser(name, help=help_text, description=help_text)
        subparser.add_argument("store", type=Path, help="directory of a clip_hdf5 or clip_mmap store")
        subparser.add_argument(
            "--cache", type=Path, metavar="DIR", help="where the index's files are; default: in the cache directory"
        )
        subparser.set_defaults(action=action)


def run(args: argparse.Namespace) -> int:
    """Do what was asked; 1 if ``verify`` finds differences."""
    status: int = args.action(open_index(args.store, cache=args.cache))
    return status


def _create(index: VectorIndex) -> int:
    """Index what the store holds and the index does not."""
    done = index.sync()
    print(f"{index.path}: {done.built} files of the index built, {done.reused} reused, {done.removed} removed")
    return 0


def _verify(index: VectorIndex) -> int:
    """Compare the index with the store; exit status 1 and the first differences where they do not agree."""
    found = index.verify()
    for name, recall in found.recalls.items():
        print(f"{name}: recall {recall:.4f}")
    for difference in found.differences[:_FIRST]:
        print(difference)
    if found.differences:
        print(f"{index.path} and its index differ: {len(found.differences)} differences")
        return 1
    print(f"{index.path} and its index agree")
    return 0


def _info(index: VectorIndex) -> int:
    """Print what is indexed."""
    snapshot = index.snapshot
    print(f"{'store':<10} {snapshot.store.path}, {len(snapshot.store)} items, digest {snapshot.digest[:12]}")
    print(f"{'engine':<10} {index.engine.name}")
    for target in TARGETS:
        print(f"{target:<10} {len(snapshot.targets[target])} vectors")
    return 0
